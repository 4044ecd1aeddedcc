//! What test drivers falsify.

use std::time::Duration;

use dynamo_protocol::{NodeId, Skew};

use crate::hooks::{Hooked, Hooks};
use crate::proto;

pub(crate) fn skew_to_proto(skew: Skew) -> proto::Clock {
    let Skew { offset_us, rate_ppm, strobe_us } = skew;
    proto::Clock { offset_us, rate_ppm, strobe_us }
}

pub(crate) fn skew_from_proto(clock: proto::Clock) -> Skew {
    let proto::Clock { offset_us, rate_ppm, strobe_us } = clock;
    let rate_ppm = if rate_ppm == 0 { Skew::NONE.rate_ppm } else { rate_ppm };
    Skew { offset_us, rate_ppm, strobe_us }
}

pub(crate) fn hooks_to_proto(hooks: Hooks) -> proto::FaultHooks {
    proto::FaultHooks {
        fail_reads: hooks.fail_reads,
        fail_writes: hooks.fail_writes,
        fail_syncs: hooks.fail_syncs,
        room: hooks.room,
        slow_us: u64::try_from(hooks.slow.as_micros()).unwrap_or(u64::MAX),
        hold: hooks.hold,
        unsynced: hooks.unsynced,
        peers: hooks.peers.iter().map(|peer| peer.0.into()).collect(),
        lose: hooks.lose,
        duplicate: hooks.duplicate,
        reorder: hooks.reorder,
    }
}

pub(crate) fn hooks_from_proto(hooks: proto::FaultHooks) -> Hooks {
    Hooks {
        fail_reads: hooks.fail_reads,
        fail_writes: hooks.fail_writes,
        fail_syncs: hooks.fail_syncs,
        room: hooks.room,
        slow: Duration::from_micros(hooks.slow_us),
        hold: hooks.hold,
        unsynced: hooks.unsynced,
        peers: hooks
            .peers
            .iter()
            .filter_map(|peer| u16::try_from(*peer).ok().map(NodeId))
            .collect(),
        lose: hooks.lose,
        duplicate: hooks.duplicate,
        reorder: hooks.reorder,
    }
}

pub(crate) fn hooked_to_proto(hooked: &Hooked) -> proto::HooksReport {
    proto::HooksReport {
        reads_failed: hooked.reads_failed,
        writes_failed: hooked.writes_failed,
        syncs_failed: hooked.syncs_failed,
        no_room: hooked.no_room,
        slowed: hooked.slowed,
        slowed_us: hooked.slowed_us,
        held: hooked.held,
        lost: hooked.lost,
        duplicated: hooked.duplicated,
        reordered: hooked.reordered,
    }
}

pub(crate) fn hooked_from_proto(report: &proto::HooksReport) -> Hooked {
    Hooked {
        reads_failed: report.reads_failed,
        writes_failed: report.writes_failed,
        syncs_failed: report.syncs_failed,
        no_room: report.no_room,
        slowed: report.slowed,
        slowed_us: report.slowed_us,
        held: report.held,
        lost: report.lost,
        duplicated: report.duplicated,
        reordered: report.reordered,
    }
}
