//! A disk takes no more writes until it is mended. The simulator's alone, so far.

use std::sync::Arc;

use dynamo_sim::disk::DiskFault;

use crate::simulated::twin::{Drawn, Each};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("diskfull", |luck| {
    Some(Arc::new(Each::disk(vec![luck.one], DiskFault::WritesFail(DiskFault::FOR_GOOD))))
});
