//! What two nodes have to agree on before one of them believes a message of the other.
//!
//! Never the list of members: it changes, and a node that is behind has to be heard. But two views of one
//! number that differ are two clusters, and so are two that began with different members.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use dynamo_protocol::membership::{History, Membership};
use dynamo_protocol::{Digest, Settings};
use serde_json::Value;

use crate::proto;

/// What a node holds its peers to.
#[derive(Debug)]
pub(crate) struct Agreement {
    cluster: String,
    settings: Settings,
    /// Of the first view.
    genesis: u64,
    now: RwLock<Now>,
}

/// The view it goes by now.
#[derive(Debug)]
struct Now {
    /// Its number, and its digest.
    numbered: (u64, u64),
    members: BTreeSet<u32>,
    /// Who was a member before and is none any more.
    removed: BTreeSet<u32>,
}

impl Now {
    fn of(history: &History) -> Self {
        let mut now = Self {
            numbered: numbered(history.latest()),
            members: BTreeSet::new(),
            removed: BTreeSet::new(),
        };
        history.epochs().iter().for_each(|membership| now.enter(membership));
        now
    }

    fn enter(&mut self, membership: &Membership) {
        self.numbered = numbered(membership);
        let members = membership.seats().iter().map(|seat| u32::from(seat.node.0)).collect();
        self.removed.append(&mut std::mem::replace(&mut self.members, members));
        self.removed.retain(|node| !self.members.contains(node));
    }
}

impl Agreement {
    pub(crate) fn new(cluster: &str, settings: &Settings, history: &History) -> Self {
        Self {
            cluster: cluster.to_owned(),
            settings: settings.agreed(),
            genesis: Digest::of(&history.epochs()[0]).0,
            now: RwLock::new(Now::of(history)),
        }
    }

    /// It goes by this membership from now on.
    pub(crate) fn enter(&self, membership: &Membership) {
        self.now.write().unwrap_or_else(PoisonError::into_inner).enter(membership);
    }

    fn now(&self) -> (u64, u64) {
        self.now.read().unwrap_or_else(PoisonError::into_inner).numbered
    }

    /// The number of the view it goes by.
    pub(crate) fn epoch(&self) -> u64 {
        self.now().0
    }

    /// Since which epoch at the latest this node is a member no more, if it was one.
    pub(crate) fn has_removed(&self, node: u32) -> Option<u64> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.removed.contains(&node).then_some(now.numbered.0)
    }

    /// The cluster's name.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The settings on one line, as they are compared.
    pub(crate) fn settings(&self) -> String {
        serde_json::to_string(&self.settings).expect("settings are plain data")
    }

    /// What all processes of node `from` say when they dial `to`.
    pub(crate) fn hello(&self, from: u32, to: u32) -> proto::Hello {
        let (epoch, view) = self.now();
        proto::Hello {
            from,
            to,
            cluster: self.cluster.clone(),
            settings: self.settings(),
            genesis: self.genesis,
            epoch,
            view,
            ..Default::default()
        }
    }

    /// Why a peer that says this is of another cluster, if it is.
    pub(crate) fn refuses(&self, hello: &proto::Hello) -> Option<String> {
        let from = hello.from;
        if hello.cluster != self.cluster {
            let (theirs, ours) = (&hello.cluster, &self.cluster);
            return Some(format!("node {from} is of cluster {theirs:?}, this one of {ours:?}"));
        }
        let theirs = serde_json::from_str(&hello.settings).unwrap_or(Value::Null);
        let ours = plain(&self.settings);
        if let Some((field, theirs, ours)) = difference("", &theirs, &ours) {
            return Some(format!(
                "the settings differ: {field} is {theirs} at node {from}, {ours} here"
            ));
        }
        let (epoch, view) = self.now();
        if hello.epoch == epoch && hello.view != view {
            return Some(format!(
                "the members differ: node {from} has others in view {epoch}, which both are at"
            ));
        }
        (hello.genesis != self.genesis)
            .then(|| format!("the members differ: node {from} began with others, at its genesis"))
    }
}

fn numbered(membership: &Membership) -> (u64, u64) {
    (membership.epoch().0, Digest::of(membership).0)
}

fn plain(settings: &Settings) -> Value {
    serde_json::to_value(settings).expect("settings are plain data")
}

/// The first field in which two settings differ, and what it is in each.
pub(crate) fn settings_differ(
    theirs: &Settings,
    ours: &Settings,
) -> Option<(String, String, String)> {
    difference("", &plain(theirs), &plain(ours))
}

/// The first field in which two settings differ, and what it is in each.
fn difference(path: &str, theirs: &Value, ours: &Value) -> Option<(String, String, String)> {
    let (Value::Object(theirs), Value::Object(ours)) = (theirs, ours) else {
        let name = if path.is_empty() { "all of them" } else { path };
        return (theirs != ours).then(|| (name.to_owned(), theirs.to_string(), ours.to_string()));
    };
    theirs.keys().chain(ours.keys()).find_map(|name| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let of = |all: &serde_json::Map<String, Value>| all.get(name).cloned().unwrap_or_default();
        difference(&path, &of(theirs), &of(ours))
    })
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::membership::Edit;
    use dynamo_protocol::{Member, NodeId, Partitioning};

    use super::*;

    fn genesis(members: u16) -> Membership {
        let members: Vec<_> = (1..=members).map(|id| Member::new(NodeId(id), 8)).collect();
        Membership::genesis(3, &members).unwrap()
    }

    fn weighed(before: &Membership, node: u16) -> Membership {
        before.edited(&Edit::Weigh { node: NodeId(node), tokens: 4 }, 3).unwrap()
    }

    fn of(settings: &Settings, members: u16) -> Agreement {
        Agreement::new("test", settings, &History::genesis(3, genesis(members)).unwrap())
    }

    fn refusal(ours: &Agreement, theirs: &Agreement) -> Option<String> {
        ours.refuses(&theirs.hello(2, 1))
    }

    #[test]
    fn nodes_with_the_same_settings_hear_each_other_however_long_they_wait() {
        let ours = Settings::default();
        let mut theirs = ours;
        theirs.timing.deadline *= 2;
        assert_eq!(refusal(&of(&ours, 3), &of(&theirs, 3)), None);
    }

    #[test]
    fn the_setting_that_differs_is_named_with_both_its_values() {
        let ours = Settings::default();
        let mut theirs = ours;
        theirs.limits.siblings = 7;
        assert_eq!(
            refusal(&of(&ours, 3), &of(&theirs, 3)).unwrap(),
            "the settings differ: limits.siblings is 7 at node 2, 256 here"
        );
        theirs = Settings { r: 3, ..ours };
        assert_eq!(
            refusal(&of(&ours, 3), &of(&theirs, 3)).unwrap(),
            "the settings differ: r is 3 at node 2, 2 here"
        );
        theirs = Settings { partitioning: Partitioning::Equal { partitions: 64 }, ..ours };
        assert_eq!(
            refusal(&of(&ours, 3), &of(&theirs, 3)).unwrap(),
            "the settings differ: partitioning is \"equal:64\" at node 2, \"tokens\" here"
        );
        let mut hello = of(&ours, 3).hello(2, 1);
        hello.settings.clear();
        assert!(of(&ours, 3).refuses(&hello).unwrap().contains("all of them"));
    }

    #[test]
    fn a_node_of_another_view_is_heard_unless_both_have_one_number() {
        let settings = Settings::default();
        let genesis = genesis(3);
        let ours = of(&settings, 3);
        let theirs = of(&settings, 3);
        theirs.enter(&weighed(&genesis, 1));
        assert_eq!((refusal(&ours, &theirs), refusal(&theirs, &ours)), (None, None));
        ours.enter(&weighed(&genesis, 2));
        assert_eq!(
            refusal(&ours, &theirs).unwrap(),
            "the members differ: node 2 has others in view 2, which both are at"
        );
        assert_eq!(
            refusal(&of(&settings, 4), &of(&settings, 3)).unwrap(),
            "the members differ: node 2 has others in view 1, which both are at"
        );
        assert_eq!(
            refusal(&of(&settings, 4), &theirs).unwrap(),
            "the members differ: node 2 began with others, at its genesis"
        );
    }

    #[test]
    fn a_node_of_another_cluster_is_refused_by_its_name() {
        let settings = Settings::default();
        let mut hello = of(&settings, 3).hello(2, 1);
        hello.cluster = "other".to_owned();
        assert_eq!(
            of(&settings, 3).refuses(&hello).unwrap(),
            "node 2 is of cluster \"other\", this one of \"test\""
        );
    }
}
