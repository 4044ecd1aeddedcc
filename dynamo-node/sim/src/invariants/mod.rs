//! White-box invariants: what must hold inside a cluster after every step, one function each.
//!
//! They look only at the host a step touched, and at the disks of those that should hold what it
//! acknowledged. What a monitor knows beside the cluster is what every put had read and minted. The rules are
//! those of docs/protocol.md.
//!
//! | check | what | from |
//! |---|---|---|
//! | `dots-unique` | no event is minted twice | rule 2 |
//! | `dots-closed` | a record that mints has seen all earlier events of its actor | rule 2 |
//! | `minted-once` | no operation becomes two events | rule 8 |
//! | `record-forgets` | what a record has seen it never unsees | rule 3 |
//! | `no-dominated-sibling` | no live version was read by the writer of another | paper, 4.4 |
//! | `copies-at-ack` | W distinct hosts hold an acknowledged put durably | rule 6 |
//! | `copies-kept` | and do so ever after, disks lost apart | rules 5, 6 |
//! | `recovery-oracle` | a crash leaves whole batches, and all that was reported durable | rule 13 |
//! | `collected-stays-gone` | a tombstone goes when nothing is left of what it overwrote | rule 10 |
//! | `dropped-is-held` | a stray goes when each home's disk has it, or each later home's | rule 12 |
//! | `hint-accounting` | a hint goes only when its target's disk covers it | rule 7 |
//! | `rollback-minted` | a rolled-back directory mints nothing old that another remembers | rule 11 |
//! | `rollback-voted` | nor votes it, if strict, on a key whose other homes remember more | rule 11 |

mod collected;
mod records;

use bytes::Bytes;
use dynamo_protocol::{
    Answer, ClientOp, Dot, Envelope, Epoch, Event, Identity, Input, Key, Message, NodeId, OpId,
    Output, Place, Quorum, Record, Role, Siblings, Store as _, VersionVector,
};
use records::{Goes, dots_closed, moved_on, record_forgets, wrote};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::disk::{Changed, Disk, DiskFault};
use crate::effect::{Breach, Effect};
use crate::host::{Host, index};
use crate::trace::Cluster;

/// What is known of a cluster beside its state.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    w: usize,
    keys: FxHashMap<Key, Puts>,
    dots: FxHashSet<Dot>,
    written: FxHashSet<(Key, Bytes)>,
    operations: FxHashMap<OpId, (Key, usize)>,
    /// Hearers, speakers, and the identities they spoke under. A hearer may forget and the rule still
    /// holds: what it sends after it first heard of a directory no earlier one can acknowledge.
    heard: FxHashSet<(NodeId, NodeId, Identity)>,
    /// Rolled-back directories that have not noticed, and which others durably remember more of each, or
    /// owe it.
    rolled_back: Vec<(NodeId, Identity, Vec<NodeId>)>,
    /// The key that a node is asked for by the input it takes now; looked at while something is rolled back.
    fetched: Option<Key>,
    /// Stores that were taken in and are not acknowledged yet: by whom, from whom, and how far that one's
    /// directory had come.
    taken: FxHashMap<(NodeId, NodeId, OpId), (Identity, u64)>,
    /// By hearer, speaker and the speaker's identity, how far that directory had come by what the hearer
    /// acknowledged: so much it has to remember, whatever its own disk says of it.
    owed: FxHashMap<(NodeId, NodeId, Identity), u64>,
    strict: bool,
    /// Nodes may join and leave.
    changes: bool,
    /// Puts that a node was given and has not minted yet.
    given: Vec<(NodeId, Noted)>,
    /// Events that were minted twice, the first of which nobody else knew of then.
    again: FxHashSet<Dot>,
    /// What homes held until their disk lost it unseen. It may have been acknowledged before, and so the
    /// hints that it covers may still go. One entry a disk fault, of which a run has few.
    lost: Vec<(NodeId, Key, Siblings)>,
}

/// The puts of one key.
#[derive(Clone, Debug)]
struct Puts {
    homes: Vec<NodeId>,
    puts: Vec<Put>,
    by_dot: FxHashMap<Dot, usize>,
}

#[derive(Clone, Debug)]
struct Put {
    dot: Dot,
    /// What its client had read.
    read: VersionVector,
    value: Option<Bytes>,
    acknowledged: bool,
    /// How many disks were lost that held it.
    lost: usize,
    /// The tombstone went that it was, or that overwrote it.
    collected: bool,
}

/// What an input says of the put it may become.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    key: Key,
    read: VersionVector,
    value: Option<Bytes>,
}

impl Monitor {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            w: cluster.settings.w,
            keys: FxHashMap::default(),
            dots: FxHashSet::default(),
            written: FxHashSet::default(),
            operations: FxHashMap::default(),
            heard: FxHashSet::default(),
            rolled_back: Vec::new(),
            fetched: None,
            taken: FxHashMap::default(),
            owed: FxHashMap::default(),
            strict: cluster.settings.quorum == Quorum::Strict,
            changes: cluster.spares > 0,
            given: Vec::new(),
            again: FxHashSet::default(),
            lost: Vec::new(),
        }
    }

    /// Called before a node takes an input.
    pub(crate) fn note(&mut self, input: &Input) -> Option<Noted> {
        self.fetched = match input {
            Input::Peer(Envelope { message: Message::Fetch { key, .. }, .. })
                if !self.rolled_back.is_empty() =>
            {
                Some(key.clone())
            }
            _ => None,
        };
        let op = match input {
            Input::Client { op, .. } => op,
            Input::Peer(Envelope { message: Message::Forward { request, .. }, .. }) => request,
            _ => return None,
        };
        let ClientOp::Put { key, context, value } = op else { return None };
        Some(Noted { key: key.clone(), read: context.0.clone(), value: value.clone() })
    }

    /// Called before a message is handed in.
    pub(crate) fn delivered(&mut self, sent: &Envelope) {
        self.heard.insert((sent.to, sent.from, sent.identity));
        if let Message::Store { op, .. } = &sent.message {
            let said = (sent.identity, sent.position);
            let taken = self.taken.entry((sent.to, sent.from, *op)).or_insert(said);
            // Of one that is sent again either may be meant.
            *taken = said.min(*taken);
        }
    }

    /// Called when a message is sent, all it rests on being durable.
    pub(crate) fn sent(&mut self, sent: &Envelope) {
        let Message::Stored { op, result: Ok(()), .. } = &sent.message else { return };
        if let Some((identity, position)) = self.taken.remove(&(sent.from, sent.to, *op)) {
            let owed = self.owed.entry((sent.from, sent.to, identity)).or_default();
            *owed = position.max(*owed);
        }
    }

    /// Called after a node took an input, before anything of it is durable. `batch` is the last
    /// batch of its disk before that.
    pub(crate) fn handled(
        &mut self,
        hosts: &[Host],
        id: NodeId,
        noted: Option<Noted>,
        batch: u64,
        outputs: &[Output],
        breaches: &mut Vec<Effect>,
    ) {
        let mut breach = |check, what| {
            breaches.push(Effect::Breached(Breach { check, node: id, what }));
        };
        let host = &hosts[index(id)];
        let disk = &host.disk;
        if !self.rolled_back.is_empty() {
            self.has_noticed(host, id, outputs, &mut breach);
        }
        let waits = noted.is_some() && host.node.as_ref().is_some_and(|node| !node.is_proven());
        if disk.applied() == batch && !waits {
            return;
        }
        let mut given = noted;
        let minted = outputs.iter().filter_map(|output| match output {
            Output::Event(Event::Minted { op, dot: Some(dot) }) => Some((*op, *dot)),
            _ => None,
        });
        for (op, dot) in minted {
            let mine = |noted: &Noted| {
                let of_key = |changed: &Changed<'_>| changed.place.key == noted.key;
                disk.changed_since(batch).filter(of_key).any(|at| wrote(at, &dot, noted))
            };
            // Puts that waited are minted in the order in which they came.
            let waited = self.given.iter().position(|(node, noted)| *node == id && mine(noted));
            let noted = match (waited, given.take_if(|noted| mine(noted))) {
                (_, Some(noted)) => noted,
                (Some(at), None) => self.given.remove(at).1,
                (None, None) => continue,
            };
            dots_closed(disk.changed_since(batch), &noted.key, dot, &mut breach);
            self.enter(hosts, op, dot, noted);
        }
        if waits {
            self.given.extend(given.map(|noted| (id, noted)));
        }
        let goes = Goes::of(outputs);
        for changed in disk.changed_since(batch) {
            if !self.again.is_empty() {
                self.one_value_a_dot(changed, &mut breach);
            }
            let may_forget = goes.pruned || goes.idle && changed.place.role == Role::Home;
            if !may_forget {
                record_forgets(changed, &mut breach);
            }
            self.no_dominated_sibling(changed, &mut breach);
            self.collected_is_back(changed, &mut breach);
            self.gone(hosts, id, changed, goes, &mut breach);
        }
    }

    /// What a change took away.
    fn gone(
        &mut self,
        hosts: &[Host],
        id: NodeId,
        changed: Changed<'_>,
        goes: Goes,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let (place, Some(before)) = (changed.place, changed.before) else { return };
        let is_settled = match changed.now {
            Some(_) => goes.idle,
            None => goes.tombstone,
        };
        if is_settled && place.role == Role::Home {
            self.collected(hosts, &place.key, before, changed.now, breach);
        } else if changed.now.is_none() {
            self.removed(hosts, id, place, before, breach);
        }
    }

    /// A record is gone from where it was.
    fn removed(
        &self,
        hosts: &[Host],
        id: NodeId,
        place: &Place,
        before: &Record,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let Role::Hint(target) = place.role else {
            return self.dropped_is_held(hosts, id, &place.key, before, breach);
        };
        let own = hosts[index(id)].disk.present(&Place::home(place.key.clone()));
        // If it covers the hint that was adopted, in the same batch or before.
        if !own.is_some_and(|own| own.set.covers(&before.set)) {
            self.hint_accounting(hosts, id, target, &place.key, before, breach);
        }
    }

    fn enter(&mut self, hosts: &[Host], op: OpId, dot: Dot, noted: Noted) {
        let puts = self.keys.entry(noted.key.clone()).or_insert_with(|| {
            let view = hosts.iter().find_map(|host| host.node.as_ref()).map(|node| node.view());
            let homes = view.map(|view| view.homes(&noted.key)).unwrap_or_default().to_vec();
            // Where the ring changes, hints may be for any of them.
            let all = || (1..).map(NodeId).take(hosts.len()).collect();
            Puts {
                homes: if self.changes { all() } else { homes },
                puts: Vec::new(),
                by_dot: FxHashMap::default(),
            }
        });
        let place = puts.puts.len();
        puts.by_dot.insert(dot, place);
        let Noted { key, read, value } = noted;
        puts.puts.push(Put { dot, read, value, acknowledged: false, lost: 0, collected: false });
        self.operations.insert(op, (key, place));
    }

    /// A mint is durable: from now on others may hear of it. One that a crash undid before may come
    /// again, since nobody did.
    ///
    /// Nor does it matter if the first one was lost with all who knew of it: with a disk that was put back,
    /// say, before anything of it had arrived anywhere.
    fn minted(
        &mut self,
        hosts: &[Host],
        id: NodeId,
        (op, dot): (OpId, Dot),
        breach: &mut impl FnMut(&'static str, String),
    ) {
        if !self.dots.insert(dot) {
            if self.is_known_elsewhere(hosts, id, op, dot) {
                breach("dots-unique", format!("{dot} is minted a second time"));
            }
            self.again.insert(dot);
        }
        let put = self.operations.get(&op).and_then(|(key, at)| {
            let value = self.keys.get(key)?.puts[*at].value.clone()?;
            Some((key.clone(), value))
        });
        let Some((key, value)) = put else { return };
        if !self.written.insert((key.clone(), value.clone())) {
            let value = value.escape_ascii();
            breach("minted-once", format!("{value} of {key} becomes a second event, {dot}"));
        }
    }

    /// Whether anybody knows of the event `dot` beside the put that became it again.
    fn is_known_elsewhere(&self, hosts: &[Host], id: NodeId, op: OpId, dot: Dot) -> bool {
        let Some((key, now)) = self.operations.get(&op) else { return true };
        let Some(puts) = self.keys.get(key) else { return true };
        let is_acknowledged = puts
            .puts
            .iter()
            .enumerate()
            .any(|(at, put)| put.dot == dot && at != *now && put.acknowledged);
        let others = hosts.iter().enumerate().filter(|(at, _)| *at != index(id));
        let mut places = vec![Place::home(key.clone())];
        places.extend(
            puts.homes.iter().map(|home| Place { role: Role::Hint(*home), key: key.clone() }),
        );
        let knows = |host: &Host| {
            let records = places.iter().filter_map(|place| host.disk.present(place));
            records.into_iter().any(|record| covers(record, &dot))
        };
        is_acknowledged || others.into_iter().any(|(_, host)| knows(host))
    }

    /// The first event of a dot that was minted twice has turned up after all.
    fn one_value_a_dot(&self, changed: Changed<'_>, breach: &mut impl FnMut(&'static str, String)) {
        let Some(Record { set: Siblings::Dotted(set), .. }) = changed.now else { return };
        let Some(puts) = self.keys.get(&changed.place.key) else { return };
        for version in set.versions().iter().filter(|version| self.again.contains(&version.dot)) {
            let latest = puts.by_dot.get(&version.dot).map(|at| &puts.puts[*at].value);
            if latest.is_some_and(|value| *value != version.value) {
                let (dot, place) = (version.dot, changed.place);
                breach(
                    "dots-unique",
                    format!("{dot} names two values, the first of them in {place:?}"),
                );
            }
        }
    }

    fn has_noticed(
        &self,
        host: &Host,
        id: NodeId,
        outputs: &[Output],
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let unnoticed = self
            .rolled_back
            .iter()
            .find(|(node, identity, _)| *node == id && *identity == host.disk.meta().identity);
        let Some((_, identity, remember)) = unnoticed else { return };
        for output in outputs {
            match output {
                Output::Event(Event::Minted { dot: Some(dot), .. })
                    if dot.actor.identity == *identity && !remember.is_empty() =>
                {
                    let others = remember.len();
                    let what = format!("{dot} is minted, and {others} others remember more");
                    breach("rollback-minted", what);
                }
                Output::Send(Envelope {
                    message: Message::Fetched { answer: Answer::Known { votes: true, .. }, .. },
                    ..
                }) if self.strict && self.w > 1 => {
                    // What it acknowledged of this key W-1 other homes of the key hold. Who remembers more
                    // of it for the sake of other keys does not matter.
                    let homes = self.fetched.as_ref().zip(host.node.as_ref());
                    let homes = homes.map(|(key, node)| node.view().homes(key));
                    let is_home = |id: &&NodeId| homes.is_none_or(|homes| homes.contains(id));
                    let others = remember.iter().filter(is_home).count();
                    if others > self.w - 2 {
                        breach("rollback-voted", format!("{others} other homes remember more"));
                    }
                }
                _ => {}
            }
        }
    }

    fn no_dominated_sibling(
        &self,
        changed: Changed<'_>,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let Some(Record { set: Siblings::Dotted(set), .. }) = changed.now else { return };
        let [_, _, ..] = set.versions() else { return };
        let Some(puts) = self.keys.get(&changed.place.key) else { return };
        for above in set.versions() {
            let Some(put) = puts.by_dot.get(&above.dot).map(|at| &puts.puts[*at]) else { continue };
            let below = set.versions().iter().find(|below| put.read.contains(&below.dot));
            if let Some(below) = below {
                let (above, below, place) = (above.dot, below.dot, changed.place);
                let what = format!("{place:?} keeps {below} beside {above}, whose writer read it");
                breach("no-dominated-sibling", what);
            }
        }
    }

    fn hint_accounting(
        &self,
        hosts: &[Host],
        id: NodeId,
        target: NodeId,
        key: &Key,
        hint: &Record,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        if let Some(has) = self.lacks(hosts, id, target, key, &hint.set)
            && !moved_on(hosts, Epoch::GENESIS, target, key, &hint.set)
        {
            let what = format!("the hint of {key} for {target} goes, while its disk has {has}");
            breach("hint-accounting", what);
        }
    }

    /// Who drops a home record is no home of its key, and every home has all of it on its disk.
    fn dropped_is_held(
        &self,
        hosts: &[Host],
        id: NodeId,
        key: &Key,
        dropped: &Record,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let Some(node) = hosts[index(id)].node.as_ref() else { return };
        let homes = node.view().homes(key);
        if homes.contains(&id) {
            breach("dropped-is-held", format!("a home drops its record of {key}"));
        }
        for home in homes {
            // Its word may be old: of an epoch that this node is still in.
            if let Some(has) = self.lacks(hosts, id, *home, key, &dropped.set)
                && !moved_on(hosts, node.view().epoch(), *home, key, &dropped.set)
            {
                let what = format!("{key} is dropped, and the disk of its home {home} has {has}");
                breach("dropped-is-held", what);
            }
        }
    }

    /// What `home` durably has of a key of which node `id` was told that it has `set`, if it has less and
    /// nothing excuses it.
    fn lacks(
        &self,
        hosts: &[Host],
        id: NodeId,
        home: NodeId,
        key: &Key,
        set: &Siblings,
    ) -> Option<String> {
        let disk = &hosts[index(home)].disk;
        let kept = disk.durable(&Place::home(key.clone()));
        let covered = kept.is_some_and(|record| record.set.covers(set));
        // One whose disk was lost after it told: nobody had told the other of that.
        let unheard = !self.heard.contains(&(id, home, disk.meta().identity));
        let had =
            |(at, of, had): &(NodeId, Key, Siblings)| *at == home && of == key && had.covers(set);
        (!covered && !unheard && !self.lost.iter().any(had))
            .then(|| kept.map_or("nothing".to_owned(), |record| format!("{:?}", record.set)))
    }

    fn copies_kept(
        &self,
        hosts: &[Host],
        key: &Key,
        breach: &mut impl FnMut(&'static str, String),
    ) {
        let Some(puts) = self.keys.get(key) else { return };
        let held: Vec<_> = hosts.iter().map(|host| puts.held(&host.disk, key)).collect();
        for put in puts.puts.iter().filter(|put| put.acknowledged && !put.collected) {
            let copies = held.iter().filter(|held| covered(held, &put.dot)).count();
            if copies + put.lost < self.w {
                let (dot, lost, w) = (put.dot, put.lost, self.w);
                let what = format!(
                    "{dot} of {key} was acknowledged at W = {w} and is on {copies} disks; {lost} \
                     that held it were lost"
                );
                breach("copies-kept", what);
            }
        }
    }

    /// Called when a node tells an event, all it rests on being durable.
    pub(crate) fn told(
        &mut self,
        hosts: &[Host],
        id: NodeId,
        event: &Event,
        breaches: &mut Vec<Effect>,
    ) {
        let mut breach = |check, what| {
            breaches.push(Effect::Breached(Breach { check, node: id, what }));
        };
        match event {
            Event::Minted { op, dot: Some(dot) } => {
                self.minted(hosts, id, (*op, *dot), &mut breach);
            }
            Event::RolledBack { .. } => self.rolled_back.retain(|(node, ..)| *node != id),
            Event::Acknowledged { op, holders } => {
                self.acknowledged(hosts, *op, holders, &mut |what| breach("copies-at-ack", what));
            }
            _ => {}
        }
    }

    fn acknowledged(
        &mut self,
        hosts: &[Host],
        op: OpId,
        holders: &[NodeId],
        breach: &mut impl FnMut(String),
    ) {
        let is_first = |at: &usize| !holders[..*at].contains(&holders[*at]);
        if (0..holders.len()).filter(is_first).count() < self.w {
            breach(format!("a put is acknowledged at W = {}, held by {holders:?}", self.w));
        }
        let Some((key, at)) = self.operations.remove(&op) else { return };
        let Some(puts) = self.keys.get_mut(&key) else { return };
        puts.puts[at].acknowledged = true;
        let (dot, lost) = (puts.puts[at].dot, puts.puts[at].lost);
        let copies = puts.copies(hosts, &key, &dot);
        if copies + lost < self.w {
            let w = self.w;
            breach(format!(
                "{dot} of {key} is acknowledged at W = {w} and durable on {copies} hosts; {lost} \
                 disks that held it were lost"
            ));
        }
    }

    /// Called before a disk is emptied.
    pub(crate) fn before_wipe(&mut self, hosts: &[Host], node: NodeId) {
        self.rolled_back.clear();
        self.owed.retain(|(hearer, ..), _| *hearer != node);
        let host = &hosts[index(node)];
        for (key, puts) in &mut self.keys {
            let held = puts.held(&host.disk, key);
            for put in &mut puts.puts {
                put.lost += usize::from(covered(&held, &put.dot));
            }
        }
    }

    /// Called before a disk is put back to what it was.
    pub(crate) fn before_restore(&mut self, hosts: &[Host], node: NodeId, backup: &Disk) {
        let disk = &hosts[index(node)].disk;
        for (key, puts) in &mut self.keys {
            let (held, kept) = (puts.held(disk, key), puts.held(backup, key));
            for put in &mut puts.puts {
                put.lost += usize::from(covered(&held, &put.dot) && !covered(&kept, &put.dot));
            }
        }
        for (place, record) in disk.records().filter(|(place, _)| place.role == Role::Home) {
            self.lost.push((node, place.key.clone(), record.set.clone()));
        }
        let (identity, position) = (backup.meta().identity, backup.position());
        self.owed.retain(|(hearer, ..), _| *hearer != node);
        let remembers = |(at, host): &(usize, &Host)| {
            let heard = host.disk.durable_heard(node).map(|heard| heard.latest);
            let heard = heard.filter(|heard| heard.identity == identity);
            let hearer = u16::try_from(at + 1).map(NodeId).ok();
            let owed = hearer.and_then(|hearer| self.owed.get(&(hearer, node, identity)));
            heard.map(|heard| heard.position).max(owed.copied()) > Some(position)
        };
        let remember = hosts.iter().enumerate().filter(remembers);
        let remember =
            remember.filter_map(|(at, _)| u16::try_from(at + 1).ok().map(NodeId)).collect();
        // Who lost a disk may have lost what it remembered.
        self.rolled_back.clear();
        self.rolled_back.push((node, identity, remember));
    }

    /// Called before a disk misbehaves.
    pub(crate) fn before_disk_fault(&mut self, hosts: &[Host], node: NodeId, fault: &DiskFault) {
        let (role, key) = match fault {
            DiskFault::Damage(role, key) | DiskFault::Forget(role, key) => (role, key),
            DiskFault::Empty => {
                let records = hosts[index(node)].disk.records();
                for (place, record) in records.filter(|(place, _)| place.role == Role::Home) {
                    self.lost.push((node, place.key.clone(), record.set.clone()));
                }
                return self.before_wipe(hosts, node);
            }
            _ => return,
        };
        let place = Place { role: *role, key: key.clone() };
        // Durable or not: what is synced afterwards is damaged already.
        let Some(record) = hosts[index(node)].disk.present(&place) else { return };
        if *role == Role::Home {
            self.lost.push((node, key.clone(), record.set.clone()));
        }
        let Some(puts) = self.keys.get_mut(key) else { return };
        for put in &mut puts.puts {
            put.lost += usize::from(covers(record, &put.dot));
        }
    }

    /// The acknowledged puts of keys of which `node` durably knows less than before.
    pub(crate) fn forgot<'k>(
        &self,
        hosts: &[Host],
        node: NodeId,
        keys: impl IntoIterator<Item = &'k Key>,
        breaches: &mut Vec<Effect>,
    ) {
        for key in keys {
            self.copies_kept(hosts, key, &mut |check, what| {
                breaches.push(Effect::Breached(Breach { check, node, what }));
            });
        }
    }

    /// The acknowledged puts of all that `node`'s disk has otherwise than it would have had after a power
    /// cut before: after a crash, which changes nothing else.
    pub(crate) fn crashed(
        &self,
        hosts: &[Host],
        node: NodeId,
        before: &Disk,
        breaches: &mut Vec<Effect>,
    ) {
        let disk = &hosts[index(node)].disk;
        let places = disk.recovered_otherwise(before);
        self.forgot(hosts, node, places.iter().map(|place| &place.key), breaches);
        for place in places {
            // One whose removal was under way had been accounted for when it was removed.
            let held = before.durable(place).filter(|_| !before.is_changing(place));
            if let (Role::Hint(target), Some(hint), None) = (place.role, held, disk.durable(place))
            {
                self.hint_accounting(hosts, node, target, &place.key, hint, &mut |check, what| {
                    breaches.push(Effect::Breached(Breach { check, node, what }));
                });
            }
        }
    }

    /// Every acknowledged put of every key: at the end.
    pub(crate) fn sweep(&self, hosts: &[Host], node: NodeId, breaches: &mut Vec<Effect>) {
        let mut keys: Vec<_> = self.keys.keys().collect();
        keys.sort_unstable();
        self.forgot(hosts, node, keys, breaches);
    }
}

impl Puts {
    /// How many hosts would hold or cover the event after a power cut now.
    fn copies(&self, hosts: &[Host], key: &Key, dot: &Dot) -> usize {
        let place = Place::home(key.clone());
        let by_home =
            |host: &Host| host.disk.durable(&place).is_some_and(|record| covers(record, dot));
        let covers = |host: &&Host| by_home(host) || covered(&self.held(&host.disk, key), dot);
        hosts.iter().filter(covers).count()
    }

    /// What the disk's records of the key would have seen after a power cut now.
    fn held<'a>(&self, disk: &'a Disk, key: &Key) -> Vec<&'a VersionVector> {
        let home = disk.durable(&Place::home(key.clone()));
        let records = home.into_iter().chain(disk.durable_hints(key, &self.homes));
        let seen = records.filter_map(|record| match &record.set {
            Siblings::Dotted(set) => Some(set.context()),
            Siblings::Plain(_) => None,
        });
        seen.collect()
    }
}

fn covered(held: &[&VersionVector], dot: &Dot) -> bool {
    held.iter().any(|seen| seen.contains(dot))
}

fn covers(record: &Record, dot: &Dot) -> bool {
    matches!(&record.set, Siblings::Dotted(set) if set.context().contains(dot))
}
