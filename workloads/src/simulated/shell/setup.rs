//! What a seed draws, but for the chances within the run.

use std::time::Duration;

use dynamo_node::Durability;
use dynamo_node::simulation::Weather;
use dynamo_protocol::{
    Limits, Member, NodeId, Quorum, ReadMode, Settings, Timing, Versioning, View, ViewError,
};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::plan::seed::{Purpose, stream};

/// Which shares of the ring each node has.
const TOKENS: u16 = 8;

/// Everything that is fixed when a run begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// How many nodes.
    pub nodes: u16,
    /// What they are told.
    pub settings: Settings,
    /// When what they acknowledge is safe.
    pub durability: Durability,
    /// How links carry while clients work.
    pub weather: Weather,
    /// How long disks take for half of a commit, in microseconds.
    pub disks: [u64; 2],
    /// How many clients work at a time.
    pub workers: usize,
    /// On how many sessions with each node: requests of several clients are under way on one.
    pub sessions: u16,
    /// Whether one of them knows the ring, and asks the homes.
    pub driven: bool,
    /// Of how many keys.
    pub keys: usize,
    /// How long a client thinks, at the most.
    pub think: Duration,
    /// Of a thousand values so many are large.
    pub large: u32,
    /// How large, in bytes, at the most: as much as links carry before nodes lose their patience.
    pub largest: u64,
    /// How long clients work.
    pub time: Duration,
}

impl Setup {
    /// That of a seed.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut rng = stream(seed, Purpose::Ring);
        let (nodes, quorum) = *QUORUMS.choose(&mut rng).unwrap_or(&QUORUMS[0]);
        let millis = Duration::from_millis;
        let delay = *[[0, 300], [200, 2_000], [1_000, 8_000]].choose(&mut rng).unwrap_or(&[0, 300]);
        let disks = *[[0, 200], [100, 2_000], [1_000, 8_000]].choose(&mut rng).unwrap_or(&[0, 200]);
        let busy = rng.random_ratio(1, 5);
        Self {
            nodes,
            settings: draw_settings(quorum, &mut rng),
            durability: if rng.random_ratio(1, 5) {
                Durability::Buffered
            } else {
                Durability::Sync
            },
            weather: Weather { delay, split: rng.random_range(0..300), late: 4 * delay[1] },
            disks,
            workers: rng.random_range(2..=8),
            sessions: rng.random_range(1..=3),
            driven: rng.random_ratio(4, 10),
            keys: rng.random_range(1..=6),
            think: millis(if busy { 150 } else { rng.random_range(800..3_000) }),
            largest: if delay[1] > 1_000 { 80_000 } else { 400_000 },
            large: if rng.random_ratio(1, 4) { 100 } else { 4 },
            time: millis(if busy { 6_000 } else { rng.random_range(20_000..60_000) }),
        }
    }

    /// That of a seed whose run is short: it is made again for every point at which power can go.
    ///
    /// No disk may lose what was synced, and no node acknowledges what none has synced
    /// ([`Durability::Buffered`]): that promises nothing where power goes.
    #[must_use]
    pub fn brief(seed: u64) -> Self {
        let mut rng = stream(seed, Purpose::Disks);
        let durability = if rng.random_ratio(2, 5) { Durability::One } else { Durability::Sync };
        let drawn = Self::drawn(seed);
        // What one node alone has synced comes to the others by that.
        let anti_entropy = drawn.settings.anti_entropy || durability == Durability::One;
        Self {
            settings: Settings { anti_entropy, ..drawn.settings },
            durability,
            weather: Weather { delay: [0, 300], split: 0, late: 0 },
            disks: [0, 200],
            workers: 3,
            sessions: 1,
            driven: false,
            keys: 2,
            think: Duration::from_millis(80),
            large: 0,
            time: Duration::from_millis(900),
            ..drawn
        }
    }

    /// The same with other versions.
    #[must_use]
    pub fn with(mut self, versioning: Versioning) -> Self {
        self.settings.versioning = versioning;
        self
    }

    /// Its nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        (1..=self.nodes).map(NodeId).collect()
    }

    /// The ring they begin with.
    ///
    /// # Errors
    /// None, of one that was drawn.
    pub fn view(&self) -> Result<View, ViewError> {
        let members = self.ids().into_iter().map(|id| Member::new(id, TOKENS)).collect();
        View::genesis(&self.settings, members)
    }

    /// How long after some trouble it may still be felt: nodes find out that others are there again, and a
    /// client dials once more.
    #[must_use]
    pub fn aftermath(&self) -> Duration {
        let Timing { deadline, ping, exchange, .. } = self.settings.timing;
        2 * deadline + 4 * ping + 2 * exchange + Duration::from_secs(1)
    }

    /// How long a request of a client may take: longer than its node does to answer anything.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.settings.timing.deadline + Duration::from_secs(1)
    }
}

const QUORUMS: &[(u16, [usize; 3])] = &[
    (3, [3, 2, 2]),
    (3, [3, 2, 2]),
    (4, [3, 2, 2]),
    (5, [3, 2, 2]),
    (3, [3, 1, 3]),
    (3, [3, 3, 1]),
    (4, [3, 1, 2]),
    (3, [1, 1, 1]),
];

fn draw_settings(quorum: [usize; 3], rng: &mut ChaCha8Rng) -> Settings {
    let millis = Duration::from_millis;
    let few = rng.random_ratio(1, 4);
    Settings {
        quorum: if rng.random_ratio(3, 10) { Quorum::Strict } else { Quorum::Sloppy },
        read: if rng.random_ratio(2, 10) { ReadMode::Atomic } else { ReadMode::Plain },
        anti_entropy: rng.random_ratio(8, 10),
        limits: Limits {
            siblings: if few { rng.random_range(3..=6) } else { Limits::default().siblings },
            ..Limits::default()
        },
        timing: Timing {
            hedge: millis(rng.random_range(80..=150)),
            deadline: millis(rng.random_range(500..=1_200)),
            ping: millis(rng.random_range(100..=300)),
            handoff: millis(rng.random_range(100..=300)),
            exchange: millis(rng.random_range(500..=1_500)),
        },
        ..Settings::new(quorum)
    }
}
