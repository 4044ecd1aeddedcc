//! Where a suite's units lie: each in a folder of its own, which is made aside and renamed when it is sealed.
//!
//! ```text
//! DIR/suite.json                    what is run, the same for all shards
//! DIR/units/PART-ID/                a sealed unit: outcome.json, plan.toml, its runs unless they were valid
//! DIR/aside/shard-1-of-4/PART-ID/   a unit under way, cleared when the shard starts again
//! DIR/shard-1-of-4.{json,txt,xml}   what the shard found
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::attempt::PLAN;
use super::night::Head;
use super::outcome::{Found, Outcome};
use super::shard::Shard;
use super::unit::{Unit, Work};
use crate::plan::PlanError;

const HEAD: &str = "suite.json";
const OUTCOME: &str = "outcome.json";

/// The folder of a suite, or of some of its shards.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// A shard's own share of the folder, for as long as this process has it.
#[derive(Debug)]
pub(super) struct Own {
    folder: Folder,
    shard: Shard,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Folder {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What is run here.
    pub(super) fn head(&self) -> Result<Head, PlanError> {
        let path = self.0.join(HEAD);
        let what = "name the folder that `dyno suite FILE.toml --out DIR` was given";
        let text = dyno_command::read_text(&path, what).map_err(PlanError)?;
        serde_json::from_str(&text)
            .map_err(|error| PlanError(format!("{}: {error}; {what}", path.display())))
    }

    /// Takes a shard's share; what was under way when it was last run is cleared.
    ///
    /// # Errors
    /// If another suite is run here, another process runs this shard, or nothing can be written.
    pub(super) fn take(&self, head: &Head, shard: Shard) -> Result<Own, PlanError> {
        let refused = |error: io::Error| PlanError(format!("{}: {error}", self.0.display()));
        fs::create_dir_all(self.units()).map_err(refused)?;
        let named = self.named(shard);
        let lock = File::create(self.0.join(format!(".{named}.lock"))).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let taken = "another process is running this shard here";
                return Err(PlanError(format!("{}: {taken}", self.0.display())));
            }
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        if self.0.join(HEAD).exists() {
            let differs = self.head()?.differs(head);
            if let Some(why) = differs {
                let mend = "choose another folder with --out";
                return Err(PlanError(format!("{}: {why}; {mend}", self.0.display())));
            }
        } else {
            let text = serde_json::to_string(head).map_err(|error| PlanError(error.to_string()))?;
            self.write(HEAD, &text).map_err(refused)?;
        }
        let own = Own { folder: self.clone(), shard, _lock: lock };
        match fs::remove_dir_all(own.aside()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(error)),
            _ => Ok(own),
        }
    }

    /// All that is sealed here, in the order of the folders' names, each with its folder.
    ///
    /// # Errors
    /// If one cannot be read: it says which.
    pub(super) fn sealed(&self) -> Result<Vec<(Outcome, PathBuf)>, PlanError> {
        let refused = |path: &Path, error: &dyn std::fmt::Display| {
            PlanError(format!("{}: {error}", path.display()))
        };
        let units = self.units();
        let entries = match fs::read_dir(&units) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(refused(&units, &error)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            folders.push(entry.map_err(|error| refused(&units, &error))?.path());
        }
        folders.sort();
        let outcome = |folder: PathBuf| {
            let path = folder.join(OUTCOME);
            let text = fs::read(&path).map_err(|error| refused(&path, &error))?;
            let outcome = serde_json::from_slice(&text).map_err(|error| refused(&path, &error))?;
            Ok((outcome, folder))
        };
        folders.into_iter().map(outcome).collect()
    }

    /// What stands in it is whole, or is not there.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        // Containers that share the folder may have the same process ids.
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let staged = self.0.join(format!(".{name}-{host}-{}", std::process::id()));
        let mut file = File::create(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(staged, self.0.join(name))
    }

    /// What the files about a shard are called, without their endings.
    pub(super) fn named(&self, shard: Shard) -> String {
        format!("shard-{}-of-{}", shard.index(), shard.total())
    }

    fn units(&self) -> PathBuf {
        self.0.join("units")
    }
}

impl Own {
    /// A fresh folder in which a unit is done.
    pub(super) fn begin(&self, unit: &Unit, work: &Work) -> io::Result<PathBuf> {
        let folder = self.aside().join(unit.folder());
        fs::create_dir_all(&folder)?;
        if let Some(plan) = work.plan() {
            fs::write(folder.join(PLAN), plan.to_toml())?;
        }
        Ok(folder)
    }

    /// Seals a unit that was done in `folder`; where it lies from now on. One that is sealed already stays
    /// as it is, unless it was skipped.
    pub(super) fn seal(&self, outcome: &Outcome, folder: &Path) -> io::Result<PathBuf> {
        for (attempt, number) in outcome.attempts.iter().zip(1..) {
            if attempt.found == Found::Valid {
                fs::remove_dir_all(folder.join(format!("attempt-{number}")))?;
            }
        }
        let mut file = File::create(folder.join(OUTCOME))?;
        file.write_all(outcome.to_json().as_bytes())?;
        file.sync_all()?;
        let sealed = self.folder.units().join(outcome.unit.folder());
        if let Ok(text) = fs::read(sealed.join(OUTCOME)) {
            let before: Outcome = serde_json::from_slice(&text)?;
            if before.found != Found::Skipped {
                fs::remove_dir_all(folder)?;
                return Ok(sealed);
            }
            fs::remove_dir_all(&sealed)?;
        }
        fs::rename(folder, &sealed)?;
        File::open(self.folder.units())?.sync_all()?;
        Ok(sealed)
    }

    /// Gives up a unit under way.
    pub(super) fn discard(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir_all(folder)
    }

    /// No unit is under way any more.
    pub(super) fn leave(&self) {
        // Somebody else's share may be beside it.
        let _ = fs::remove_dir_all(self.aside());
        let _ = fs::remove_dir(self.folder.path().join("aside"));
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("aside").join(self.folder.named(self.shard))
    }
}
