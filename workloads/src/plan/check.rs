//! What a plan must keep to before anything is started, each with its mend.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use dynamo_protocol::{Config, Member, NodeId, Quorum};

use super::{ClusterKind, Engine, FaultName, Plan, PlanError, Shape, Span, Target};
use crate::remote::Inventory;

/// An agent waits no longer for its driver.
const LONGEST_LEASE: Duration = Duration::from_secs(600);
/// Wider than this, and a narrow link cannot be told from any other.
const RATES: RangeInclusive<u64> = 1 << 10..=256 << 10;
/// More real processes than this on one machine measure the machine.
const MOST_NODES: u16 = 25;

impl Plan {
    /// Refuses a plan that cannot be run, or whose faults leave what it claims.
    ///
    /// # Errors
    /// The first thing that is wrong, and the mend.
    pub fn check(&self) -> Result<(), PlanError> {
        self.check_name()?;
        self.check_cluster()?;
        self.check_workload()?;
        self.faults.iter().try_for_each(|fault| self.check_fault(*fault))?;
        self.check_once()
    }

    /// The settings of the nodes, as node `me` has them: the driver asks them for preference lists.
    ///
    /// # Errors
    /// If no cluster can run with them.
    pub fn config(&self, me: NodeId) -> Result<Config, PlanError> {
        let cluster = &self.cluster;
        let members = self.nodes().into_iter().map(|id| Member { id, tokens: cluster.tokens });
        let quorum = [cluster.n, cluster.r, cluster.w];
        let mut config = Config::new(me, members.collect(), quorum)
            .map_err(|error| PlanError(format!("the cluster cannot be: {error}")))?;
        config.quorum = cluster.quorum;
        config.versioning = cluster.versioning;
        config.read = cluster.read;
        Ok(config)
    }

    fn check_name(&self) -> Result<(), PlanError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        refuse_if(
            self.name.is_empty()
                || self.name.starts_with('.')
                || self.name == "latest"
                || !self.name.chars().all(plain),
            || {
                let name = &self.name;
                format!(
                    "name `{name}` names a folder: use letters, digits, `-`, `_`, `.`, not `latest`"
                )
            },
        )?;
        refuse_if(self.seed.is_some_and(|seed| i64::try_from(seed).is_err()), || {
            format!("seed {}: the largest a plan can hold is {}", self.seed.unwrap_or(0), i64::MAX)
        })
    }

    fn check_cluster(&self) -> Result<(), PlanError> {
        let nodes = self.cluster.nodes;
        refuse_if(!(1..=MOST_NODES).contains(&nodes), || {
            format!("{nodes} nodes: a local cluster has 1 to {MOST_NODES}")
        })?;
        self.check_hosts()?;
        for (name, span) in [
            ("patience", self.cluster.patience),
            ("deadline", self.cluster.deadline),
            ("ping", self.cluster.ping),
            ("handoff", self.cluster.handoff),
        ] {
            refuse_if(span.0.as_millis() == 0, || format!("cluster.{name} {span}: at least 1ms"))?;
        }
        let binary = self.cluster.binary.as_deref();
        let missing = binary.filter(|binary| !binary.is_file());
        refuse_if(missing.is_some(), || {
            let path = missing.unwrap_or(Path::new("")).display();
            format!("binary {path} is no file: name a build of dyno")
        })?;
        self.config(NodeId(1)).map(drop)
    }

    fn check_hosts(&self) -> Result<(), PlanError> {
        let cluster = &self.cluster;
        let lease = cluster.lease.0;
        let shortest = Duration::from_secs(1);
        refuse_if(!(shortest..=LONGEST_LEASE).contains(&lease), || {
            format!("lease {}: from 1s to {}", cluster.lease, Span(LONGEST_LEASE))
        })?;
        let far = matches!(cluster.kind, ClusterKind::Ssh | ClusterKind::Lab);
        refuse_if(cluster.record && far, || {
            "record: hosts keep no records; use it with --cluster local or sim".to_owned()
        })?;
        match (cluster.kind, &cluster.hosts) {
            (ClusterKind::Ssh, None) => {
                refuse_if(true, || "cluster ssh needs --hosts: a file, or n1,n2,...".to_owned())
            }
            (ClusterKind::Ssh, Some(hosts)) => Inventory::read(hosts)
                .and_then(|inventory| inventory.take(cluster.nodes.into()))
                .map(drop)
                .map_err(|error| PlanError(error.to_string())),
            // Filled in by the lab itself, once it is up.
            (ClusterKind::Lab, _) => Ok(()),
            (kind, hosts) => refuse_if(hosts.is_some(), || {
                format!("cluster {kind} has its own hosts: --hosts goes with --cluster ssh")
            }),
        }
    }

    fn check_workload(&self) -> Result<(), PlanError> {
        let workload = &self.workload;
        for (name, value) in [
            ("concurrency", workload.concurrency),
            ("carts", workload.carts),
            ("puts_per_cart", workload.puts_per_cart),
        ] {
            refuse_if(value == 0, || format!("{name} = 0: at least 1 is needed"))?;
        }
        refuse_if(workload.concurrency > 1000, || {
            format!("concurrency {}: at most 1000", workload.concurrency)
        })?;
        refuse_if(workload.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e6)), || {
            format!("rate {}: operations a second, above 0", workload.rate.unwrap_or_default())
        })?;
        refuse_if(self.time.0.is_zero(), || "time 0: clients need some".to_owned())?;
        refuse_if(self.fault.hold.0.is_zero(), || "fault.hold 0: a fault needs some".to_owned())?;
        refuse_if(workload.timeout.0 <= self.cluster.deadline.0, || {
            format!(
                "workload.timeout {} must exceed cluster.deadline {}, or clients give up before nodes",
                workload.timeout, self.cluster.deadline
            )
        })
    }

    fn check_fault(&self, fault: FaultName) -> Result<(), PlanError> {
        let cluster = &self.cluster;
        match fault {
            FaultName::Kill => {
                refuse_if(cluster.engine == Engine::Memory, || {
                    "fault kill with engine memory loses what it holds: use engine fjall".to_owned()
                })?;
                self.check_targets()
            }
            FaultName::Pause => self.check_targets(),
            FaultName::Partition => self.check_shapes(),
            FaultName::Delay | FaultName::Rate | FaultName::Reset => {
                let rate = fault == FaultName::Rate;
                refuse_if(rate && cluster.kind == ClusterKind::Sim, || {
                    "fault rate: the simulator's links have no width; use cluster local".to_owned()
                })?;
                refuse_if(rate && !RATES.contains(&self.fault.rate), || {
                    let (least, most) = (RATES.start(), RATES.end());
                    format!("fault.rate {}: from {least} to {most} bytes a second", self.fault.rate)
                })?;
                refuse_if(cluster.nodes < 2, || format!("fault {fault} needs 2 nodes"))?;
                self.check_targets()
            }
            FaultName::Wipe => {
                refuse_if(cluster.quorum == Quorum::Strict, || {
                    "fault wipe with quorum strict needs refilling, which is not built: use sloppy"
                        .to_owned()
                })?;
                refuse_if(cluster.w < 2, || {
                    "fault wipe claims at most W-1 disks: with W = 1 that is none; use -w 2"
                        .to_owned()
                })
            }
        }
    }

    fn check_targets(&self) -> Result<(), PlanError> {
        refuse_if(self.fault.targets.is_empty(), || "fault.targets names nobody".to_owned())?;
        self.fault.targets.iter().try_for_each(|target| match *target {
            Target::Role(_) => Ok(()),
            Target::Home(index) => refuse_if(index > self.cluster.n, || {
                format!("target home:{index}: a key has {} homes", self.cluster.n)
            }),
            Target::Node(node) => self.check_node(node),
        })
    }

    fn check_shapes(&self) -> Result<(), PlanError> {
        let (nodes, fault) = (self.cluster.nodes, &self.fault);
        refuse_if(nodes < 2, || "fault partition needs 2 nodes".to_owned())?;
        refuse_if(fault.shapes.is_empty(), || "fault.shapes names no shape".to_owned())?;
        refuse_if(fault.shapes.contains(&Shape::Cuts) && fault.cuts.is_empty(), || {
            "shape cuts needs the links: cuts = [\"n1->n2\"]".to_owned()
        })?;
        refuse_if(!fault.cuts.is_empty() && !fault.shapes.contains(&Shape::Cuts), || {
            "cuts are listed, but shapes has no \"cuts\"".to_owned()
        })?;
        fault.cuts.iter().try_for_each(|cut| {
            self.check_node(cut.from)?;
            self.check_node(cut.to)
        })
    }

    fn check_node(&self, node: NodeId) -> Result<(), PlanError> {
        let nodes = self.cluster.nodes;
        refuse_if(!(1..=nodes).contains(&node.0), || {
            format!("{node} is no node of this cluster: it has n1 to n{nodes}")
        })
    }

    fn check_once(&self) -> Result<(), PlanError> {
        let mut seen = BTreeSet::new();
        let twice = self.faults.iter().find(|fault| !seen.insert(**fault));
        twice.map_or(Ok(()), |fault| Err(PlanError(format!("fault {fault} is listed twice"))))
    }
}

fn refuse_if(wrong: bool, why: impl FnOnce() -> String) -> Result<(), PlanError> {
    if wrong { Err(PlanError(why())) } else { Ok(()) }
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
        check("[cluster]\nw = 4", "the cluster cannot be: W = 4 must be from 1 to 3 (N)");
        check(
            "[cluster]\nnodes = 2",
            "the cluster cannot be: N = 3 must be from 1 to 2 (the number of nodes)",
        );
        check("[cluster]\nnodes = 99", "99 nodes: a local cluster has 1 to 25");
        check("[cluster]\nping = \"0s\"", "cluster.ping 0s: at least 1ms");
        check("[workload]\nconcurrency = 0", "concurrency = 0: at least 1 is needed");
        check("faults = [\"kill\", \"kill\"]", "fault kill is listed twice");
        check(
            "faults = [\"wipe\"]\n[cluster]\nw = 1",
            "fault wipe claims at most W-1 disks: with W = 1 that is none; use -w 2",
        );
        check("[fault]\ntargets = [\"n9\"]", "n9 is no node of this cluster: it has n1 to n5");
        check("[fault]\nshapes = [\"cuts\"]", "shape cuts needs the links: cuts = [\"n1->n2\"]");
    }

    #[test]
    fn a_name_cannot_leave_the_results() {
        for name in ["", "..", "a/b", ".hidden", "a b", "latest"] {
            let plan = Plan { name: name.to_owned(), ..Plan::default() };
            assert!(plan.check().unwrap_err().0.contains("names a folder"), "{name}");
        }
    }
}
