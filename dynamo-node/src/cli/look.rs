//! A look at the ring: what every member that answers says of its part, held together.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_protocol::membership::{Membership, Seat, Standing};
use dynamo_protocol::{Epoch, NodeId, Span, View};
use tokio::task::JoinSet;

use super::Failure;
use super::client::AskArgs;
use crate::client::ClientError;
use crate::ring::RingReport;
use crate::settled::keeps_from_changing;

/// See the [module](self).
pub(super) struct Look {
    /// The address that was given.
    asked: String,
    /// Of the member that knows the latest epoch.
    pub(super) newest: RingReport,
    pub(super) view: View,
    /// By member: what it says, or why it says nothing.
    pub(super) members: BTreeMap<NodeId, Result<RingReport, String>>,
}

/// What is left to be done at a member, or for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It does not answer, and this is why.
    Silent(String),
    /// It does not go by the latest epoch yet.
    Behind(Epoch),
    /// It waits for the others to tell what they remember of its directory.
    InDoubt,
    /// Its directory is another than the membership names.
    Unnamed,
    /// It lost its directory, and is being refilled.
    Amnesiac,
    /// It counts in some of its ranges, and is being filled.
    Filling { counted: u64, ranges: u64, sources: Vec<NodeId> },
    /// It hands on what it holds of others.
    HandsOn { strays: Option<u64>, hints: u64 },
    /// It leaves, and nothing is left at it.
    Drained,
    /// It counts wherever it is a home, and holds nothing else.
    Done,
}

impl Look {
    /// Asks the node at `asked`, and through it everybody else.
    pub(super) async fn at(args: &AskArgs) -> Result<Self, Failure> {
        let asked = args.at();
        let admin = args.admin(asked)?;
        let first = admin.ring().await.map_err(|error| failed(asked, &error))?;
        let mut members = BTreeMap::from([(first.id, Ok(first.clone()))]);
        // Some of them may know of more members, or where they are reached.
        let newest = loop {
            let heard: Vec<_> =
                members.values().filter_map(|report| report.as_ref().ok()).collect();
            let addresses: BTreeMap<_, _> =
                heard.iter().flat_map(|report| report.addresses.clone()).collect();
            let newest = heard.into_iter().max_by_key(|report| report.latest().epoch());
            let newest = newest.unwrap_or(&first).clone();
            let seats = newest.latest().seats().iter().map(|seat| seat.node);
            let others = seats.filter(|node| !members.contains_key(node));
            let others = others.filter_map(|node| Some((node, addresses.get(&node)?.clone())));
            let others: Vec<_> = others.collect();
            if others.is_empty() {
                break newest;
            }
            members.extend(ask(&first, others, args).await?);
        };
        let latest = newest.latest();
        members.retain(|node, _| latest.seat(*node).is_some());
        for seat in latest.seats() {
            let unknown = || Err("nobody knows its address yet".to_owned());
            members.entry(seat.node).or_insert_with(unknown);
        }
        let view = View::of(&newest.settings, newest.epochs.clone()).map_err(Failure::failed)?;
        Ok(Self { asked: asked.to_owned(), newest, view, members })
    }

    /// What keeps the cluster from a change that is about `node`, if anything does.
    pub(super) async fn keeps_from_changing(
        &self,
        args: &AskArgs,
        node: NodeId,
    ) -> Result<Option<String>, Failure> {
        let tls = args.tls()?;
        Ok(keeps_from_changing(&self.newest, node, args.timeout(), tls.as_ref()).await)
    }

    pub(super) fn latest(&self) -> &Membership {
        self.newest.latest()
    }

    /// The seat of `node`.
    pub(super) fn seat(&self, node: NodeId) -> Result<&Seat, Failure> {
        let epoch = self.latest().epoch();
        let members: Vec<_> = self.members.keys().map(ToString::to_string).collect();
        let members = members.join(", ");
        let unknown = format!("epoch {epoch}: {node} is no member; the members are {members}");
        self.latest().seat(node).ok_or_else(|| Failure::failed(unknown))
    }

    /// Where `node` says that it is reached.
    pub(super) fn address(&self, node: NodeId) -> Option<&str> {
        let own = self.members.get(&node).and_then(|report| report.as_ref().ok());
        let own = own.and_then(|report| report.addresses.get(&node));
        own.or_else(|| self.newest.addresses.get(&node)).map(String::as_str)
    }

    /// Members that can propose a change, in the order in which they are asked: the one that was named
    /// first, and not `but` unless there is nobody else, for it may be about to end.
    pub(super) fn proposers(&self, but: NodeId) -> Vec<String> {
        let is_able = |node: &NodeId| {
            let seat = self.latest().seat(*node);
            let report = self.members.get(node).and_then(|report| report.as_ref().ok());
            seat.is_some_and(|seat| seat.standing == Standing::In)
                && report.is_some_and(|report| report.proven)
        };
        let able = self.members.keys().filter(|node| is_able(node) && **node != but);
        let mut all: Vec<_> = able.filter_map(|node| self.address(*node)).collect();
        all.sort_by_key(|address| *address != self.asked);
        if all.is_empty() {
            all.push(&self.asked);
        }
        all.into_iter().map(str::to_owned).collect()
    }

    /// What is left to be done at `node`.
    pub(super) fn part(&self, node: NodeId) -> Part {
        let Some(seat) = self.latest().seat(node) else { return Part::Unnamed };
        let report = match self.members.get(&node) {
            Some(Ok(report)) => report,
            Some(Err(why)) => return Part::Silent(why.clone()),
            None => return Part::Silent("it was not asked".to_owned()),
        };
        let epoch = report.latest().epoch();
        match report {
            _ if epoch < self.latest().epoch() => Part::Behind(epoch),
            report if report.directory != seat.directory => Part::Unnamed,
            report if !report.proven => Part::InDoubt,
            report if report.amnesiac => Part::Amnesiac,
            report if seat.standing == Standing::Leaving => match report.is_drained() {
                true => Part::Drained,
                false => Part::HandsOn { strays: report.strays, hints: report.hints },
            },
            report if report.filling > 0 => {
                let counted = report.ranges.saturating_sub(report.filling);
                Part::Filling { counted, ranges: report.ranges, sources: report.sources.clone() }
            }
            report if report.expects_strays || report.strays != Some(0) => {
                Part::HandsOn { strays: report.strays, hints: report.hints }
            }
            _ => Part::Done,
        }
    }

    /// Whether the last change is all done: every home counts, and nobody holds what is another's.
    pub(super) fn is_finished(&self) -> bool {
        self.members.keys().all(|node| self.part(*node) == Part::Done)
    }

    /// The members that others believe to be down.
    pub(super) fn suspected(&self) -> BTreeSet<NodeId> {
        let reports = self.members.values().filter_map(|report| report.as_ref().ok());
        let suspected = reports.flat_map(|report| report.suspected.iter().copied());
        suspected.filter(|node| self.members.contains_key(node)).collect()
    }

    /// The part of the ring, from 0 to 1, of which `node` is the first home.
    pub(super) fn share(&self, node: NodeId) -> f64 {
        let ranges = self.view.ring().ranges(Span::RING).filter(|(_, list)| list[0] == node);
        let of = |span: Span| (span.last().0 - span.first().0) as f64 / 2_f64.powi(128);
        ranges.map(|(span, _)| of(span)).sum()
    }
}

/// Asks all of them at a time.
async fn ask(
    first: &RingReport,
    whom: Vec<(NodeId, String)>,
    args: &AskArgs,
) -> Result<Vec<(NodeId, Result<RingReport, String>)>, Failure> {
    let mut asking = JoinSet::new();
    for (node, address) in whom {
        let admin = args.admin(&address)?;
        asking.spawn(async move { (node, admin.ring().await) });
    }
    let mut answers = Vec::new();
    while let Some(asked) = asking.join_next().await {
        let (node, report) = asked.map_err(Failure::failed)?;
        let report = match report {
            Ok(report) if report.id == node && report.cluster == first.cluster => Ok(report),
            Ok(other) => Err(format!("{} of cluster {:?} answers there", other.id, other.cluster)),
            Err(error) => Err(error.why().to_owned()),
        };
        answers.push((node, report));
    }
    Ok(answers)
}

impl Part {
    /// In words; `waits_for` are members that others believe to be down.
    pub(super) fn told(&self, waits_for: &BTreeSet<NodeId>) -> String {
        let waits = match waits_for.is_empty() {
            true => String::new(),
            false => format!(", waits for {}", names(waits_for)),
        };
        match self {
            Self::Silent(why) => format!("does not answer: {why}"),
            Self::Behind(epoch) => format!("behind: at epoch {epoch}"),
            Self::InDoubt => {
                "in doubt until all others have told what they remember of its directory".to_owned()
            }
            Self::Unnamed => {
                "has another directory than the membership names: `replace` it, or stop it"
                    .to_owned()
            }
            Self::Amnesiac => format!("amnesiac: it is being refilled{waits}"),
            Self::Filling { counted, ranges, sources } => {
                format!(
                    "{counted} of {ranges} ranges count, is filled from {}{waits}",
                    names(sources)
                )
            }
            Self::HandsOn { strays: None, .. } => {
                "its storage cannot tell what it holds of others: look at its log".to_owned()
            }
            Self::HandsOn { strays: Some(strays), hints } => {
                let what = [(strays, "keys"), (hints, "hints")].into_iter();
                let what = what.filter(|(count, _)| **count > 0);
                let what: Vec<_> = what.map(|(count, name)| format!("{count} {name}")).collect();
                match what.is_empty() {
                    true => "looks whether it holds what is others'".to_owned(),
                    false => format!("hands on {}{waits}", what.join(", ")),
                }
            }
            Self::Drained => "drained: may be removed".to_owned(),
            Self::Done => "counts".to_owned(),
        }
    }

    /// In a word, for programs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Behind(_) => "behind",
            Self::InDoubt => "in-doubt",
            Self::Unnamed => "unnamed",
            Self::Amnesiac => "amnesiac",
            Self::Filling { .. } => "filling",
            Self::HandsOn { .. } => "hands-on",
            Self::Drained => "drained",
            Self::Done => "done",
        }
    }
}

fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What went wrong with the node at `address`.
pub(super) fn failed(address: &str, error: &ClientError) -> Failure {
    Failure::failed(format!("{address}: {error}"))
}
