//! From the file of a suite to its units: always the same ones, in the same order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dynamo_protocol::Versioning;

use super::canary;
use super::file::{Days, SuiteFile, Tests};
use super::unit::{Build, Role, Unit, Work, hash};
use crate::plan::{ClusterKind, FaultName, Plan, PlanError, Source};
use crate::simulated::cli::{Seeds, check_cuts};

/// More units than this are no night.
const MOST_UNITS: usize = 200_000;

/// A suite and all its units, canaries not among them.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// Its name.
    pub name: String,
    /// What it is a suite of: the same for all shards, whatever their builds.
    pub digest: String,
    /// The program that runs it.
    pub build: Build,
    /// The units, those that have to be run first.
    pub units: Vec<(Unit, Work)>,
}

/// Expands a suite whose file is at `path`; `shift` is added to every seed.
///
/// # Errors
/// One line that names the part of the suite and why it cannot be run.
pub fn expand(
    suite: &SuiteFile,
    path: &Path,
    build: &Build,
    shift: u64,
) -> Result<Expanded, PlanError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut all = Units { build, shift, folder, list: Vec::new(), ids: BTreeMap::new() };
    let in_file = |error: PlanError| PlanError(format!("{}: {}", path.display(), error.0));
    if suite.tests.is_empty() && suite.sims.is_empty() {
        let nothing = "nothing is to be run: it has no [[test]] and no [[sim]]";
        return Err(in_file(PlanError(nothing.to_owned())));
    }
    plain(&suite.name).map_err(in_file)?;
    for is_optional in [false, true] {
        suite.tests.iter().try_for_each(|tests| all.tests(tests, is_optional)).map_err(in_file)?;
        suite.sims.iter().try_for_each(|days| all.days(days, is_optional)).map_err(in_file)?;
    }
    let units = mixed(all.list);
    let said = units.iter().map(|(unit, work)| {
        format!("{:?} {} {} {}", unit.role, unit.optional, unit.where_able, work.text())
    });
    let said: Vec<_> = [suite.name.clone()].into_iter().chain(said).collect();
    let digest = hash(&said.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(Expanded { name: suite.name.clone(), digest, build: build.clone(), units })
}

impl Expanded {
    /// The units of each of `total` shards in turn, and their canaries: what all shards agree on.
    #[must_use]
    pub fn shards(&self, total: u32) -> Vec<Vec<(Unit, Work)>> {
        let mut shards: Vec<Vec<(Unit, Work)>> = (0..total).map(|_| Vec::new()).collect();
        // Those that have to be run are dealt out by themselves: no shard has more than one more of them.
        for optional in [false, true] {
            let dealt = self.units.iter().filter(|(unit, _)| unit.optional == optional);
            for (at, unit) in dealt.enumerate() {
                shards[at % total as usize].push(unit.clone());
            }
        }
        for (units, index) in shards.iter_mut().zip(1..) {
            let canaries = canary::of(units, index, total, &self.build);
            units.splice(0..0, canaries);
        }
        shards
    }
}

/// Those that are run only if there is time, after all others, mixed: wherever the time ends, about as much
/// of every part was run.
fn mixed(units: Vec<(Unit, Work)>) -> Vec<(Unit, Work)> {
    let (optional, mut units): (Vec<_>, Vec<_>) =
        units.into_iter().partition(|(unit, _)| unit.optional);
    let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, (unit, _)) in optional.iter().enumerate() {
        parts.entry(unit.part.clone()).or_default().push(at);
    }
    let mut order = vec![(0, 0); optional.len()];
    for part in parts.values() {
        for (place, at) in part.iter().enumerate() {
            order[*at] = (place * MOST_UNITS / part.len(), *at);
        }
    }
    let mut optional: Vec<_> = order.into_iter().zip(optional).collect();
    optional.sort_by_key(|(order, _)| *order);
    units.extend(optional.into_iter().map(|(_, unit)| unit));
    units
}

struct Units<'a> {
    build: &'a Build,
    shift: u64,
    folder: &'a Path,
    list: Vec<(Unit, Work)>,
    /// Where each stands in the list.
    ids: BTreeMap<String, usize>,
}

impl Units<'_> {
    /// Adds a unit, unless it is there already: its id. What has to be run somewhere has to be run.
    fn add(&mut self, unit: Unit, work: Work) -> Result<String, PlanError> {
        let id = unit.id.clone();
        match self.ids.get(&id) {
            Some(at) => {
                let known = &mut self.list[*at].0;
                known.optional &= unit.optional;
                known.where_able &= unit.where_able;
            }
            None => {
                self.ids.insert(id.clone(), self.list.len());
                self.list.push((unit, work));
            }
        }
        if self.list.len() > MOST_UNITS {
            return Err(PlanError(format!("more than {MOST_UNITS} units: use fewer seeds")));
        }
        Ok(id)
    }

    fn tests(&mut self, tests: &Tests, is_optional: bool) -> Result<(), PlanError> {
        let plan = self.plan(tests.plan.as_deref())?;
        let part = tests.name.clone().unwrap_or_else(|| plan.name.clone());
        plain(&part)?;
        let in_part = |error: PlanError| PlanError(format!("[[test]] {part}: {}", error.0));
        let Some(seeds) = self.seeds(&tests.seeds, &tests.more, is_optional).map_err(in_part)?
        else {
            return Ok(());
        };
        let variants = variants(tests, plan);
        if variants.is_empty() {
            return Err(in_part(PlanError("a list is empty: nothing is to be run".to_owned())));
        }
        for variant in &variants {
            let control = self.control(&part, tests, variant).map_err(in_part)?;
            for seed in seeds.clone() {
                let plan = Plan { seed: Some(seed), ..variant.clone() };
                plan.check().map_err(|error| in_part(PlanError(error.0)))?;
                let work = Work::Test(Box::new(plan));
                let mut unit = Unit::new(&part, Role::Judged, &work, self.build);
                (unit.optional, unit.where_able) = (is_optional, tests.where_able);
                unit.control.clone_from(&control);
                self.add(unit, work).map_err(in_part)?;
            }
        }
        Ok(())
    }

    /// The run without faults that one with faults is compared with; none, if it has none itself.
    fn control(
        &mut self,
        part: &str,
        tests: &Tests,
        variant: &Plan,
    ) -> Result<Option<String>, PlanError> {
        if variant.faults.is_empty() {
            return Ok(None);
        }
        let seed = self.shifted(tests.seeds.0.start)?;
        let plan = Plan { faults: Vec::new(), seed: Some(seed), ..variant.clone() };
        plan.check()?;
        let work = Work::Test(Box::new(plan));
        let mut unit = Unit::new(part, Role::Control, &work, self.build);
        unit.where_able = tests.where_able;
        self.add(unit, work).map(Some)
    }

    fn days(&mut self, days: &Days, is_optional: bool) -> Result<(), PlanError> {
        let plan = days.plan.as_deref().map(|plan| self.plan(Some(plan))).transpose()?;
        let plan = plan.map(|mut plan| {
            plan.cluster.kind = ClusterKind::Sim;
            plan.seed = None;
            plan
        });
        let usual = plan.as_ref().map_or("days", |plan| &plan.name);
        let part = days.name.clone().unwrap_or_else(|| usual.to_owned());
        plain(&part)?;
        let in_part = |error: PlanError| PlanError(format!("[[sim]] {part}: {}", error.0));
        let Some(seeds) = self.seeds(&days.seeds, &days.more, is_optional).map_err(in_part)? else {
            return Ok(());
        };
        let seeds = match days.cuts {
            true => seeds.start - self.shift..seeds.end - self.shift,
            false => seeds,
        };
        if days.each == 0 {
            return Err(in_part(PlanError("each = 0: a unit has at least one seed".to_owned())));
        }
        if days.shell && (days.cuts || plan.is_some()) {
            let why = "shell: whole nodes take no plan, and no ways of cutting links".to_owned();
            return Err(in_part(PlanError(why)));
        }
        if days.crashes && !days.shell {
            let why = "crashes: they are of whole nodes: add shell = true".to_owned();
            return Err(in_part(PlanError(why)));
        }
        if days.cuts {
            // Numbers of ways are no seeds: they are what they are on every night.
            check_cuts(plan.as_ref(), &Seeds(seeds.clone()))
                .map_err(|why| in_part(PlanError(format!("cuts: {why}"))))?;
        }
        let mut control = None;
        if let Some(plan) = &plan {
            plan.check().map_err(in_part)?;
            if !plan.faults.is_empty() {
                let seed = Some(self.shifted(days.seeds.0.start).map_err(in_part)?);
                let work = Work::Test(Box::new(Plan { faults: Vec::new(), seed, ..plan.clone() }));
                let unit = Unit::new(&part, Role::Control, &work, self.build);
                control = Some(self.add(unit, work).map_err(in_part)?);
            }
        }
        let mut from = seeds.start;
        while from < seeds.end {
            let to = from.saturating_add(days.each).min(seeds.end);
            let work = match plan.clone().map(Box::new) {
                Some(plan) if days.cuts => Work::Cuts(plan, from..to),
                None if days.crashes => Work::Crashes(from..to),
                None if days.shell => Work::Shell(Versioning::Dotted, from..to),
                plan => Work::Sim(plan, from..to),
            };
            let mut unit = Unit::new(&part, Role::Judged, &work, self.build);
            unit.optional = is_optional;
            unit.control.clone_from(&control);
            self.add(unit, work).map_err(in_part)?;
            from = to;
        }
        Ok(())
    }

    /// The seeds of a part that have to be run, or those that may be.
    fn seeds(
        &self,
        seeds: &Seeds,
        more: &Option<Seeds>,
        is_optional: bool,
    ) -> Result<Option<Range<u64>>, PlanError> {
        let Some(Seeds(range)) = (if is_optional { more.as_ref() } else { Some(seeds) }) else {
            return Ok(None);
        };
        Ok(Some(self.shifted(range.start)?..self.shifted(range.end)?))
    }

    fn shifted(&self, seed: u64) -> Result<u64, PlanError> {
        let shifted = seed.checked_add(self.shift).filter(|seed| i64::try_from(*seed).is_ok());
        shifted.ok_or_else(|| {
            let (shift, most) = (self.shift, i64::MAX);
            PlanError(format!("seed {seed} with --shift {shift}: the largest is {most}"))
        })
    }

    /// The plan of a file. What it names is where it is, from wherever its units run.
    fn plan(&self, file: Option<&Path>) -> Result<Plan, PlanError> {
        let Some(file) = file else { return Ok(Plan::default()) };
        let path = self.folder.join(file);
        let (mut plan, _) = Source::read(&path)?;
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        plan.cluster.binary = plan.cluster.binary.as_deref().map(absolute);
        if let Some(hosts) = plan.cluster.hosts.as_mut().filter(|hosts| Path::new(hosts).is_file())
        {
            *hosts = absolute(&PathBuf::from(&*hosts)).display().to_string();
        }
        Ok(plan)
    }
}

/// Every combination of what is listed.
fn variants(tests: &Tests, plan: Plan) -> Vec<Plan> {
    let mut all = vec![plan];
    each(&mut all, Some(&tests.clusters), |plan, kind| plan.cluster.kind = *kind);
    each(&mut all, tests.nodes.as_ref(), |plan, nodes| plan.cluster.nodes = *nodes);
    each(&mut all, tests.nrw.as_ref(), |plan, nrw| {
        let settings = &mut plan.cluster.settings;
        [settings.n, settings.r, settings.w] = nrw.0;
    });
    each(&mut all, tests.quorum.as_ref(), |plan, mode| plan.cluster.settings.quorum = *mode);
    each(&mut all, tests.versioning.as_ref(), |plan, mode| {
        plan.cluster.settings.versioning = *mode;
    });
    each(&mut all, tests.read.as_ref(), |plan, mode| plan.cluster.settings.read = *mode);
    each(&mut all, tests.anti_entropy.as_ref(), |plan, on| {
        plan.cluster.settings.anti_entropy = *on;
    });
    each(&mut all, tests.partitioning.as_ref(), |plan, way| {
        plan.cluster.settings.partitioning = *way;
    });
    each(&mut all, tests.faults.as_ref(), |plan, faults: &Vec<FaultName>| {
        plan.faults.clone_from(faults);
    });
    if let Some(time) = tests.time {
        all.iter_mut().for_each(|plan| plan.time = time);
    }
    all
}

/// Has every plan with every one of the values, if there are any to choose from.
fn each<T>(plans: &mut Vec<Plan>, values: Option<&Vec<T>>, set: impl Fn(&mut Plan, &T)) {
    let Some(values) = values else { return };
    let with = |(plan, value): (&Plan, &T)| {
        let mut plan = plan.clone();
        set(&mut plan, value);
        plan
    };
    let pairs = plans.iter().flat_map(|plan| values.iter().map(move |value| (plan, value)));
    *plans = pairs.map(with).collect();
}

/// What may be part of a folder's name.
fn plain(name: &str) -> Result<(), PlanError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_plain = (1..=60).contains(&name.len()) && !name.starts_with('.');
    if is_plain && name.chars().all(fits) {
        return Ok(());
    }
    Err(PlanError(format!(
        "name `{name}` names folders: use letters, digits, `-`, `_`, `.`, at most 60"
    )))
}
