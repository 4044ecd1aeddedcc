//! A shard at work: one unit after the other, and those that take one core each side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use dyno_command::{Jobs, output};
use futures::future::try_join_all;

use super::attempt::{self, Bounds, Ran, Stopped};
use super::clock;
use super::folder::Own;
use super::night::{Head, Night};
use super::outcome::{Attempt, Found, Ops, Outcome, Proven};
use super::pace::Pace;
use super::unit::{Role, Unit, Work};
use crate::hosts::{image, lab};
use crate::plan::ClusterKind;
use crate::run::setup::Setup;

/// A shard's units, and how they are run.
pub(super) struct Share<'a> {
    pub(super) head: &'a Head,
    pub(super) own: &'a Own,
    pub(super) units: &'a [(Unit, Work)],
    pub(super) bounds: &'a Bounds,
    pub(super) jobs: Jobs,
}

/// Why a shard is no longer at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing is left to be done.
    Done,
    /// Its time is up.
    TimeUp,
    /// It was asked to end.
    Asked,
}

/// What is known of a unit so far.
#[derive(Default)]
struct Sum {
    attempts: Vec<Attempt>,
    seeds: u64,
    ops: Ops,
    faults: BTreeMap<String, Proven>,
}

impl Share<'_> {
    /// Runs what is not sealed yet, and adds what becomes of it to `night`.
    ///
    /// # Errors
    /// If a program cannot be started, or nothing can be written.
    pub(super) async fn work(&self, night: &mut Night) -> io::Result<Rest> {
        let mut pace = Pace::default();
        let mut done = BTreeSet::new();
        for (unit, _) in self.units {
            if let super::night::Standing::Ended(outcome) = night.standing(&unit.id)
                && outcome.found != Found::Skipped
            {
                pace.took(unit, outcome.ms);
                done.insert(unit.id.clone());
            }
        }
        if !done.is_empty() {
            let (before, all) = (done.len(), self.units.len());
            output::note(format_args!(
                "{before} of {all} units were sealed before, and stay as they are"
            ));
        }
        let mut from = 0;
        while let Some(abreast) = self.next(from, &done) {
            if self.bounds.interrupt.is_asked() {
                return Ok(Rest::Asked);
            }
            let expected = abreast.iter().map(|at| pace.expected(&self.units[*at].0)).max();
            if self.is_time_up(expected.unwrap_or_default()) {
                return Ok(Rest::TimeUp);
            }
            let each = abreast.iter().map(|at| self.unit(&self.units[*at]));
            let ended = try_join_all(each).await?;
            let mut rest = None;
            for (at, (outcome, stopped)) in abreast.iter().copied().zip(ended) {
                from = at + 1;
                let Some((outcome, place)) = outcome else {
                    let asked = stopped == Stopped::Asked;
                    rest = Some(if asked { Rest::Asked } else { Rest::TimeUp });
                    continue;
                };
                night.add(outcome.clone(), &place);
                pace.took(&outcome.unit, outcome.ms);
                let still = self.units[from..].iter().filter(|(unit, _)| !done.contains(&unit.id));
                let still: Duration = still.map(|(unit, _)| pace.expected(unit)).sum();
                output::note(self.line(from, &outcome, still));
            }
            if let Some(rest) = rest {
                return Ok(rest);
            }
        }
        Ok(Rest::Done)
    }

    /// The units that are run next, by their places from `from` on: one, or as many as there may be side by
    /// side of those that take a core each.
    fn next(&self, from: usize, done: &BTreeSet<String>) -> Option<Vec<usize>> {
        let waits = |at: &usize| !done.contains(&self.units[*at].0.id);
        let mut waiting = (from..self.units.len()).filter(waits);
        let takes_one = |at: usize| self.units[at].1.takes_one_core();
        let first = waiting.next()?;
        let mut abreast = vec![first];
        if takes_one(first) {
            let more = waiting.take_while(|at| takes_one(*at));
            abreast.extend(more.take(self.jobs.threads().saturating_sub(1)));
        }
        Some(abreast)
    }

    /// Whether a unit that takes so long would not be done in time.
    fn is_time_up(&self, expected: Duration) -> bool {
        self.bounds.ends.is_some_and(|ends| SystemTime::now() + expected > ends)
    }

    /// Runs a unit and seals it; nothing came of one that had to be given up.
    async fn unit(
        &self,
        (unit, work): &(Unit, Work),
    ) -> io::Result<(Option<(Outcome, PathBuf)>, Stopped)> {
        let (began, setup) = (Instant::now(), work.plan().cloned().unwrap_or_default());
        let Setup { host, began: date, .. } = Setup::of(&setup);
        let folder = self.own.begin(unit, work)?;
        let lacks = lacks(work);
        let (mut sum, mut stopped) = (Sum::default(), Stopped::No);
        while lacks.is_none() && sum.goes_on(unit.role) && stopped == Stopped::No {
            let number = sum.attempts.len() + 1;
            let ran = attempt::run(work, &folder, number, self.jobs, self.bounds).await?;
            stopped = ran.stopped;
            if matches!(stopped, Stopped::Asked | Stopped::TimeUp)
                && ran.attempt.found != Found::Invalid
            {
                break;
            }
            sum.add(ran);
        }
        let was_run = lacks.is_some() || !sum.attempts.is_empty();
        let given_up = matches!(stopped, Stopped::Asked | Stopped::TimeUp)
            && Found::of(&sum.attempts) != Found::Invalid;
        if !was_run || given_up {
            self.own.discard(&folder)?;
            return Ok((None, stopped));
        }
        let outcome = Outcome {
            schema: 1,
            suite: self.head.digest.clone(),
            build: self.head.build.clone(),
            unit: unit.clone(),
            found: if lacks.is_some() { Found::Skipped } else { Found::of(&sum.attempts) },
            lacks,
            attempts: sum.attempts,
            seeds: sum.seeds,
            ops: sum.ops,
            faults: sum.faults,
            host,
            began: date,
            ms: began.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        };
        let place = self.own.seal(&outcome, &folder)?;
        Ok((Some((outcome, place)), stopped))
    }

    /// `[3/41] valid: NAME (41 s; kill 3, pause 2); end about 05:41`
    fn line(&self, at: usize, outcome: &Outcome, still: Duration) -> String {
        let Outcome { unit, found, lacks, ms, faults, .. } = outcome;
        let mut text = format!("[{at}/{}] {}: {}", self.units.len(), found.as_str(), unit.name);
        if let Some(lacks) = lacks {
            return format!("{text}: {lacks}");
        }
        let proven = faults.iter().map(|(name, known)| format!("{name} {}", known.proven));
        let proven = proven.collect::<Vec<_>>().join(", ");
        let proven = if proven.is_empty() { proven } else { format!("; {proven}") };
        text += &format!(" ({} s{proven})", ms.div_ceil(1000));
        if unit.role == Role::Canary {
            text +=
                if *found == Found::Invalid { ", as it must be" } else { ", and MUST BE INVALID" };
        } else if *found != Found::Valid {
            let runs = outcome.attempts.len();
            text += &format!(", in {} of {runs} runs of its seed", outcome.times());
            let why = outcome.telling().and_then(|attempt| attempt.why.first());
            text += &why.map(|why| format!(": {why}")).unwrap_or_default();
        }
        let end = SystemTime::now() + still;
        let end = self.bounds.ends.map_or(end, |ends| ends.min(end));
        format!("{text}; end about {}", clock::shown(end))
    }
}

impl Sum {
    fn add(&mut self, ran: Ran) {
        self.seeds += ran.said.seeds;
        self.ops.add(&ran.said.ops);
        for (name, known) in &ran.said.faults {
            self.faults.entry(name.clone()).or_default().add(known);
        }
        self.attempts.push(ran.attempt);
    }

    /// What was found is tried once more: does it come again? What did not work may work the second time.
    /// A canary that was caught has done what it is there for.
    fn goes_on(&self, role: Role) -> bool {
        match &self.attempts[..] {
            [] => true,
            [Attempt { found: Found::Invalid, .. }] => role != Role::Canary,
            [Attempt { found: Found::Broken, .. }] => true,
            _ => false,
        }
    }
}

/// What this machine lacks for it, if it lacks something.
fn lacks(work: &Work) -> Option<String> {
    let cluster = &work.plan()?.cluster;
    if cluster.kind != ClusterKind::Lab {
        return None;
    }
    let no_lab = lab::privilege().err().map(|error| error.to_string());
    no_lab.or_else(|| cluster.own_disks.then(image::lacks).flatten())
}
