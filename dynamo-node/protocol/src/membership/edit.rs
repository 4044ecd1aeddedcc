//! What can be changed about a membership: one thing an epoch.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::NodeId;
use crate::membership::history::{Directory, Membership, Seat, Standing};
use crate::mutant::{Mutant, mutated};
use crate::ring::{Member, Zone};
use crate::view::Epoch;

/// One change. What it does follows from the epoch that it is applied to and from nothing else.
///
/// Those that end or replace a directory name it: who proposed them meant that one, and not another that
/// took its place meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Edit {
    /// A node that is no member becomes one.
    Join {
        /// Its name.
        node: NodeId,
        /// Its directory, as it calls itself: no founder's.
        directory: Directory,
        /// Its share.
        tokens: u16,
        /// Where it stands, if it says so.
        #[serde(default)]
        zone: Option<Zone>,
    },
    /// A member gives up its share of the ring, and hands on what it holds.
    Leave {
        /// Which.
        node: NodeId,
    },
    /// A member is no member any more, and its directory never again.
    Gone {
        /// Which.
        node: NodeId,
        /// The directory that is drained or given up.
        directory: Directory,
        /// Given up: whatever it still holds is lost, as with its disk.
        forced: bool,
    },
    /// A member goes on with an empty directory; the one before is gone.
    Replace {
        /// Which.
        node: NodeId,
        /// The one that is lost.
        from: Directory,
        /// The one in its place, as it calls itself: no founder's.
        to: Directory,
    },
    /// A member that leaves stays, with the share it had.
    Cancel {
        /// Which.
        node: NodeId,
    },
    /// A member's share changes.
    Weigh {
        /// Whose.
        node: NodeId,
        /// Its virtual nodes from then on.
        tokens: u16,
    },
}

/// An edit that an epoch refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// Of a node that the epoch does not know.
    #[error("epoch {epoch}: {node} is no member: `join` it")]
    NotAMember {
        /// At which epoch.
        epoch: Epoch,
        /// Who.
        node: NodeId,
    },
    /// A join of a member.
    #[error(
        "epoch {epoch}: {node} is a member: `replace` its directory, or join under another name"
    )]
    Member {
        /// At which epoch.
        epoch: Epoch,
        /// Who.
        node: NodeId,
    },
    /// A directory that was removed comes back.
    #[error(
        "{0} was removed for good: empty it, so that it draws another identity, and join again"
    )]
    Gone(Directory),
    /// A directory of the genesis, of a node that joins later.
    #[error(
        "{0} is of a genesis, and this cluster had its own: empty it, and start it without --genesis"
    )]
    Founder(Directory),
    /// A directory that is another member's.
    #[error("{directory} is that of {node}: a clone? Empty it, so that it draws its own identity")]
    Taken {
        /// Which.
        directory: Directory,
        /// Whose.
        node: NodeId,
    },
    /// An edit that means another directory than the member has.
    #[error("epoch {epoch}: {node} has {has} by now, not {meant}: look at the ring again")]
    Another {
        /// At which epoch.
        epoch: Epoch,
        /// Whose.
        node: NodeId,
        /// The one the edit names.
        meant: Directory,
        /// The one the epoch names.
        has: Directory,
    },
    /// Of a member that leaves already.
    #[error("epoch {epoch}: {node} is leaving: `cancel` that first, or wait until it is gone")]
    Leaving {
        /// At which epoch.
        epoch: Epoch,
        /// Who.
        node: NodeId,
    },
    /// Of a member that does not leave.
    #[error(
        "epoch {epoch}: {node} is not leaving: `leave` lets it drain; `force` counts as a lost disk"
    )]
    In {
        /// At which epoch.
        epoch: Epoch,
        /// Who.
        node: NodeId,
    },
    /// Fewer members than a key has homes.
    #[error(
        "epoch {epoch}: {members} members would be in, and n = {homes}: join another one first"
    )]
    TooFew {
        /// At which epoch.
        epoch: Epoch,
        /// How many would be left.
        members: usize,
        /// N.
        homes: usize,
    },
    /// A share out of bounds.
    #[error("{node} cannot have {tokens} tokens: from 1 to {}", Member::MOST_TOKENS)]
    Tokens {
        /// Whose.
        node: NodeId,
        /// How many.
        tokens: u16,
    },
    /// A share that is as it was.
    #[error("epoch {epoch}: {node} has {tokens} tokens already")]
    Unchanged {
        /// At which epoch.
        epoch: Epoch,
        /// Whose.
        node: NodeId,
        /// How many.
        tokens: u16,
    },
}

impl Edit {
    /// Whom it is about.
    #[must_use]
    pub fn node(&self) -> NodeId {
        match self {
            Self::Join { node, .. }
            | Self::Leave { node }
            | Self::Gone { node, .. }
            | Self::Replace { node, .. }
            | Self::Cancel { node }
            | Self::Weigh { node, .. } => *node,
        }
    }

    /// Whether it may be proposed for a later epoch when another edit was decided first. That a member is
    /// drained was seen under one epoch, and says nothing of the next.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !matches!(self, Self::Gone { forced: false, .. })
    }

    /// The edit that leads from `before` to `after`, if one does.
    #[must_use]
    pub fn between(before: &Membership, after: &Membership, homes: usize) -> Option<Self> {
        let edit = Self::guess(before, after)?;
        before.edited(&edit, homes).is_ok_and(|made| made == *after).then_some(edit)
    }

    /// What the first difference between the two looks like.
    fn guess(before: &Membership, after: &Membership) -> Option<Self> {
        for seat in before.seats() {
            let Seat { node, directory, tokens, standing, .. } = *seat;
            let Some(new) = after.seat(node) else {
                return Some(Self::Gone { node, directory, forced: standing == Standing::In });
            };
            if new.directory != directory {
                return Some(Self::Replace { node, from: directory, to: new.directory });
            }
            match (standing, new.standing) {
                (Standing::In, Standing::Leaving) => return Some(Self::Leave { node }),
                (Standing::Leaving, Standing::In) => return Some(Self::Cancel { node }),
                (Standing::In, Standing::In) | (Standing::Leaving, Standing::Leaving) => {}
            }
            if new.tokens != tokens {
                return Some(Self::Weigh { node, tokens: new.tokens });
            }
        }
        let joined = after.seats().iter().find(|seat| before.seat(seat.node).is_none());
        joined.map(|seat| {
            let Seat { node, directory, tokens, zone, .. } = *seat;
            Self::Join { node, directory, tokens, zone }
        })
    }
}

impl Membership {
    /// The next epoch, if `edit` makes it. `homes` is N.
    ///
    /// # Errors
    /// If this epoch refuses the edit: why, and what to do.
    pub fn edited(&self, edit: &Edit, homes: usize) -> Result<Self, EditError> {
        let mut seats = self.seats().to_vec();
        let mut gone = self.gone().to_vec();
        match *edit {
            Edit::Join { node, directory, tokens, zone } => {
                if self.seat(node).is_some() {
                    return Err(EditError::Member { epoch: self.epoch(), node });
                }
                self.may_come(directory)?;
                in_bounds(node, tokens)?;
                let at = seats.partition_point(|seat| seat.node < node);
                let standing = Standing::In;
                seats.insert(at, Seat { node, directory, tokens, standing, zone });
            }
            Edit::Leave { node } => {
                seats[self.place_in(node)?].standing = Standing::Leaving;
            }
            Edit::Gone { node, directory, forced } => {
                let at = self.place(node)?;
                self.is_meant(&seats[at], directory)?;
                if seats[at].standing == Standing::In && !forced {
                    return Err(EditError::In { epoch: self.epoch(), node });
                }
                gone.push(seats.remove(at).directory);
            }
            Edit::Replace { node, from, to } => {
                let at = self.place_in(node)?;
                self.is_meant(&seats[at], from)?;
                self.may_come(to)?;
                gone.push(from);
                seats[at].directory = to;
            }
            Edit::Cancel { node } => {
                let at = self.place(node)?;
                if seats[at].standing == Standing::In {
                    return Err(EditError::In { epoch: self.epoch(), node });
                }
                seats[at].standing = Standing::In;
            }
            Edit::Weigh { node, tokens } => {
                let at = self.place_in(node)?;
                in_bounds(node, tokens)?;
                if seats[at].tokens == tokens {
                    return Err(EditError::Unchanged { epoch: self.epoch(), node, tokens });
                }
                seats[at].tokens = tokens;
            }
        }
        let next = Self::new(Epoch(self.epoch().0 + 1), seats, gone);
        let members = next.ring_members().count();
        if members < homes {
            return Err(EditError::TooFew { epoch: self.epoch(), members, homes });
        }
        Ok(next)
    }

    fn place(&self, node: NodeId) -> Result<usize, EditError> {
        let at = self.seats().iter().position(|seat| seat.node == node);
        at.ok_or(EditError::NotAMember { epoch: self.epoch(), node })
    }

    /// The same of a member that does not leave.
    fn place_in(&self, node: NodeId) -> Result<usize, EditError> {
        let at = self.place(node)?;
        match self.seats()[at].standing {
            Standing::In => Ok(at),
            Standing::Leaving => Err(EditError::Leaving { epoch: self.epoch(), node }),
        }
    }

    fn is_meant(&self, seat: &Seat, meant: Directory) -> Result<(), EditError> {
        if seat.directory == meant {
            return Ok(());
        }
        let (node, has) = (seat.node, seat.directory);
        Err(EditError::Another { epoch: self.epoch(), node, meant, has })
    }

    /// Whether a directory may become a member's.
    fn may_come(&self, directory: Directory) -> Result<(), EditError> {
        if let Some(seat) = self.seats().iter().find(|seat| seat.directory == directory) {
            return Err(EditError::Taken { directory, node: seat.node });
        }
        if mutated(Mutant::GoneJoins) {
            return Ok(());
        }
        if self.gone().contains(&directory) {
            return Err(EditError::Gone(directory));
        }
        match directory {
            Directory::Founder(_) => Err(EditError::Founder(directory)),
            Directory::Drawn(_) => Ok(()),
        }
    }
}

fn in_bounds(node: NodeId, tokens: u16) -> Result<(), EditError> {
    if (1..=Member::MOST_TOKENS).contains(&tokens) {
        return Ok(());
    }
    Err(EditError::Tokens { node, tokens })
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { node, directory, tokens, zone } => {
                write!(f, "join {node} with {directory} and {tokens} tokens")?;
                zone.map_or(Ok(()), |zone| write!(f, " in {zone}"))
            }
            Self::Leave { node } => write!(f, "leave {node}"),
            Self::Gone { node, directory, forced } => {
                let how = if *forced { ", forced" } else { "" };
                write!(f, "remove {node} with {directory}{how}")
            }
            Self::Replace { node, from, to } => write!(f, "replace {node}: {from} by {to}"),
            Self::Cancel { node } => write!(f, "cancel the leave of {node}"),
            Self::Weigh { node, tokens } => write!(f, "weigh {node} with {tokens} tokens"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Identity;

    const N1: NodeId = NodeId(1);
    const N3: NodeId = NodeId(3);
    const N4: NodeId = NodeId(4);

    fn drawn(identity: u64) -> Directory {
        Directory::Drawn(Identity(identity))
    }

    /// Three members, N=2.
    fn genesis() -> Membership {
        let members: Vec<_> = (1..=3).map(|id| Member::new(NodeId(id), 8)).collect();
        Membership::genesis(2, &members).unwrap()
    }

    fn after(edits: &[Edit]) -> Membership {
        edits.iter().fold(genesis(), |epoch, edit| epoch.edited(edit, 2).unwrap())
    }

    fn refused(before: &[Edit], edit: Edit, expected: &str) {
        let error = after(before).edited(&edit, 2).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    fn gone(node: NodeId, directory: Directory, forced: bool) -> Edit {
        Edit::Gone { node, directory, forced }
    }

    const LEAVE: Edit = Edit::Leave { node: N3 };
    const CANCEL: Edit = Edit::Cancel { node: N3 };
    const FOUNDER: Directory = Directory::Founder(N3);

    fn join(node: NodeId, directory: Directory) -> Edit {
        Edit::Join { node, directory, tokens: 8, zone: None }
    }

    fn replace(from: Directory, to: Directory) -> Edit {
        Edit::Replace { node: N3, from, to }
    }

    #[test]
    fn a_member_joins_leaves_and_is_gone() {
        let end = after(&[join(N4, drawn(9)), LEAVE, gone(N3, FOUNDER, false)]);
        assert_eq!(end.epoch(), Epoch(4));
        let nodes: Vec<_> = end.seats().iter().map(|seat| seat.node.0).collect();
        assert_eq!((nodes, end.gone()), (vec![1, 2, 4], &[FOUNDER][..]));
    }

    #[test]
    fn who_joins_says_where_it_stands() {
        let zone = Some(Zone(2));
        let edit = Edit::Join { node: N4, directory: drawn(9), tokens: 8, zone };
        let end = after(&[edit]);
        assert_eq!(end.seat(N4).unwrap().member().zone, zone);
        assert_eq!(Edit::between(&genesis(), &end, 2), Some(edit));
    }

    #[test]
    fn a_leave_that_is_cancelled_leaves_no_trace_but_its_epochs() {
        assert_eq!(after(&[LEAVE, CANCEL]).seats(), genesis().seats());
    }

    #[test]
    fn a_wiped_member_goes_on_with_another_directory() {
        let end = after(&[replace(FOUNDER, drawn(9))]);
        assert_eq!(end.seat(N3).unwrap().directory, drawn(9));
        assert_eq!(end.gone(), [FOUNDER]);
    }

    #[test]
    fn every_refusal_says_where_and_what_to_do() {
        refused(&[], Edit::Leave { node: N4 }, "epoch 1: n4 is no member: `join` it");
        refused(
            &[],
            join(N3, drawn(9)),
            "epoch 1: n3 is a member: `replace` its directory, or join under another name",
        );
        refused(
            &[],
            CANCEL,
            "epoch 1: n3 is not leaving: `leave` lets it drain; `force` counts as a lost disk",
        );
        refused(
            &[],
            gone(N3, FOUNDER, false),
            "epoch 1: n3 is not leaving: `leave` lets it drain; `force` counts as a lost disk",
        );
        refused(
            &[LEAVE],
            LEAVE,
            "epoch 2: n3 is leaving: `cancel` that first, or wait until it is gone",
        );
        refused(
            &[LEAVE],
            Edit::Leave { node: N1 },
            "epoch 2: 1 members would be in, and n = 2: join another one first",
        );
        refused(
            &[replace(FOUNDER, drawn(9))],
            gone(N3, FOUNDER, true),
            "epoch 2: n3 has directory 0000000000000009 by now, not the genesis directory of n3: look at \
             the ring again",
        );
        refused(
            &[],
            Edit::Weigh { node: N3, tokens: 0 },
            "n3 cannot have 0 tokens: from 1 to 1024",
        );
        refused(&[], Edit::Weigh { node: N3, tokens: 8 }, "epoch 1: n3 has 8 tokens already");
    }

    #[test]
    fn a_directory_that_was_removed_never_comes_back() {
        let why =
            "was removed for good: empty it, so that it draws another identity, and join again";
        let out = gone(N3, FOUNDER, true);
        refused(&[out], join(N3, FOUNDER), &format!("the genesis directory of n3 {why}"));
        let there_and_back = [join(N4, drawn(9)), gone(N4, drawn(9), true)];
        refused(&there_and_back, join(N4, drawn(9)), &format!("directory 0000000000000009 {why}"));
        refused(
            &there_and_back,
            replace(FOUNDER, drawn(9)),
            &format!("directory 0000000000000009 {why}"),
        );
    }

    #[test]
    fn a_directory_of_a_genesis_joins_no_cluster_that_is_there() {
        refused(
            &[],
            join(N4, Directory::Founder(N4)),
            "the genesis directory of n4 is of a genesis, and this cluster had its own: empty it, and start \
             it without --genesis",
        );
    }

    #[test]
    fn a_cloned_directory_is_no_member_beside_the_one_it_is_of() {
        refused(
            &[join(N4, drawn(9))],
            join(NodeId(5), drawn(9)),
            "directory 0000000000000009 is that of n4: a clone? Empty it, so that it draws its own identity",
        );
    }

    #[test]
    fn what_was_seen_under_one_epoch_is_not_proposed_for_the_next() {
        assert!(!gone(N3, FOUNDER, false).goes_on());
        assert!(gone(N3, FOUNDER, true).goes_on() && LEAVE.goes_on());
    }
}
