//! `dyno doctor`: what this machine and the hosts of a cluster can do, and why not.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use dyno_command::{document, output};
use futures::future::join_all;
use serde::Serialize;

use crate::cluster::{ClusterError, connect, facts};
use crate::hosts::agent::{Fact, Handle, Request};
use crate::hosts::lab::{self, Lab};
use crate::hosts::remote::{HostArgs, Inventory};
use crate::nemesis::faults::kind::Needs;
use crate::plan::{ClusterKind, ClusterPlan, FaultName, Span};
use crate::run::verdict::{BROKEN, REFUSED, VALID};

/// Requests of which the median is told.
const REQUESTS: usize = 101;

/// Arguments of `dyno doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which cluster to look at: local, ssh or lab. Without one: local, and whether a lab can be had.
    #[arg(long, value_name = "KIND")]
    cluster: Option<ClusterKind>,
    #[command(flatten)]
    at: HostArgs,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    /// This machine, or a host.
    place: String,
    /// The fault, or what else it is about.
    name: String,
    /// Whether it can be done.
    can: bool,
    /// How, or why not.
    how: String,
}

/// What all places can do.
#[derive(Debug, Serialize)]
struct Report {
    lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing: Option<Timing>,
}

/// How fast hosts and their agents are.
#[derive(Debug, Serialize)]
struct Timing {
    /// Until all agents had answered; with the upload, where a host did not have this program yet.
    connect_ms: f64,
    /// Until every host had said what it can do.
    facts_ms: f64,
    /// The median of many requests, by host, in microseconds.
    request_us: BTreeMap<String, u64>,
}

/// Looks and says; the exit status: 0 if all could be looked at, whatever they can do.
#[must_use]
pub fn run(args: &DoctorArgs) -> u8 {
    let looked = match args.cluster {
        None => Ok((local().into_iter().chain([laboratory()]).collect(), None)),
        Some(ClusterKind::Local) => Ok((local(), None)),
        Some(ClusterKind::Sim) => Err((REFUSED, "cluster sim needs nothing".to_owned())),
        Some(ClusterKind::Lab) => in_lab(),
        Some(ClusterKind::Ssh) => match &args.at.hosts {
            None => Err((REFUSED, "--cluster ssh needs --hosts: a file, or n1,n2,...".to_owned())),
            Some(hosts) => over_ssh(hosts, args.at.accept_new),
        },
    };
    match looked {
        Ok((lines, timing)) if args.json => {
            output::say(document("doctor", None, Report { lines, timing }));
            VALID
        }
        Ok((lines, timing)) => {
            output::text(table(&lines));
            if let Some(timing) = timing {
                output::text(timing.summary());
            }
            VALID
        }
        Err((status, error)) => {
            output::refuse(error);
            status
        }
    }
}

fn local() -> Vec<Line> {
    let line = |fault: &FaultName| {
        let how = match fault.nature().needs {
            Needs::Node(how) | Needs::Hooks(how) => how,
            Needs::Links(_) => "the driver's link proxies",
        };
        Line { place: "local".into(), name: fault.to_string(), can: true, how: how.to_owned() }
    };
    FaultName::ALL.iter().map(line).collect()
}

/// Whether this machine can have a lab.
fn laboratory() -> Line {
    let tried = lab::privilege();
    let can = tried.is_ok();
    let how = match tried {
        Ok(lab::Privilege::Root) => "as root".to_owned(),
        Ok(lab::Privilege::UserNamespace) => "in a user namespace".to_owned(),
        Err(error) => error.to_string(),
    };
    Line { place: "local".to_owned(), name: "lab".to_owned(), can, how }
}

type Looked = Result<(Vec<Line>, Option<Timing>), (u8, String)>;

/// On hosts made for the purpose: two, so that there is a link.
fn in_lab() -> Looked {
    let broken = |error: &dyn std::fmt::Display| (BROKEN, error.to_string());
    let lab = Lab::for_one_run(2).map_err(|error| broken(&error))?;
    lab.enter().map_err(|error| broken(&error))?;
    over_ssh(&lab.hosts_file().display().to_string(), false)
}

fn over_ssh(hosts: &str, accept_new: bool) -> Looked {
    let inventory = Inventory::read(hosts).map_err(|error| (REFUSED, error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (BROKEN, format!("cannot start: {error}")))?;
    runtime.block_on(look(&inventory, accept_new)).map_err(|error| (BROKEN, error.to_string()))
}

async fn look(
    inventory: &Inventory,
    accept_new: bool,
) -> Result<(Vec<Line>, Option<Timing>), ClusterError> {
    let plan = ClusterPlan { accept_new, lease: Span::secs(10), ..ClusterPlan::default() };
    let begun = Instant::now();
    let greeted = connect(inventory, &plan).await?;
    let connect_ms = millis(begun);
    let begun = Instant::now();
    let asked = join_all(greeted.iter().map(|(agent, _)| facts(agent))).await;
    let facts_ms = millis(begun);
    let (mut lines, mut request_us) = (Vec::new(), BTreeMap::new());
    for ((agent, welcome), facts) in greeted.into_iter().zip(asked) {
        let place = agent.name().to_owned();
        request_us.insert(place.clone(), request(&agent).await?);
        let found = welcome.leftovers.into_iter();
        let found = found.map(|how| Fact { name: "leftover".to_owned(), can: true, how });
        lines.extend(found.chain(facts?).map(|Fact { name, can, how }| Line {
            place: place.clone(),
            name,
            can,
            how,
        }));
        // A goodbye that is not heard is a lease that ends.
        let _ = agent.tell(Request::Bye).await;
    }
    Ok((lines, Some(Timing { connect_ms, facts_ms, request_us })))
}

/// The median time of a request, in microseconds.
async fn request(agent: &Handle) -> Result<u64, ClusterError> {
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let done = agent.tell(Request::Beat).await;
        done.map_err(|error| ClusterError::Io(error.to_string()))?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[REQUESTS / 2].as_micros().try_into().unwrap_or(u64::MAX))
}

fn millis(begun: Instant) -> f64 {
    (begun.elapsed().as_secs_f64() * 1e4).round() / 10.0
}

impl Timing {
    fn summary(&self) -> String {
        let slowest = self.request_us.values().max().copied().unwrap_or_default();
        format!(
            "{} hosts connected in {:.0} ms; said what they can in {:.0} ms; a request takes {slowest} us\n",
            self.request_us.len(),
            self.connect_ms,
            self.facts_ms
        )
    }
}

fn table(lines: &[Line]) -> String {
    let width = |column: fn(&Line) -> &str| lines.iter().map(|line| column(line).len()).max();
    let place = width(|line| &line.place).unwrap_or(0);
    let name = width(|line| &line.name).unwrap_or(0);
    let row = |line: &Line| {
        let can = if line.can { "yes" } else { "no" };
        format!("{:<place$}  {:<name$}  {can:<3}  {}\n", line.place, line.name, line.how)
    };
    lines.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_how_or_why_not() {
        let lines = local();
        assert!(lines.iter().all(|line| !line.how.is_empty()));
        let table = table(&lines);
        assert_eq!(table.lines().count(), lines.len());
        assert!(table.contains("local  kill       yes  SIGKILL"), "{table}");
    }
}
