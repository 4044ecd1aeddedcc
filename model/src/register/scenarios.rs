//! Named scenarios of the register.

use dynamo_protocol::Epoch;

use crate::register::bounds::{Ask, Bounds, JOIN, LEAVE, WEIGH, WEIGH_OTHER};

/// A configuration with a name. What it promises must hold and what it expects must be seen.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// The configuration.
    pub bounds: Bounds,
}

/// All of them, in the order in which they are checked.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let one = || Bounds::new(&[Ask::of(1, WEIGH)]);
    let two = || Bounds::new(&[Ask::of(1, LEAVE), Ask::of(2, JOIN)]);
    let mut all = Vec::new();
    let mut add = |name, about, bounds| all.push(Scenario { name, about, bounds });
    add("register", "two edits at two members, two rounds each: one is decided", two());
    add(
        "register-crash",
        "a member forgets what is not on its disk",
        Bounds { crashes: 1, ..two() },
    );
    add(
        "register-twice",
        "who loses goes on to the next number",
        Bounds { last: Epoch(3), ..two() },
    );
    let expects = Bounds::new(&[Ask::of(1, LEAVE), Ask::of(2, JOIN).at(1)]);
    add(
        "register-expect",
        "an edit that is meant for one epoch does not go on",
        Bounds { last: Epoch(3), ..expects },
    );
    add(
        "register-wipe",
        "a disk is lost: it votes no more until an epoch names its new directory",
        Bounds { wipes: 1, last: Epoch(3), ..one() },
    );
    add(
        "register-race",
        "the same between two other edits",
        Bounds { wipes: 1, rounds: 1, ..two() },
    );
    add(
        "register-forced",
        "of two members one lost its disk: the other goes on without a vote, with what it had voted for",
        Bounds { wipes: 1, forces: 2, ..forced() },
    );
    add(
        "register-forced-crash",
        "and one of them crashes",
        Bounds { wipes: 1, forces: 2, crashes: 1, ..forced() },
    );
    all
}

/// Two members, of which each is asked for something.
pub(crate) fn forced() -> Bounds {
    let asks = [Ask::of(1, WEIGH), Ask::of(2, WEIGH_OTHER)];
    Bounds { members: 2, last: Epoch(3), ..Bounds::new(&asks) }
}
