//! Clients that run the same script: two states that differ only in which of them is which are met
//! once ("scalarsets": Ip and Dill, Better verification through symmetry, 1996).
//!
//! A client is known in a state by its place in the world, by the requests it made, by the values it put,
//! and by the numbers of its puts in what the monitor remembers. The core compares requests and
//! values with nothing and orders nothing by them, so a step of the one state is a step of the other with
//! those names exchanged; every property is about all clients alike. So only the *fingerprint* of a state is
//! one for all its twins: which of them is searched is the one that was met, and paths need no
//! translation.

use std::hash::Hasher;

use dynamo_protocol::Versioning;
use smallvec::SmallVec;

use crate::world::history::each;
use crate::world::script::{MAX_CLIENTS, MAX_PUTS, REQUESTS, Script, Versions, request, requested};
use crate::world::spec::{Setup, Spec};

/// Clients taken for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    /// For each client, whose place it takes.
    pub(crate) clients: SmallVec<[u8; MAX_CLIENTS]>,
    /// For each put, which one it is then.
    pub(crate) puts: SmallVec<[u8; MAX_PUTS]>,
}

/// All ways but the trivial one to take clients for others with the same script. None where values
/// are told apart by more than being equal: plain clocks order them, wall clocks are told by them.
pub(crate) fn swaps(spec: &Spec, setup: &Setup) -> Vec<Swap> {
    if !spec.reductions.symmetry || setup.settings.versioning != Versioning::Dotted {
        return Vec::new();
    }
    let clients = spec.script.clients();
    let mut all = vec![SmallVec::<[u8; MAX_CLIENTS]>::new()];
    for steps in clients {
        let longer = |taken: &SmallVec<[u8; MAX_CLIENTS]>| -> Vec<_> {
            let alike = (0..)
                .zip(clients)
                .filter(|(other, theirs)| *theirs == steps && !taken.contains(other));
            let with = |(other, _)| taken.iter().copied().chain([other]).collect();
            alike.map(with).collect()
        };
        all = all.iter().flat_map(longer).collect();
    }
    let is_trivial = |places: &SmallVec<[u8; MAX_CLIENTS]>| places.is_sorted();
    all.into_iter().filter(|places| !is_trivial(places)).map(|c| swap(&spec.script, c)).collect()
}

fn swap(script: &Script, clients: SmallVec<[u8; MAX_CLIENTS]>) -> Swap {
    let mut puts = SmallVec::from_elem(0, script.puts());
    for (client, place) in clients.iter().enumerate() {
        for step in 0..script.clients()[client].len() {
            let (from, to) = (script.put(client, step), script.put(usize::from(*place), step));
            if let (Some(from), Some(to)) = (from, to) {
                puts[usize::from(from)] = to;
            }
        }
    }
    Swap { clients, puts }
}

impl Swap {
    /// The same versions, as they are called then.
    pub(crate) fn versions(&self, versions: Versions) -> Versions {
        each(versions).fold(0, |all, put| all | 1 << self.puts[usize::from(put)])
    }
}

/// Hashes a value as what it would be with clients swapped: values and requests, which nothing else in a
/// host or a message looks like, are exchanged on their way into the hash.
pub(crate) struct Swapped<'s, H> {
    pub(crate) inner: H,
    pub(crate) swap: &'s Swap,
}

impl<H: Hasher> Hasher for Swapped<'_, H> {
    fn finish(&self) -> u64 {
        self.inner.finish()
    }

    /// A value is one letter; keys are longer, and nothing else is bytes.
    fn write(&mut self, bytes: &[u8]) {
        match *bytes {
            [letter] => match self.swap.puts.get(usize::from(letter.wrapping_sub(b'a'))) {
                Some(put) => self.inner.write(&[b'a' + put]),
                None => self.inner.write(bytes),
            },
            _ => self.inner.write(bytes),
        }
    }

    fn write_u64(&mut self, number: u64) {
        let is_request = (REQUESTS..REQUESTS + (1 << 16)).contains(&number);
        let client = |index: usize| self.swap.clients.get(index).copied();
        let (index, step) = requested(dynamo_protocol::RequestId(number));
        let swapped = client(index).filter(|_| is_request).map(|client| request(client, step).0);
        self.inner.write_u64(swapped.unwrap_or(number));
    }

    fn write_u8(&mut self, number: u8) {
        self.inner.write_u8(number);
    }

    fn write_u16(&mut self, number: u16) {
        self.inner.write_u16(number);
    }

    fn write_u32(&mut self, number: u32) {
        self.inner.write_u32(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.inner.write_usize(number);
    }

    fn write_isize(&mut self, number: isize) {
        self.inner.write_isize(number);
    }
}

#[cfg(test)]
mod tests {
    use crate::search::engine::Compact;
    use crate::world::model::DynamoModel;
    use crate::world::spec::Spec;
    use crate::world::state::{Action, World};

    fn model(script: &str) -> DynamoModel {
        DynamoModel::new(Spec::new(script.parse().unwrap())).unwrap()
    }

    /// Each client asks a node, and everything arrives that can.
    fn walk(model: &DynamoModel, asks: &[(u8, u8)]) -> World {
        let tables = &mut *model.lock();
        let mut world = model.first(tables);
        for (client, node) in asks {
            model.apply(tables, &mut world, Action::Invoke { client: *client, node: *node });
        }
        let mut actions = Vec::new();
        model.enabled(tables, &world, &mut actions);
        let arrives = actions.iter().find(|action| matches!(action, Action::Deliver(_)));
        model.apply(tables, &mut world, *arrives.unwrap());
        world
    }

    #[test]
    fn states_that_differ_in_which_client_is_which_have_one_fingerprint() {
        let twins = model("pg,pg");
        let print = |world: &World| twins.fingerprint(world, 0, &mut Vec::new());
        let (one, other) = (walk(&twins, &[(0, 0), (1, 1)]), walk(&twins, &[(1, 0), (0, 1)]));
        assert_ne!(one, other);
        assert_eq!(print(&one), print(&other));
        assert_ne!(print(&one), print(&walk(&twins, &[(0, 0), (1, 0)])), "another state");
    }

    #[test]
    fn clients_with_different_scripts_are_no_twins() {
        let others = model("pp,pg");
        let print = |world: &World| others.fingerprint(world, 0, &mut Vec::new());
        assert_ne!(
            print(&walk(&others, &[(0, 0), (1, 1)])),
            print(&walk(&others, &[(1, 0), (0, 1)]))
        );
    }
}
