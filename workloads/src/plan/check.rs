//! What a plan must keep to before anything is started, each with its mend.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use dynamo_protocol::{
    Member, NodeId, Quorum, Settings, SettingsError, Timing, View, ViewError, Zone,
};

use super::{
    ClusterKind, ClusterPlan, Durability, Engine, FaultName, Plan, PlanError, Role, Span, Target,
    WorkloadName, Wrong,
};
use crate::hosts::remote::Inventory;

/// An agent waits no longer for its driver.
const LONGEST_LEASE: Span = Span::secs(600);
/// More real processes than this on one machine measure the machine.
const MOST_NODES: u16 = 25;
/// What a run can write its history of.
const LONGEST_RUN: Span = Span::secs(7 * 24 * 3600);
/// More turns of faults than this fill memory before the first happens.
const MOST_TURNS: u128 = 100_000;
/// A name and the time make a folder's name, of which file systems take 255 bytes.
const LONGEST_NAME: usize = 100;

impl Plan {
    /// Refuses a plan that cannot be run, or whose faults leave what it claims.
    ///
    /// # Errors
    /// The first thing that is wrong, and the mend.
    pub fn check(&self) -> Result<(), PlanError> {
        self.examine().map_err(|wrong| PlanError(wrong.why))
    }

    /// The same, with the settings that are wrong: [`super::Source`] knows where they were written.
    pub(super) fn examine(&self) -> Result<(), Wrong> {
        self.check_name()?;
        self.check_cluster()?;
        self.check_workload()?;
        self.check_times()?;
        self.faults.iter().try_for_each(|fault| self.check_fault(*fault))?;
        self.check_once()
    }

    /// The view that the cluster begins with: the driver asks it for preference lists.
    ///
    /// # Errors
    /// If there is no such cluster.
    pub fn view(&self) -> Result<View, PlanError> {
        self.genesis().map_err(|error| PlanError(format!("the cluster cannot be: {error}")))
    }

    fn genesis(&self) -> Result<View, ViewError> {
        let ClusterPlan { tokens, zones, .. } = self.cluster;
        let member = |id| Member::new(id, tokens).in_zone(Zone::in_turn(id, zones));
        let members = self.nodes().into_iter().map(member).collect();
        View::genesis(&self.cluster.settings, members)
    }

    fn check_name(&self) -> Result<(), Wrong> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = &self.name;
        let folder = (1..=LONGEST_NAME).contains(&name.len())
            && !name.starts_with('.')
            && name != "latest"
            && name.chars().all(plain);
        refuse_if(&["name"], !folder, || {
            format!(
                "name `{name}` names a folder: use letters, digits, `-`, `_`, `.`, at most \
                 {LONGEST_NAME}, not `latest`"
            )
        })?;
        refuse_if(&["seed"], self.seed.is_some_and(|seed| i64::try_from(seed).is_err()), || {
            format!("seed {}: the largest a plan can hold is {}", self.seed.unwrap_or(0), i64::MAX)
        })
    }

    fn check_cluster(&self) -> Result<(), Wrong> {
        let cluster = &self.cluster;
        within(&["cluster.nodes"], cluster.nodes, 1, MOST_NODES)?;
        within(&["cluster.tokens"], cluster.tokens, 1, Member::MOST_TOKENS)?;
        within(&["cluster.zones"], cluster.zones, 1, MOST_NODES)?;
        self.check_hosts()?;
        let binary = cluster.binary.as_deref();
        let missing = binary.filter(|binary| !binary.is_file());
        refuse_if(&["cluster.binary"], missing.is_some(), || {
            let path = missing.unwrap_or(Path::new("")).display();
            format!("cluster.binary {path} is no file: name a build of dyno")
        })?;
        self.check_settings()
    }

    fn check_settings(&self) -> Result<(), Wrong> {
        let Err(error) = self.genesis() else { return Ok(()) };
        let settings: &[_] = match &error {
            ViewError::TooFew { .. } => &["cluster.n", "cluster.nodes"],
            ViewError::Settings(SettingsError { field, .. }) => match *field {
                "n" => &["cluster.n", "cluster.nodes"],
                "r" => &["cluster.r", "cluster.n"],
                "w" => &["cluster.w", "cluster.n"],
                "partitioning" => &["cluster.partitioning"],
                "timing.hedge" => &["cluster.hedge", "cluster.deadline"],
                "timing.deadline" => &["cluster.deadline"],
                "timing.ping" => &["cluster.ping"],
                "timing.handoff" => &["cluster.handoff"],
                "timing.exchange" => &["cluster.exchange"],
                _ => &["cluster"],
            },
            ViewError::Twice(_)
            | ViewError::Tokens(_)
            | ViewError::NotAMember(_)
            | ViewError::History(_) => &["cluster.nodes"],
        };
        // A plan has all of them beside each other.
        let told = error.to_string();
        Err(Wrong { settings, why: format!("cluster.{}", told.trim_start_matches("timing.")) })
    }

    fn check_hosts(&self) -> Result<(), Wrong> {
        let cluster = &self.cluster;
        within(&["cluster.lease"], cluster.lease, Span::secs(1), LONGEST_LEASE)?;
        let far = matches!(cluster.kind, ClusterKind::Ssh | ClusterKind::Lab);
        refuse_if(&["cluster.record", "cluster.kind"], cluster.record && far, || {
            "cluster.record: hosts keep no records; use it with cluster local or sim".to_owned()
        })?;
        let here = cluster.kind == ClusterKind::Local;
        refuse_if(&["cluster.tls", "cluster.kind"], cluster.tls && !here, || {
            "cluster.tls: certificates are made for nodes on this machine: use it with cluster local"
                .to_owned()
        })?;
        refuse_if(&["cluster.own_disks", "cluster.kind"], cluster.own_disks && !far, || {
            "cluster.own_disks: an agent on the node's host mounts them: use it with cluster lab or ssh"
                .to_owned()
        })?;
        let lax = cluster.durability != Durability::Sync;
        refuse_if(
            &["cluster.durability", "cluster.kind"],
            lax && cluster.kind == ClusterKind::Sim,
            || {
                let durability = cluster.durability;
                format!(
                    "cluster.durability {durability}: simulated disks are synced; use it with real nodes"
                )
            },
        )?;
        let settings = &["cluster.hosts", "cluster.kind"];
        match (cluster.kind, &cluster.hosts) {
            (ClusterKind::Ssh, None) => refuse_if(&["cluster.kind"], true, || {
                "cluster ssh needs --hosts: a file, or n1,n2,...".to_owned()
            }),
            (ClusterKind::Ssh, Some(hosts)) => Inventory::read(hosts)
                .and_then(|inventory| inventory.take(self.everybody().len()))
                .map(drop)
                .map_err(|error| Wrong { settings, why: error.to_string() }),
            // Filled in by the lab itself, once it is up.
            (ClusterKind::Lab, _) => Ok(()),
            (kind, hosts) => refuse_if(settings, hosts.is_some(), || {
                format!("cluster {kind} has its own hosts: --hosts goes with --cluster ssh")
            }),
        }
    }

    fn check_workload(&self) -> Result<(), Wrong> {
        let workload = &self.workload;
        within(&["workload.concurrency"], workload.concurrency, 1, 1000)?;
        within(&["workload.carts"], workload.carts, 1, 10_000)?;
        within(&["workload.puts_per_cart"], workload.puts_per_cart, 1, 1_000_000)?;
        within(&["workload.think"], workload.think, Span::default(), Span(Timing::MOST))?;
        if let Some(rate) = workload.rate {
            within(&["workload.rate"], rate, 0.001, 1e6)?;
        }
        let deadline = Span(self.cluster.settings.timing.deadline);
        let patient = workload.timeout > deadline;
        refuse_if(&["workload.timeout", "cluster.deadline"], !patient, || {
            format!(
                "workload.timeout {} must exceed cluster.deadline {deadline}, or clients give up before \
                 nodes",
                workload.timeout
            )
        })?;
        within(&["workload.timeout"], workload.timeout, Span::millis(1), LONGEST_RUN)
    }

    fn check_times(&self) -> Result<(), Wrong> {
        let (fault, least) = (&self.fault, Span::millis(1));
        within(&["time"], self.time, least, LONGEST_RUN)?;
        within(&["fault.hold"], fault.hold, least, LONGEST_RUN)?;
        within(&["fault.gap"], fault.gap, Span::default(), LONGEST_RUN)?;
        within(&["fault.overlap"], fault.overlap, 0, FaultName::ALL.len())?;
        let turn = (fault.hold.0 + fault.gap.0).as_nanos().max(1);
        let turns = self.time.0.as_nanos() / turn;
        let settings = &["fault.hold", "fault.gap", "time"];
        refuse_if(settings, !self.faults.is_empty() && turns > MOST_TURNS, || {
            let (hold, gap, time) = (fault.hold, fault.gap, self.time);
            format!(
                "fault.hold {hold} and fault.gap {gap} make {turns} turns of faults in {time}: at \
                 most {MOST_TURNS}"
            )
        })?;
        FaultName::ALL.iter().try_for_each(|kind| kind.bounds(fault))
    }

    fn check_fault(&self, fault: FaultName) -> Result<(), Wrong> {
        let (cluster, nature) = (&self.cluster, fault.nature());
        let without = nature.unsimulated.filter(|_| cluster.kind == ClusterKind::Sim);
        refuse_if(&["faults", "cluster.kind"], without.is_some(), || {
            format!("fault {fault}: {}; use cluster local", without.unwrap_or_default())
        })?;
        let has_links = nature.needs.means().is_some();
        refuse_if(&["faults", "cluster.nodes"], has_links && cluster.nodes < 2, || {
            format!("fault {fault} needs 2 nodes")
        })?;
        fault.check(self)
    }

    /// A fault of files wants an engine that has some.
    pub(crate) fn check_files(&self, fault: FaultName) -> Result<(), Wrong> {
        let cluster = &self.cluster;
        let has_files = cluster.kind == ClusterKind::Sim || cluster.engine != Engine::Memory;
        refuse_if(&["cluster.engine", "faults"], !has_files, || {
            format!("fault {fault} with engine memory finds no files: use engine fjall")
        })?;
        // They cut journals, and know where what they flip is checked.
        let damages =
            matches!(fault, FaultName::Bitflip | FaultName::Truncate | FaultName::Rollback);
        let unknown = cluster.kind != ClusterKind::Sim && cluster.engine == Engine::Redb && damages;
        refuse_if(&["cluster.engine", "faults"], unknown, || {
            format!(
                "fault {fault} with engine redb: it knows fjall's files alone: use engine fjall"
            )
        })
    }

    /// A disk that is lost stays lost for the rest of the run.
    pub(crate) fn check_disks(&self, fault: FaultName) -> Result<(), Wrong> {
        let cluster = &self.cluster;
        let settings = &cluster.settings;
        let strict = settings.quorum == Quorum::Strict;
        refuse_if(&["cluster.quorum", "faults"], strict && !settings.anti_entropy, || {
            format!("fault {fault} with quorum strict needs refilling: use sloppy, or anti-entropy")
        })?;
        let deletes = self.workload.name == WorkloadName::Versions;
        refuse_if(&["workload.name", "faults"], deletes && fault == FaultName::Rollback, || {
            format!(
                "fault {fault} brings back what was deleted and collected since, which workload versions \
                 would take for a broken promise: use workload cart"
            )
        })?;
        refuse_if(&["cluster.w", "faults"], cluster.settings.w < 2, || {
            format!("fault {fault} claims at most W-1 disks: with W = 1 that is none; use -w 2")
        })?;
        let lost: Vec<_> = self.faults.iter().filter(|fault| fault.nature().loses_a_disk).collect();
        // One after the other, those that are refilled need no more than one of them does.
        let refilled = |fault: &&&FaultName| self.refills() && fault.nature().is_refilled;
        let refilled = lost.iter().filter(refilled).count().saturating_sub(1);
        refuse_if(&["cluster.w", "faults"], lost.len() - refilled >= cluster.settings.w, || {
            let names: Vec<_> = lost.iter().map(ToString::to_string).collect();
            let (names, w) = (names.join(", "), cluster.settings.w);
            format!(
                "faults {names} lose a disk each, and W = {w} stands for at most W-1 lost: use a \
                 larger -w, or fewer of them"
            )
        })?;
        // Of one key's homes those that lost their disks wait for each other.
        let Settings { n, r, w, .. } = *settings;
        refuse_if(&["cluster.r", "faults"], strict && r + w > n + 1, || {
            format!(
                "fault {fault} with quorum strict, R = {r} and W = {w} of N = {n}: W-1 disks may be lost, \
                 and a get needs R homes that kept theirs: R + W is n + 1 at most, use a smaller -r or -w"
            )
        })
    }

    /// A newcomer of a strict cluster has to find enough homes that count, be one of them out of reach.
    pub(crate) fn check_ring(&self, fault: FaultName) -> Result<(), Wrong> {
        let Settings { n, r, w, .. } = self.cluster.settings;
        let takes_all = self.cluster.settings.quorums_meet() && r.min(w) == 1 && n > 1;
        refuse_if(&["cluster.quorum", "faults"], takes_all, || {
            format!(
                "fault {fault} with quorum strict, R = {r} and W = {w}: a newcomer takes all {n} homes there \
                 were to be filled; use sloppy, or -r and -w of 2 or more"
            )
        })
    }

    /// Somebody has to be able to leave.
    pub(crate) fn check_leave(&self) -> Result<(), Wrong> {
        let (nodes, least) = (usize::from(self.cluster.nodes), self.least_members());
        let nobody = nodes <= least && !self.faults.contains(&FaultName::Join);
        refuse_if(&["cluster.nodes", "faults"], nobody, || {
            format!("fault leave keeps {least} members: use more --nodes, or fault join")
        })
    }

    /// Somebody has to hold hints.
    pub(crate) fn check_hints(&self, fault: FaultName) -> Result<(), Wrong> {
        self.check_holders(
            &["cluster.quorum", "cluster.nodes", "faults"],
            format_args!("fault {fault}"),
        )
    }

    fn check_holders(
        &self,
        settings: &'static [&'static str],
        what: impl Display,
    ) -> Result<(), Wrong> {
        let Settings { quorum, n, .. } = self.cluster.settings;
        let none = quorum == Quorum::Strict || usize::from(self.cluster.nodes) <= n;
        refuse_if(settings, none, || {
            format!("{what}: nobody holds hints; use quorum sloppy and more nodes than -n")
        })
    }

    /// A fault that is aimed wants targets.
    pub(crate) fn check_targets(&self) -> Result<(), Wrong> {
        refuse_if(&["fault.targets"], self.fault.targets.is_empty(), || {
            "fault.targets names nobody".to_owned()
        })?;
        self.fault.targets.iter().try_for_each(|target| match *target {
            Target::Role(Role::Hinted) => {
                let settings = &["cluster.quorum", "cluster.nodes", "fault.targets"];
                self.check_holders(settings, format_args!("target {target}"))
            }
            Target::Role(_) => Ok(()),
            Target::Home(index) => {
                refuse_if(&["fault.targets"], index > self.cluster.settings.n, || {
                    format!("target home:{index}: a key has {} homes", self.cluster.settings.n)
                })
            }
            Target::Node(node) => self.check_node(&["fault.targets"], node),
        })
    }

    pub(crate) fn check_node(
        &self,
        settings: &'static [&'static str],
        node: NodeId,
    ) -> Result<(), Wrong> {
        let nodes = self.cluster.nodes;
        refuse_if(settings, !(1..=nodes).contains(&node.0), || {
            format!("{node} is no node of this cluster: it has n1 to n{nodes}")
        })
    }

    fn check_once(&self) -> Result<(), Wrong> {
        let mut seen = BTreeSet::new();
        let twice = self.faults.iter().find(|fault| !seen.insert(**fault));
        twice.map_or(Ok(()), |fault| {
            refuse_if(&["faults"], true, || format!("fault {fault} is listed twice"))
        })
    }
}

pub(crate) fn refuse_if(
    settings: &'static [&'static str],
    wrong: bool,
    why: impl FnOnce() -> String,
) -> Result<(), Wrong> {
    if wrong { Err(Wrong { settings, why: why() }) } else { Ok(()) }
}

/// Refuses a number or a length of time out of its range.
pub(crate) fn within<T: PartialOrd + Display>(
    settings: &'static [&'static str; 1],
    value: T,
    least: T,
    most: T,
) -> Result<(), Wrong> {
    let is_within = least <= value && value <= most;
    refuse_if(settings, !is_within, || format!("{} {value}: from {least} to {most}", settings[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: &str) {
        let plan = Plan::parse(&format!("name = \"t\"\n{toml}"), "plan.toml").unwrap();
        assert_eq!(plan.check().unwrap_err().0, expected);
    }

    #[test]
    fn the_default_plan_can_be_run() {
        assert_eq!(Plan::default().check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_mend() {
        check("[cluster]\nw = 4", "cluster.w = 4: from 1 to 3, which is n");
        check("[cluster]\nnodes = 2", "cluster.n = 3: from 1 to 2, the number of nodes");
        check("[cluster]\nnodes = 99", "cluster.nodes 99: from 1 to 25");
        check("[cluster]\nping = \"0s\"", "cluster.ping = 0ns: from 1ms to 600s");
        check("[workload]\nconcurrency = 0", "workload.concurrency 0: from 1 to 1000");
        check("faults = [\"kill\", \"kill\"]", "fault kill is listed twice");
        check(
            "faults = [\"wipe\"]\n[cluster]\nw = 1",
            "fault wipe claims at most W-1 disks: with W = 1 that is none; use -w 2",
        );
        check(
            "faults = [\"rollback\"]\n[workload]\nname = \"versions\"",
            "fault rollback brings back what was deleted and collected since, which workload versions would \
             take for a broken promise: use workload cart",
        );
        check(
            "faults = [\"rollback\", \"kill\", \"bitflip\"]",
            "faults rollback, bitflip lose a disk each, and W = 2 stands for at most W-1 lost: use a \
             larger -w, or fewer of them",
        );
        check(
            "faults = [\"wipe\"]\n[cluster]\nquorum = \"strict\"\nanti_entropy = false",
            "fault wipe with quorum strict needs refilling: use sloppy, or anti-entropy",
        );
        check(
            "faults = [\"wipe\"]\n[cluster]\nquorum = \"strict\"\nr = 3",
            "fault wipe with quorum strict, R = 3 and W = 2 of N = 3: W-1 disks may be lost, and a get needs \
             R homes that kept theirs: R + W is n + 1 at most, use a smaller -r or -w",
        );
        check(
            "faults = [\"bitflip\"]\n[cluster]\nengine = \"memory\"",
            "fault bitflip with engine memory finds no files: use engine fjall",
        );
        check(
            "faults = [\"truncate\"]\n[cluster]\nengine = \"redb\"",
            "fault truncate with engine redb: it knows fjall's files alone: use engine fjall",
        );
        check(
            "faults = [\"powercut\"]\n[cluster]\ndurability = \"one\"",
            "fault powercut with durability one: it takes what was acknowledged, by its own word; `dyno \
             bench loss` measures how much",
        );
        check(
            "[cluster]\nkind = \"sim\"\ntls = true",
            "cluster.tls: certificates are made for nodes on this machine: use it with cluster local",
        );
        check(
            "[cluster]\nown_disks = true",
            "cluster.own_disks: an agent on the node's host mounts them: use it with cluster lab or ssh",
        );
        check(
            "[cluster]\nkind = \"sim\"\ndurability = \"buffered\"",
            "cluster.durability buffered: simulated disks are synced; use it with real nodes",
        );
        check(
            "faults = [\"join\"]\n[cluster]\nquorum = \"strict\"\nr = 1\nw = 3",
            "fault join with quorum strict, R = 1 and W = 3: a newcomer takes all 3 homes there were to be \
             filled; use sloppy, or -r and -w of 2 or more",
        );
        check(
            "faults = [\"leave\"]\n[cluster]\nnodes = 4",
            "fault leave keeps 4 members: use more --nodes, or fault join",
        );
        check(
            "faults = [\"losehints\"]\n[cluster]\nnodes = 3",
            "fault losehints: nobody holds hints; use quorum sloppy and more nodes than -n",
        );
        check(
            "faults = [\"wipe\", \"replace\"]\n[cluster]\nanti_entropy = false",
            "faults wipe, replace lose a disk each, and W = 2 stands for at most W-1 lost: use a larger -w, \
             or fewer of them",
        );
        check(
            "[cluster]\nquorum = \"strict\"\n[fault]\ntargets = [\"hinted\"]",
            "target hinted: nobody holds hints; use quorum sloppy and more nodes than -n",
        );
        check("[fault]\ntargets = [\"n9\"]", "n9 is no node of this cluster: it has n1 to n5");
        check("[fault]\nshapes = [\"cuts\"]", "shape cuts needs the links: cuts = [\"n1->n2\"]");
    }

    #[test]
    fn every_number_has_its_bounds() {
        for (toml, setting) in [
            ("[workload]\ncarts = 4000000000", "workload.carts"),
            ("[workload]\nputs_per_cart = 1000000000000", "workload.puts_per_cart"),
            ("[workload]\nrate = 1e-300", "workload.rate"),
            ("[workload]\nrate = nan", "workload.rate"),
            ("[workload]\nthink = \"10h\"", "workload.think"),
            ("[workload]\ntimeout = \"300d\"", "workload.timeout"),
            ("[cluster]\ntokens = 65535", "cluster.tokens"),
            ("[cluster]\ntokens = 0", "cluster.tokens"),
            ("[cluster]\nzones = 0", "cluster.zones"),
            ("[cluster]\npartitioning = \"equal:48\"", "cluster.partitioning"),
            ("[cluster]\ndeadline = \"11m\"", "cluster.deadline"),
            ("[cluster]\nlease = \"1ms\"", "cluster.lease"),
            ("time = \"300d\"", "time"),
            ("time = 0", "time"),
            ("[fault]\ndelay = \"10h\"", "fault.delay"),
            ("[fault]\njitter = 90", "fault.jitter"),
            ("[fault]\nhold = \"0s\"", "fault.hold"),
            ("[fault]\ngap = \"300d\"", "fault.gap"),
            ("[fault]\nrate = 0", "fault.rate"),
        ] {
            let plan = Plan::parse(&format!("name = \"t\"\n{toml}"), "plan.toml").unwrap();
            let told = plan.check().unwrap_err().0;
            assert!(told.starts_with(&format!("{setting} ")) && told.contains(": from "), "{told}");
        }
        let many = "time = \"1d\"\n[fault]\nhold = \"1ms\"\ngap = \"0s\"";
        let plan = Plan::parse(&format!("name = \"t\"\n{many}"), "plan.toml").unwrap();
        assert!(plan.check().unwrap_err().0.contains("turns of faults"));
    }

    #[test]
    fn a_name_cannot_leave_the_results() {
        for name in ["", "..", "a/b", ".hidden", "a b", "latest"] {
            let plan = Plan { name: name.to_owned(), ..Plan::default() };
            assert!(plan.check().unwrap_err().0.contains("names a folder"), "{name}");
        }
    }
}
