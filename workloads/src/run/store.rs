//! Where a run's results lie: `results/<plan>/<time>-<what is not as usual>/`, and `results/latest`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dynamo_protocol::Settings;

use crate::plan::{ClusterPlan, Plan, PlanError};

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Makes the folder of a run that begins now, writes its plan into it, and points `latest` at
    /// it.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub fn create(out: &Path, plan: &Plan) -> Result<Self, PlanError> {
        let refused = |path: &Path, error: io::Error| {
            PlanError(format!("results cannot be written to {}: {error}", path.display()))
        };
        let parent = out.join(&plan.name);
        fs::create_dir_all(&parent).map_err(|error| refused(&parent, error))?;
        let dir = fresh(&parent, &unusual(plan)).map_err(|error| refused(&parent, error))?;
        let store = Self { dir };
        let path = store.path("plan.toml");
        fs::write(&path, plan.to_toml()).map_err(|error| refused(&path, error))?;
        store.point_latest(out).map_err(|error| refused(out, error))?;
        Ok(store)
    }

    /// The folder of a run that was made before.
    ///
    /// # Errors
    /// If no run is there; the error names runs that are.
    pub fn open(dir: &Path) -> Result<Self, PlanError> {
        if is_run(dir) {
            return Ok(Self { dir: dir.to_owned() });
        }
        let (what, around) = match dir {
            dir if dir.is_dir() => ("no run is in this folder: it has no history.jsonl", dir),
            dir if dir.exists() => ("this is no folder of a run", Path::new(RESULTS)),
            _ => ("there is no such folder", Path::new(RESULTS)),
        };
        let runs: Vec<String> =
            newest(around).iter().map(|run| run.display().to_string()).collect();
        let mend = match runs.as_slice() {
            [] => "`dyno test` makes a run, results/latest is the last one".to_owned(),
            runs => format!("the newest runs are {}; `dyno serve` lists all", runs.join(", ")),
        };
        Err(PlanError(format!("{}: {what}; {mend}", dir.display())))
    }

    /// A file of the run.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Replaces the link in one step, so that it always points somewhere.
    fn point_latest(&self, out: &Path) -> io::Result<()> {
        let relative = self.dir.strip_prefix(out).unwrap_or(&self.dir);
        let staged = out.join(format!(".latest-{}", std::process::id()));
        #[cfg(unix)]
        std::os::unix::fs::symlink(relative, &staged)?;
        #[cfg(not(unix))]
        fs::write(&staged, relative.display().to_string())?;
        fs::rename(&staged, out.join("latest"))
    }
}

/// Where runs land if nothing else is said.
const RESULTS: &str = "results";

/// As many runs are named to who asked for one that there is not.
const MOST_NAMED: usize = 3;

/// Did a run begin in this folder?
fn is_run(dir: &Path) -> bool {
    ["history.jsonl", "plan.toml"].iter().any(|name| dir.join(name).is_file())
}

/// The newest of the runs that lie in `around` or in its folders, by the times in their names.
fn newest(around: &Path) -> Vec<PathBuf> {
    let folders = |of: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(of).into_iter().flatten().flatten();
        // Not by way of links: `latest` is one of the others.
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.path()).collect()
    };
    let plans = folders(around);
    let mut runs: Vec<PathBuf> = plans.iter().flat_map(|plan| folders(plan)).collect();
    runs.extend(plans);
    runs.retain(|dir| is_run(dir));
    runs.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    runs.truncate(MOST_NAMED);
    runs
}

/// The settings of the cluster that are not the default, as part of a folder's name: runs of one plan with
/// other flags are told apart.
fn unusual(plan: &Plan) -> String {
    let parts = |of: &ClusterPlan| {
        let Settings { n, r, w, quorum, versioning, read, partitioning, .. } = of.settings;
        [
            of.kind.to_string(),
            format!("n{n}r{r}w{w}"),
            quorum.to_string(),
            versioning.to_string(),
            read.to_string(),
            partitioning.to_string().replace(':', ""),
            format!("zones{}", of.zones),
            of.engine.to_string(),
            of.durability.to_string(),
            if of.tls { "tls".to_owned() } else { String::new() },
            if of.own_disks { "disks".to_owned() } else { String::new() },
        ]
    };
    let (is, usual) = (parts(&plan.cluster), parts(&ClusterPlan::default()));
    let unusual = is.into_iter().zip(usual).filter(|(is, usual)| is != usual);
    unusual.map(|(is, _)| format!("-{is}")).collect()
}

/// A new folder named after the time; runs that begin in one second are numbered.
fn fresh(parent: &Path, unusual: &str) -> io::Result<PathBuf> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp = now.replace([':', '-'], "") + unusual;
    let names = (1..).map(|index| match index {
        1 => stamp.clone(),
        _ => format!("{stamp}-{index}"),
    });
    for name in names {
        let dir = parent.join(name);
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no name is left"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_its_own_folder_and_latest_is_the_last() {
        let out = tempfile::tempdir().unwrap();
        let plan = Plan { seed: Some(5), ..Plan::default() };
        let first = Store::create(out.path(), &plan).unwrap();
        let second = Store::create(out.path(), &plan).unwrap();
        assert_ne!(first.dir(), second.dir());
        let latest = fs::read_to_string(out.path().join("latest/plan.toml")).unwrap();
        assert_eq!(Plan::parse(&latest, "plan.toml"), Ok(plan));
        let target = fs::canonicalize(out.path().join("latest")).unwrap();
        assert_eq!(target, fs::canonicalize(second.dir()).unwrap());
    }

    #[test]
    fn who_asks_for_a_run_that_there_is_not_is_told_of_those_that_there_are() {
        let out = tempfile::tempdir().unwrap();
        let refusal = |dir: &Path| Store::open(dir).unwrap_err().0;
        assert!(
            refusal(out.path())
                .ends_with("`dyno test` makes a run, results/latest is the last one")
        );
        let run = Store::create(out.path(), &Plan { seed: Some(5), ..Plan::default() }).unwrap();
        assert_eq!(Store::open(run.dir()).unwrap().dir(), run.dir());
        for dir in [out.path(), run.dir().parent().unwrap()] {
            let refusal = refusal(dir);
            assert!(refusal.contains(&format!("runs are {}; ", run.dir().display())), "{refusal}");
        }
        assert!(refusal(&out.path().join("nosuch")).contains(": there is no such folder; "));
        assert!(refusal(&run.path("plan.toml")).contains(": this is no folder of a run; "));
    }

    #[test]
    fn a_folder_is_named_after_what_is_not_as_usual() {
        let mut plan = Plan::default();
        assert_eq!(unusual(&plan), "");
        plan.cluster.kind = crate::plan::ClusterKind::Sim;
        plan.cluster.settings.quorum = dynamo_protocol::Quorum::Strict;
        plan.cluster.settings.w = 3;
        assert_eq!(unusual(&plan), "-sim-n3r2w3-strict");
    }

    #[test]
    fn results_that_cannot_be_written_are_refused_in_one_line() {
        let out = tempfile::NamedTempFile::new().unwrap();
        let error = Store::create(out.path(), &Plan::default()).unwrap_err().0;
        assert!(error.starts_with("results cannot be written to"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
