//! The shards of a night, joined: `dyno suite merge`.

use std::path::PathBuf;

use super::folder::Folder;
use super::night::Night;
use crate::plan::PlanError;

/// Joins what lies in some folders; the same night whatever their order, and however often one is named.
///
/// # Errors
/// If one is no folder of a suite, cannot be read, or is of another suite, build or number of shards.
pub(super) fn merge(folders: &[PathBuf]) -> Result<Night, PlanError> {
    let mut merged: Option<Night> = None;
    for path in folders {
        let night = read(&Folder::at(path))?;
        match &mut merged {
            None => merged = Some(night),
            Some(merged) => merged
                .join(&night)
                .map_err(|why| PlanError(format!("{}: {why}", path.display())))?,
        }
    }
    merged.ok_or_else(|| PlanError("no folder is named: dyno suite merge DIR...".to_owned()))
}

/// All that is sealed in a folder.
///
/// # Errors
/// If it cannot be read.
pub(super) fn read(folder: &Folder) -> Result<Night, PlanError> {
    let mut night = Night::of(folder.head()?, None);
    for (outcome, place) in folder.sealed()? {
        night.add(outcome, &place);
    }
    Ok(night)
}
