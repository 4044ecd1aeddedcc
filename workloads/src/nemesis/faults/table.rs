//! The kinds of fault that plans can name: a line each, in the order in which results list them.

/// Hands the table to a macro. A line has what the kind does, the file beside this one that holds it, whose
/// name is the kind's own, and its type there.
macro_rules! catalogue {
    ($to:ident) => {
        $to! {
            /// The process ends at once and is later restarted on its disk.
            kill: Kill,
            /// The process stands still.
            pause: Pause,
            /// Links between nodes are cut.
            partition: Partition,
            /// Links are slow and jittery.
            delay: Delay,
            /// Connections are narrow: few bytes a second.
            rate: Rate,
            /// Connections break, new ones too.
            reset: Reset,
            /// The disk is emptied; the node returns with a new identity.
            wipe: Wipe,
            /// The disk holds what it held earlier: its journal lost its end.
            rollback: Rollback,
            /// Bits of the disk are others.
            bitflip: Bitflip,
            /// A node joins.
            join: Join,
            /// A member hands on what it holds, and leaves.
            leave: Leave,
            /// A member is lost with its disk, and an empty directory takes its place.
            replace: Replace,
            /// A disk loses the hints on it.
            losehints: Losehints,
            /// The power of hosts is cut: what was not synced is gone.
            powercut: Powercut,
            /// A disk is full, and its node ends.
            diskfull: Diskfull,
            /// A disk answers with an error.
            eio: Eio,
            /// Syncs of a disk take long.
            slowdisk: Slowdisk,
            /// A file of a disk has lost its end.
            truncate: Truncate,
            /// A host's wall clock is wrong.
            clock: Clock,
            /// Messages are lost.
            loss: Loss,
            /// Messages arrive twice.
            duplicate: Duplicate,
            /// Messages are overtaken by others.
            reorder: Reorder,
            /// Bytes are changed on the way.
            corrupt: Corrupt,
        }
    };
}

pub(crate) use catalogue;
