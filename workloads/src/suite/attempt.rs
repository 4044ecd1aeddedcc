//! One run of a unit's command, in a process of its own, in the folder where the unit is done.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use dyno_command::Jobs;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::process::{getppid, set_parent_process_death_signal};
use tokio::process::{Child, Command};

use super::judged::{self, Said};
use super::outcome::{Attempt, Found};
use super::unit::Work;
use crate::interrupt::Interrupt;

/// Set for a command that a suite runs: it ends with the suite, however that ended.
const OF_SUITE: &str = "DYNO_OF_SUITE";
/// How long a command that is asked to end may take to heal and to judge what there is.
const GRACE: Duration = Duration::from_secs(120);

/// When a run is not waited for any longer.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Somebody asks the suite to end.
    pub(super) interrupt: Interrupt,
    /// The suite's time is up then.
    pub(super) ends: Option<SystemTime>,
    /// A run takes no longer.
    pub(super) limit: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// By itself.
    No,
    /// Somebody asked the suite to end.
    Asked,
    /// The suite's time was up.
    TimeUp,
    /// It took too long.
    TooLong,
}

/// A run and how it ended.
pub(super) struct Ran {
    pub(super) attempt: Attempt,
    pub(super) said: Said,
    pub(super) stopped: Stopped,
}

/// Ends this process with the suite that it is run by, if it is.
///
/// # Errors
/// If the suite is gone already.
pub(crate) fn ends_with_its_suite() -> io::Result<()> {
    if std::env::var_os(OF_SUITE).is_none() {
        return Ok(());
    }
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == parent { Ok(()) } else { Err(io::Error::other("the suite is gone already")) }
}

/// Runs `work` in `folder`, for the `number`-th time; what it prints goes beside its results.
///
/// # Errors
/// If it cannot be started, or its files cannot be written.
pub(super) async fn run(
    work: &Work,
    folder: &Path,
    number: usize,
    jobs: Jobs,
    bounds: &Bounds,
) -> io::Result<Ran> {
    let began = Instant::now();
    let out = format!("attempt-{number}");
    fs::create_dir_all(folder.join(&out))?;
    let file = |name: &str| folder.join(&out).join(name);
    let (stdout, stderr) = (file("stdout.txt"), file("stderr.txt"));
    // Not its name: a program that was built anew since must not be mixed with this one.
    let own = Path::new("/proc/self/exe");
    let own = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
    let mut child = Command::new(own)
        .args(words(work, &out, jobs))
        .current_dir(folder)
        .env(OF_SUITE, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(File::create(&stderr)?)
        // A signal from the terminal is for the suite, which passes it on.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (status, stopped) = wait(&mut child, bounds).await?;
    let text = |path: &Path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    let mut said = judged::read(work.command(), status, &text(&stdout)?, &text(&stderr)?);
    if stopped == Stopped::TooLong && said.found != Found::Invalid {
        said.found = Found::Broken;
        let limit = humantime::format_duration(bounds.limit);
        said.why.insert(0, format!("it took longer than {limit}, and was ended"));
    }
    let attempt = Attempt {
        found: said.found,
        status,
        why: said.why.clone(),
        again: said.again.clone().unwrap_or_else(|| again(work)),
        ms: began.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
    };
    Ok(Ran { attempt, said, stopped })
}

/// The arguments of the command.
fn words(work: &Work, out: &str, jobs: Jobs) -> Vec<String> {
    let mut words = shown(work);
    words.extend(["--json", "--out", out].map(str::to_owned));
    if work.range().is_some() {
        words.extend(["--jobs".to_owned(), jobs.threads().to_string()]);
    }
    words
}

/// The command as a person runs it in the unit's folder.
pub(super) fn again(work: &Work) -> String {
    format!("dyno {}", shown(work).join(" "))
}

fn shown(work: &Work) -> Vec<String> {
    let mut words = vec![work.command().to_owned()];
    words.extend(work.plan().map(|_| PLAN.to_owned()));
    if let Some(seeds) = work.range() {
        words.extend(["--seeds".to_owned(), format!("{}..{}", seeds.start, seeds.end)]);
    }
    let flags = match work {
        Work::Test(_) | Work::Sim(..) => String::new(),
        Work::Cuts(..) => "--cuts".to_owned(),
        Work::Shell(versioning, _) => format!("--shell --versioning {versioning}"),
        Work::Crashes(_) => "--shell --crashes".to_owned(),
    };
    words.extend(flags.split_whitespace().map(str::to_owned));
    words
}

/// The file of the unit's plan, in its folder.
pub(super) const PLAN: &str = "plan.toml";

/// Waits until it ends, asks it to end when it has to, and kills it if it does not; what it exited with.
async fn wait(child: &mut Child, bounds: &Bounds) -> io::Result<(Option<i32>, Stopped)> {
    let left = bounds.ends.map(|ends| ends.duration_since(SystemTime::now()).unwrap_or_default());
    let time_up = async {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    let stopped = tokio::select! {
        status = child.wait() => return Ok((status?.code(), Stopped::No)),
        () = bounds.interrupt.asked() => Stopped::Asked,
        () = time_up => Stopped::TimeUp,
        () = tokio::time::sleep(bounds.limit) => Stopped::TooLong,
    };
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::INT);
    }
    let status = match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => status?.code(),
        Err(_) => {
            if let Some(pid) = pid {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            child.wait().await?.code()
        }
    };
    Ok((status, stopped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn what_is_shown_is_what_is_run() {
        let test = Work::Test(Box::default());
        assert_eq!(again(&test), "dyno test plan.toml");
        let days = Work::Sim(Some(Box::<Plan>::default()), 3..9);
        assert_eq!(again(&days), "dyno sim plan.toml --seeds 3..9");
        let drawn = Work::Sim(None, 3..9);
        let words = words(&drawn, "attempt-1", "1".parse().unwrap()).join(" ");
        assert!(words.starts_with("sim --seeds 3..9 --json --out attempt-1 --jobs "), "{words}");
    }
}
