//! Where members are reached: what this node was told at its start, and what members say of themselves and
//! of each other. It travels with the links, so that nobody is started anew when a node joins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use dynamo_protocol::NodeId;

/// Longest address that is believed to be one, in bytes.
const LONGEST: usize = 256;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Book {
    me: NodeId,
    /// Where others reach this node; none if it cannot say.
    own: Option<String>,
    /// Told at the start, for this node alone: it dials nothing else.
    fixed: BTreeMap<NodeId, String>,
    learned: RwLock<BTreeMap<NodeId, String>>,
}

impl Book {
    /// Of node `me`, with what its directory has `learned` before.
    pub(crate) fn new(
        me: NodeId,
        own: Option<String>,
        fixed: BTreeMap<NodeId, String>,
        learned: BTreeMap<NodeId, String>,
    ) -> Self {
        Self { me, own, fixed, learned: RwLock::new(learned) }
    }

    /// Where others reach this node; empty if it cannot say.
    pub(crate) fn own(&self) -> String {
        self.own.clone().unwrap_or_default()
    }

    /// Where this node dials `peer`.
    pub(crate) fn dialled(&self, peer: NodeId) -> Option<String> {
        self.fixed.get(&peer).cloned().or_else(|| self.learned().get(&peer).cloned())
    }

    /// All peers that can be dialled.
    pub(crate) fn peers(&self) -> BTreeSet<NodeId> {
        self.fixed.keys().chain(self.learned().keys()).copied().collect()
    }

    /// What others are told: where members say that they are, and else where this node dials them.
    pub(crate) fn told(&self) -> BTreeMap<NodeId, String> {
        let mut told = self.fixed.clone();
        told.extend(self.learned().clone());
        told.extend(self.own.clone().map(|own| (self.me, own)));
        told
    }

    /// Takes in what `from` says; the answer is what is new. A node knows best where it is itself.
    pub(crate) fn learn(&self, from: NodeId, told: Vec<(NodeId, String)>) -> Vec<(NodeId, String)> {
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        let mut news = Vec::new();
        for (node, address) in told {
            let known = learned.get(&node);
            let is_news = known.is_none() || node == from && known != Some(&address);
            if node != self.me && is_news && is_address(&address) {
                learned.insert(node, address.clone());
                news.push((node, address));
            }
        }
        news
    }

    fn learned(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, String>> {
        self.learned.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it looks like HOST:PORT.
pub(crate) fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    text.len() <= LONGEST && port.is_some_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);
    const THIRD: NodeId = NodeId(3);

    fn book(fixed: &[(NodeId, &str)]) -> Book {
        let fixed = fixed.iter().map(|(node, address)| (*node, (*address).to_owned())).collect();
        Book::new(ME, Some("here:1".to_owned()), fixed, BTreeMap::new())
    }

    fn said(node: NodeId, address: &str) -> Vec<(NodeId, String)> {
        vec![(node, address.to_owned())]
    }

    #[test]
    fn a_node_is_believed_about_itself_and_about_others_only_where_nothing_is_known() {
        let book = book(&[]);
        assert_eq!(book.learn(OTHER, said(THIRD, "c:1")), said(THIRD, "c:1"));
        assert_eq!(book.learn(OTHER, said(THIRD, "d:1")), []);
        assert_eq!(book.learn(THIRD, said(THIRD, "d:1")), said(THIRD, "d:1"));
        assert_eq!(book.learn(THIRD, said(THIRD, "d:1")), [], "nothing new");
        assert_eq!(book.dialled(THIRD), Some("d:1".to_owned()));
        assert_eq!(book.learn(OTHER, said(ME, "elsewhere:1")), [], "where I am I know");
    }

    #[test]
    fn what_was_told_at_the_start_is_dialled_whatever_is_heard() {
        let book = book(&[(OTHER, "proxy:1")]);
        assert_eq!(book.told()[&OTHER], "proxy:1");
        book.learn(OTHER, said(OTHER, "b:1"));
        assert_eq!(book.dialled(OTHER), Some("proxy:1".to_owned()));
        assert_eq!(book.told()[&OTHER], "b:1", "a proxy is this node's alone");
        assert_eq!(book.told()[&ME], "here:1");
    }

    #[test]
    fn what_is_no_address_is_not_taken_in() {
        let book = book(&[]);
        for text in ["", "b", ":1", "b:0", "b:65536", "b:x", &"b".repeat(300)] {
            assert_eq!(book.learn(OTHER, said(OTHER, text)), [], "{text}");
        }
        assert!(is_address("[::1]:7000") && is_address("n1.example:7000"));
    }
}
