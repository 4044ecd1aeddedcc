//! What a run was of, by what and where, so that its verdict tells by itself what it is about.

use std::time::SystemTime;

use serde::Serialize;

use crate::plan::{ClusterPlan, FaultName, Plan, Span};

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setup {
    /// The version of dyno.
    pub dyno: String,
    /// The commit that it was built of, if that was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its sources were not those of the commit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// The name of the machine it ran on.
    pub host: String,
    /// The machine's system: name, release and kind of processor.
    pub os: String,
    /// How many processors the run might use; 0 if that is not known.
    pub cpus: usize,
    /// When the run began, in UTC, as RFC 3339 has it.
    pub began: String,
    /// Time 0 of the history by the machine's clock, in microseconds since 1970; none under virtual time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_us: Option<u64>,
    /// How long clients were to work.
    pub time: Span,
    /// The faults that were to happen.
    pub faults: Vec<FaultName>,
    /// The cluster, with every setting of its nodes: N, R, W, quorum, versioning and the others.
    pub cluster: ClusterPlan,
}

impl Setup {
    /// Of a plan that is run here and now.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let name = rustix::system::uname();
        let [system, release, machine] = [name.sysname(), name.release(), name.machine()];
        let [system, release, machine] =
            [system, release, machine].map(|part| part.to_string_lossy().into_owned());
        Self {
            dyno: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.map(str::to_owned),
            changed: CHANGED,
            host: name.nodename().to_string_lossy().into_owned(),
            os: format!("{system} {release} {machine}"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            zero_us: None,
            time: plan.time,
            faults: plan.faults.clone(),
            cluster: plan.cluster.clone(),
        }
    }
}

/// The version of this program, with the commit that it was built of, if `build.rs` found one.
pub const VERSION: &str = env!("DYNO_VERSION");

/// The commit.
const COMMIT: Option<&str> = option_env!("DYNO_BUILT");

/// Were its sources others than those of the commit?
const CHANGED: bool = option_env!("DYNO_CHANGED").is_some();
