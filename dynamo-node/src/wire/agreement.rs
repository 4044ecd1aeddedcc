//! What two nodes have to agree on before one of them believes a message of the other.
//!
//! Never the list of members: it changes, and a node that is behind has to be heard. But two views of one
//! number that differ are two clusters.

use dynamo_protocol::{Digest, Settings, View};
use serde_json::Value;

use crate::proto;

/// What a node holds its peers to.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    cluster: String,
    settings: Settings,
    epoch: u64,
    view: u64,
}

impl Agreement {
    pub(crate) fn new(cluster: &str, settings: &Settings, view: &View) -> Self {
        Self {
            cluster: cluster.to_owned(),
            settings: settings.agreed(),
            epoch: view.epoch().0,
            view: Digest::of(view).0,
        }
    }

    /// The settings on one line, as they are compared.
    pub(crate) fn settings(&self) -> String {
        serde_json::to_string(&self.settings).expect("settings are plain data")
    }

    /// What all processes of node `from` say when they dial `to`.
    pub(crate) fn hello(&self, from: u32, to: u32) -> proto::Hello {
        let Self { cluster, settings: _, epoch, view } = self.clone();
        let settings = self.settings();
        proto::Hello { from, to, cluster, settings, epoch, view, ..Default::default() }
    }

    /// Why a peer that says this is of another cluster, if it is.
    pub(crate) fn refuses(&self, hello: &proto::Hello) -> Option<String> {
        let from = hello.from;
        if hello.cluster != self.cluster {
            let (theirs, ours) = (&hello.cluster, &self.cluster);
            return Some(format!("node {from} is of cluster {theirs:?}, this one of {ours:?}"));
        }
        let theirs = serde_json::from_str(&hello.settings).unwrap_or(Value::Null);
        let ours = serde_json::to_value(self.settings).expect("settings are plain data");
        if let Some((field, theirs, ours)) = difference("", &theirs, &ours) {
            return Some(format!(
                "the settings differ: {field} is {theirs} at node {from}, {ours} here"
            ));
        }
        (hello.epoch == self.epoch && hello.view != self.view).then(|| {
            let epoch = self.epoch;
            format!("the members differ: node {from} has others in view {epoch}, which both are at")
        })
    }
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
    use dynamo_protocol::{Epoch, Member, NodeId, Partitioning};

    use super::*;

    fn of(settings: &Settings, epoch: u64, members: u16) -> Agreement {
        let members = (1..=members).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = View::new(Epoch(epoch), settings, members).unwrap();
        Agreement::new("test", settings, &view)
    }

    fn refusal(ours: &Agreement, theirs: &Agreement) -> Option<String> {
        ours.refuses(&theirs.hello(2, 1))
    }

    #[test]
    fn nodes_with_the_same_settings_hear_each_other_however_long_they_wait() {
        let ours = Settings::default();
        let mut theirs = ours;
        theirs.timing.deadline *= 2;
        assert_eq!(refusal(&of(&ours, 1, 3), &of(&theirs, 1, 3)), None);
    }

    #[test]
    fn the_setting_that_differs_is_named_with_both_its_values() {
        let ours = Settings::default();
        let mut theirs = ours;
        theirs.limits.siblings = 7;
        assert_eq!(
            refusal(&of(&ours, 1, 3), &of(&theirs, 1, 3)).unwrap(),
            "the settings differ: limits.siblings is 7 at node 2, 256 here"
        );
        theirs = Settings { r: 3, ..ours };
        assert_eq!(
            refusal(&of(&ours, 1, 3), &of(&theirs, 1, 3)).unwrap(),
            "the settings differ: r is 3 at node 2, 2 here"
        );
        theirs = Settings { partitioning: Partitioning::Equal { partitions: 64 }, ..ours };
        assert_eq!(
            refusal(&of(&ours, 1, 3), &of(&theirs, 1, 3)).unwrap(),
            "the settings differ: partitioning is \"equal:64\" at node 2, \"tokens\" here"
        );
        let mut hello = of(&ours, 1, 3).hello(2, 1);
        hello.settings.clear();
        assert!(of(&ours, 1, 3).refuses(&hello).unwrap().contains("all of them"));
    }

    #[test]
    fn a_node_of_another_view_is_heard_unless_both_have_one_number() {
        let settings = Settings::default();
        assert_eq!(refusal(&of(&settings, 2, 4), &of(&settings, 1, 3)), None);
        assert_eq!(
            refusal(&of(&settings, 1, 4), &of(&settings, 1, 3)).unwrap(),
            "the members differ: node 2 has others in view 1, which both are at"
        );
    }

    #[test]
    fn a_node_of_another_cluster_is_refused_by_its_name() {
        let settings = Settings::default();
        let mut hello = of(&settings, 1, 3).hello(2, 1);
        hello.cluster = "other".to_owned();
        assert_eq!(
            of(&settings, 1, 3).refuses(&hello).unwrap(),
            "node 2 is of cluster \"other\", this one of \"test\""
        );
    }
}
