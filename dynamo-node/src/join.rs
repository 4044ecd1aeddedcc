//! How a node with a directory of its own becomes a member: it asks a member to propose that, waits until it
//! is decided, and takes the history. Until then it serves nobody.
//!
//! One that takes the place of a lost directory does not wait with serving: a member that lost its disk is a
//! member still, and the others may need its word to name it. Whoever started again is in doubt until every
//! member has said what it remembers (rule 11 of docs/protocol.md); nobody is filled from one in doubt, and a
//! strict cluster names nobody before all are filled. That it remembers nothing it can say at once, so it
//! serves, amnesiac, and has itself named meanwhile.
//!
//! Whatever ends it, the next start goes on where it was: the directory's identity is on its disk, and a
//! membership that names it is not proposed again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::membership::{Directory, Edit, Membership, Seat};
use dynamo_protocol::{Enrolment, Meta, NodeId, Settings, Zone};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::client::{Admin, ClientError};
use crate::config::Options;
use crate::ring::{Proposed, RingReport};
use crate::tls::Tls;
use crate::wire;

/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);
/// The same of a node that serves: it may have to wait until others are filled, which takes minutes.
const UNNAMED_PAUSE: Duration = Duration::from_secs(1);
const UNDECIDED: &str = "it is proposed, and no majority of the members answers: start more of them, or, \
    if so many are lost for good, give --force-epoch";

/// What a node is told that is to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Members to ask, HOST:PORT; one that answers is enough.
    pub seeds: Vec<String>,
    /// Its share of the ring: virtual nodes.
    pub tokens: u16,
    /// Where it stands, if that is said.
    pub zone: Option<Zone>,
    /// It is a member that lost its directory, and goes on with this one.
    pub replace: bool,
    /// If nothing is decided: a member is to make the epoch without a vote.
    pub forced: bool,
    /// How long it may take until it is decided.
    pub patience: Duration,
}

/// Why a node did not become a member.
#[derive(Debug, Error)]
pub enum JoinError {
    /// No member was there to ask, or none could have it decided.
    #[error("not joined within {patience:?}: {last}")]
    TooLong {
        /// How long it was tried.
        patience: Duration,
        /// What went wrong last.
        last: String,
    },
    /// The membership refuses it.
    #[error("the cluster does not take {node}: {why}")]
    Refused {
        /// Who asked.
        node: NodeId,
        /// Why, and what to do.
        why: String,
    },
    /// It is a member with another directory.
    #[error(
        "{node} is a member, with {has}: if that is lost, give --replace to go on with this directory in its \
         place; or join under another --id"
    )]
    Member {
        /// Who.
        node: NodeId,
        /// The directory that is named.
        has: Directory,
    },
    /// A replacement of nobody.
    #[error("{0} is no member, so nothing is to be replaced: leave --replace out")]
    NotAMember(NodeId),
    /// A genesis joins nothing.
    #[error("a cluster's genesis has nothing to join: give --genesis or --join, not both")]
    Genesis,
    /// Another cluster.
    #[error("{seed} is of cluster {theirs:?}, this node of {ours:?}: give --cluster")]
    Cluster {
        /// Who was asked.
        seed: String,
        /// Its cluster.
        theirs: String,
        /// This node's.
        ours: String,
    },
    /// Settings that the members do not share.
    #[error("the cluster at {seed} has other settings: {difference}")]
    Settings {
        /// Who was asked.
        seed: String,
        /// The one that differs.
        difference: String,
    },
    /// Every number is taken.
    #[error("every node's number is taken")]
    Full,
}

/// What a member has to know of the membership before its node starts.
pub(crate) struct Joined {
    /// All memberships: the last one names its directory, unless it takes the place of another and is not
    /// named yet.
    pub(crate) epochs: Vec<Membership>,
    pub(crate) addresses: BTreeMap<NodeId, String>,
}

/// Whether one of them may answer another time, or this is how it ends.
enum Failed {
    ForNow(String),
    ForGood(JoinError),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self::ForNow(error.to_string())
    }
}

/// The lowest number that no member has, as one of `seeds` knows them.
///
/// # Errors
/// If none of them answers in time.
pub async fn free_id(
    seeds: &[String],
    patience: Duration,
    tls: Option<Arc<Tls>>,
) -> Result<NodeId, JoinError> {
    let free = async |seed: &str| {
        let admin = Admin::new(seed).with_deadline(ANSWER).over(tls.clone());
        let report = admin.ring().await?;
        let is_free = |id: &NodeId| report.latest().seat(*id).is_none();
        (1..=u16::MAX).map(NodeId).find(is_free).ok_or(Failed::ForGood(JoinError::Full))
    };
    ask_in_turn(seeds, patience, free).await
}

/// What the node is to know of the membership before it starts: a newcomer once it is a member, one that
/// takes the place of a lost directory at once.
pub(crate) async fn join(options: &Options, join: &Join, meta: &Meta) -> Result<Joined, JoinError> {
    let asker = Asker { options, join, directory: meta.directory(options.me) };
    let ask = async |seed: &str| {
        if !join.replace {
            return asker.have_named(seed).await.map(joined);
        }
        let (report, edit) = asker.look(seed).await?;
        edit.map_or(Ok(()), |edit| asker.check(&report, &edit))?;
        Ok(joined(report))
    };
    ask_in_turn(&join.seeds, join.patience, ask).await
}

/// Has a node named that serves already, in the place of the directory that was lost: returns when it is, and
/// goes on until then. Asks the members of `addresses`, too: who was a seed at its start may be gone by now.
///
/// # Errors
/// If no member will ever have it.
pub(crate) async fn have_named(
    options: Options,
    join: Join,
    meta: Meta,
    addresses: Vec<String>,
) -> Result<(), JoinError> {
    let asker = Asker { options: &options, join: &join, directory: meta.directory(options.me) };
    let others = addresses.iter().filter(|address| !join.seeds.contains(address));
    let mut told = None;
    loop {
        for seed in join.seeds.iter().chain(others.clone()) {
            match asker.have_named(seed).await {
                Ok(_) => return Ok(()),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow(why)) if told.as_ref() == Some(&why) => {}
                Err(Failed::ForNow(why)) => {
                    tracing::warn!(seed, why, "serves, and is not named yet");
                    told = Some(why);
                }
            }
        }
        sleep(UNNAMED_PAUSE).await;
    }
}

/// Who asks members to be named.
struct Asker<'a> {
    options: &'a Options,
    join: &'a Join,
    directory: Directory,
}

impl Asker<'_> {
    fn admin(&self, seed: &str) -> Admin {
        Admin::new(seed).with_deadline(ANSWER).over(self.options.tls.clone())
    }

    /// What a member knows, and what is to be changed; nothing if the directory is named.
    async fn look(&self, seed: &str) -> Result<(RingReport, Option<Edit>), Failed> {
        let report = self.admin(seed).ring().await?;
        agreed(self.options, seed, &report).map_err(Failed::ForGood)?;
        let seat = report.latest().seat(self.options.me).copied();
        let edit = edit(self.options.me, self.join, self.directory, seat);
        Ok((report, edit.map_err(Failed::ForGood)?))
    }

    /// What the membership itself refuses it refuses tomorrow.
    fn check(&self, report: &RingReport, edit: &Edit) -> Result<(), Failed> {
        let edited = report.latest().edited(edit, self.options.settings.n);
        edited.map(drop).map_err(|error| {
            let (node, why) = (self.options.me, error.to_string());
            Failed::ForGood(JoinError::Refused { node, why })
        })
    }

    /// Has a member propose it; what that one knows then.
    async fn have_named(&self, seed: &str) -> Result<RingReport, Failed> {
        let (report, edit) = self.look(seed).await?;
        let Some(edit) = edit else { return Ok(report) };
        let admin = self.admin(seed);
        let proposed = admin.propose(edit, None).await?;
        // One that does not know yet whether its directory was rolled back proposes nothing, and may never
        // know if others are gone.
        let is_stuck = match proposed {
            Proposed::Undecided => true,
            Proposed::Refused(_) => !report.proven,
            Proposed::Decided(_) => false,
        };
        let proposed = match is_stuck && self.join.forced {
            true => admin.force_epoch(edit, report.latest().epoch()).await?,
            false => proposed,
        };
        match proposed {
            Proposed::Decided(epoch) => {
                tracing::info!(%epoch, %edit, "decided");
                let report = admin.ring().await?;
                match report.latest().seat(self.options.me) {
                    Some(seat) if seat.directory == self.directory => Ok(report),
                    _ => Err(Failed::ForNow("decided, and changed again since".to_owned())),
                }
            }
            Proposed::Undecided => Err(Failed::ForNow(UNDECIDED.to_owned())),
            Proposed::Refused(why) => {
                self.check(&report, &edit)?;
                Err(Failed::ForNow(why))
            }
        }
    }
}

/// What is to be changed so that the node has this directory; nothing if it has.
fn edit(
    node: NodeId,
    join: &Join,
    directory: Directory,
    seat: Option<Seat>,
) -> Result<Option<Edit>, JoinError> {
    match seat {
        Some(seat) if seat.directory == directory => Ok(None),
        Some(seat) if join.replace => {
            Ok(Some(Edit::Replace { node, from: seat.directory, to: directory }))
        }
        Some(seat) => Err(JoinError::Member { node, has: seat.directory }),
        None if join.replace => Err(JoinError::NotAMember(node)),
        None => {
            let Join { tokens, zone, .. } = *join;
            Ok(Some(Edit::Join { node, directory, tokens, zone }))
        }
    }
}

fn agreed(options: &Options, seed: &str, report: &RingReport) -> Result<(), JoinError> {
    if report.cluster != options.cluster {
        let (theirs, ours) = (report.cluster.clone(), options.cluster.clone());
        return Err(JoinError::Cluster { seed: seed.to_owned(), theirs, ours });
    }
    let ours: Settings = options.settings.agreed();
    match wire::settings_differ(&report.settings, &ours) {
        None => Ok(()),
        Some((field, theirs, ours)) => {
            let difference = format!("{field} is {theirs} there, {ours} here");
            Err(JoinError::Settings { seed: seed.to_owned(), difference })
        }
    }
}

fn joined(report: RingReport) -> Joined {
    let RingReport { epochs, addresses, .. } = report;
    Joined { epochs, addresses }
}

/// Asks one after the other, round by round, until one answers or the time is over.
async fn ask_in_turn<A>(
    seeds: &[String],
    patience: Duration,
    mut ask: impl AsyncFnMut(&str) -> Result<A, Failed>,
) -> Result<A, JoinError> {
    let end = Instant::now() + patience;
    let mut last = "nobody to ask was given".to_owned();
    loop {
        for seed in seeds {
            match ask(seed).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow(why)) => {
                    tracing::warn!(seed, why, "not joined yet");
                    last = format!("{seed}: {why}");
                }
            }
        }
        if Instant::now() + PAUSE >= end {
            return Err(JoinError::TooLong { patience, last });
        }
        sleep(PAUSE).await;
    }
}

/// Whether the directory's part in the membership has to be asked for: it is in none that it knows, or
/// another directory is in its place.
pub(crate) fn is_due(options: &Options, meta: &Meta, kept: &Enrolment) -> bool {
    let seat = kept.epochs.last().and_then(|latest| latest.seat(options.me));
    seat.is_none_or(|seat| seat.directory != meta.directory(options.me))
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::Identity;
    use dynamo_protocol::membership::Standing;

    use super::*;

    const ME: NodeId = NodeId(4);
    const MINE: Directory = Directory::Drawn(Identity(4));
    const OTHER: Directory = Directory::Drawn(Identity(9));

    fn wanted(replace: bool, seat: Option<Directory>) -> Result<Option<Edit>, String> {
        let (seeds, patience) = (Vec::new(), Duration::ZERO);
        let (zone, forced) = (Some(Zone(2)), false);
        let join = Join { seeds, tokens: 8, zone, replace, forced, patience };
        let seat = seat.map(|directory| Seat {
            node: ME,
            directory,
            tokens: 8,
            standing: Standing::In,
            zone: None,
        });
        edit(ME, &join, MINE, seat).map_err(|error| error.to_string())
    }

    #[test]
    fn a_directory_that_is_named_asks_for_nothing_more() {
        let joins = Edit::Join { node: ME, directory: MINE, tokens: 8, zone: Some(Zone(2)) };
        assert_eq!(wanted(false, None), Ok(Some(joins)));
        assert_eq!(wanted(false, Some(MINE)), Ok(None));
        assert_eq!(wanted(true, Some(MINE)), Ok(None));
        let replaces = Edit::Replace { node: ME, from: OTHER, to: MINE };
        assert_eq!(wanted(true, Some(OTHER)), Ok(Some(replaces)));
    }

    #[test]
    fn a_member_is_not_replaced_unless_that_is_meant() {
        let refused = wanted(false, Some(OTHER)).unwrap_err();
        assert!(refused.contains("give --replace"), "{refused}");
        let refused = wanted(true, None).unwrap_err();
        assert!(refused.contains("leave --replace out"), "{refused}");
    }
}
