//! Messages that can never matter again, of all that was ever sent.
//!
//! A ballot that a directory left it never comes back to, promises only rise, and epochs only grow; so what
//! changes nothing now and for one of these reasons changes nothing later. None of them holds where the core
//! forgets what it should not: seeded bugs are searched without this.

use dynamo_protocol::Epoch;
use dynamo_protocol::membership::{Ballot, Call};

use crate::register::host::Host;

/// Whether `call`, from host `from` to host `to`, can do nothing any more. `may_wipe` says whether a
/// directory may be lost yet, and with it what its node knew.
pub(crate) fn is_inert(from: &Host, to: &Host, call: &Call, may_wipe: bool) -> bool {
    let known = |host: &Host| host.registrar.history().latest().epoch();
    let answers = |ballot: &Ballot| is_proposing(to, ballot);
    match call {
        Call::Prepare { epoch, ballot } => {
            is_past(from, to, *epoch, ballot, may_wipe, |promised| {
                // Its own promise is repeated for as long as the asker counts.
                promised >= Some(*ballot)
            })
        }
        Call::Accept { epoch, vote } => {
            let voted = to.registrar.ballots().voted;
            is_past(from, to, *epoch, &vote.ballot, may_wipe, |promised| {
                promised > Some(vote.ballot) || voted == Some(*vote)
            })
        }
        Call::Promise { epoch, ballot, .. }
        | Call::Accepted { epoch, ballot, .. }
        | Call::Refused { epoch, ballot, .. } => *epoch <= known(to) || !answers(ballot),
        Call::Membership { epochs } => {
            let last = epochs.last().map_or(Epoch(0), |last| last.epoch());
            !may_wipe && last <= known(to)
        }
        Call::Behind { epoch } => !may_wipe && *epoch < known(from),
    }
}

/// Whether a question of `from` is of no use any more: its number is decided for both, or it changes
/// nothing (`is_done`) and nobody waits for the answer.
fn is_past(
    from: &Host,
    to: &Host,
    epoch: Epoch,
    ballot: &Ballot,
    may_wipe: bool,
    is_done: impl FnOnce(Option<Ballot>) -> bool,
) -> bool {
    let known = |host: &Host| host.registrar.history().latest().epoch();
    if epoch <= known(to) {
        return !may_wipe && epoch <= known(from);
    }
    let is_open = epoch == to.registrar.history().next();
    is_open
        && !is_proposing(from, ballot)
        && (!to.registrar.is_voter() || is_done(to.registrar.ballots().promised))
}

fn is_proposing(host: &Host, ballot: &Ballot) -> bool {
    host.registrar.proposes().is_some_and(|(_, present)| present == *ballot)
}
