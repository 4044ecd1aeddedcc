//! Tombstones and idle actors go when nothing is left of what was overwritten, and nothing of it comes back.

use dynamo_protocol::{Dot, Key, NodeId, Place, Record, Role, Siblings};

use super::Monitor;
use crate::disk::Changed;
use crate::host::Host;

impl Monitor {
    /// A tombstone goes, which was all that `before` held, or actors of which nothing is live in it: nobody
    /// has anything that goes with them, nor would after a power cut now.
    pub(super) fn collected(
        &mut self,
        hosts: &[Host],
        key: &Key,
        before: &Record,
        now: Option<&Record>,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let Siblings::Dotted(dropped) = &before.set else { return };
        let is_forgotten = |dot: &Dot| {
            let is_kept = now.is_some_and(|now| match &now.set {
                Siblings::Dotted(set) => set.versions().iter().any(|version| version.dot == *dot),
                Siblings::Plain(_) => false,
            });
            dropped.context().contains(dot) && !is_kept
        };
        let members = (1..).map(NodeId).take(hosts.len());
        let roles: Vec<_> = std::iter::once(Role::Home).chain(members.map(Role::Hint)).collect();
        for (at, host) in hosts.iter().enumerate() {
            for role in &roles {
                let place = Place { role: *role, key: key.clone() };
                let records = [host.disk.present(&place), host.disk.durable(&place)];
                let left = records.into_iter().flatten().find(|record| match &record.set {
                    Siblings::Dotted(set) => set
                        .versions()
                        .iter()
                        .any(|version| version.value.is_some() && is_forgotten(&version.dot)),
                    Siblings::Plain(_) => false,
                });
                if let Some(left) = left {
                    let (node, set) = (at + 1, &left.set);
                    let what = format!(
                        "what {dropped:?} of {key} overwrote is forgotten, and n{node} has {set:?} in \
                         {place:?}"
                    );
                    breach("collected-stays-gone", what);
                }
            }
        }
        let Some(puts) = self.keys.get_mut(key) else { return };
        for put in &mut puts.puts {
            put.collected |= is_forgotten(&put.dot);
        }
    }

    /// What was deleted is there again, after its tombstone went.
    pub(super) fn collected_is_back(
        &self,
        changed: Changed<'_>,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let Some(Record { set: Siblings::Dotted(set), .. }) = changed.now else { return };
        let Some(puts) = self.keys.get(&changed.place.key) else { return };
        for version in set.versions().iter().filter(|version| version.value.is_some()) {
            let put = puts.by_dot.get(&version.dot).map(|at| &puts.puts[*at]);
            if put.is_some_and(|put| put.collected) {
                let (dot, place) = (version.dot, changed.place);
                let what = format!("{dot} is in {place:?}, after it was forgotten for good");
                breach("collected-stays-gone", what);
            }
        }
    }
}
