//! How a command line names a plan.

use std::path::{Path, PathBuf};

use clap::Args;

/// A plan, with or without the flag before it.
#[derive(Debug, Default, Args)]
pub struct PlanArg {
    /// The plan, a TOML file.
    #[arg(value_name = "PLAN", conflicts_with = "plan_flag")]
    positional: Option<PathBuf>,
    /// The same, with a flag.
    #[arg(long = "plan", id = "plan_flag", value_name = "PLAN")]
    flag: Option<PathBuf>,
}

impl PlanArg {
    /// The plan in this file, if there is one.
    pub(crate) fn of(file: Option<PathBuf>) -> Self {
        Self { positional: None, flag: file }
    }

    /// The file, if one was named.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.positional.as_deref().or(self.flag.as_deref())
    }
}
