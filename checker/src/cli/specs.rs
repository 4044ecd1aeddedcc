//! The specifications `dyno check` knows by name, and which one a history calls for.

use crate::collections::{CounterBounds, SetFull, TotalQueue, UniqueIds};
use crate::consistency::causal::{Causal, Strength};
use crate::consistency::linearizable;
use crate::consistency::sequential::Sequential;
use crate::consistency::sessions::Sessions;
use crate::consistency::staleness::Staleness;
use crate::judge::verdict::Checker;
use crate::operation::availability::Availability;
use crate::operation::convergence::Convergence;
use crate::siblings::Siblings;
use crate::siblings::cart::Cart;
use crate::siblings::weaker::{Newest, Unrivalled};
use crate::spec::{Kv, Register};

/// What a history is judged by.
#[derive(Clone, Copy)]
pub struct Spec {
    name: &'static str,
    what: &'static str,
    make: fn() -> Box<dyn Checker>,
    /// Its histories are gets and puts of unique values with contexts.
    unique_values: bool,
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Spec {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// What it asks, in a few words.
    pub fn what(self) -> &'static str {
        self.what
    }

    /// Its checker.
    pub fn checker(self) -> Box<dyn Checker> {
        (self.make)()
    }

    /// Its checker where objects hold this value at first; an error where it has no such choice.
    pub fn beginning_with(self, initial: &serde_json::Value) -> Result<Box<dyn Checker>, String> {
        match self.name {
            "sequential-register" => {
                Ok(Box::new(Sequential::new(Register { initial: initial.clone() })))
            }
            "sequential-kv" => {
                let initial = crate::spec::text_of(initial)?;
                Ok(Box::new(Sequential::new(Kv { initial })))
            }
            name => linearizable::beginning_with(name, initial),
        }
    }

    /// Must the history be one of unique values and sound contexts?
    pub fn needs_unique_values(self) -> bool {
        self.unique_values
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|spec| spec.name == name).copied()
    }

    /// All of them.
    pub fn all() -> &'static [Self] {
        ALL
    }
}

/// A spec whose histories are of any kind.
const fn any(name: &'static str, what: &'static str, make: fn() -> Box<dyn Checker>) -> Spec {
    Spec { name, what, make, unique_values: false }
}

/// A spec of histories with siblings.
const fn siblings(name: &'static str, what: &'static str, make: fn() -> Box<dyn Checker>) -> Spec {
    Spec { name, what, make, unique_values: true }
}

/// The checker of a specification, of one of [`linearizable::NAMES`].
fn linearizable(name: &str) -> Box<dyn Checker> {
    linearizable::named(name).expect("the table names none but those there are")
}

static ALL: &[Spec] = &[
    any("register", "linearizable reads and writes", || linearizable("register")),
    any("cas-register", "the same with compare-and-set", || linearizable("cas-register")),
    any("mutex", "never held twice, whoever releases", || linearizable("mutex")),
    any("owned-mutex", "never held twice, released by its holder", || linearizable("owned-mutex")),
    any("multi-register", "linearizable transactions over registers", || {
        linearizable("multi-register")
    }),
    any("set", "a linearizable set", || linearizable("set")),
    any("queue", "a linearizable first-in-first-out queue", || linearizable("queue")),
    any("counter", "a linearizable counter", || linearizable("counter")),
    any("kv", "linearizable get, put and append of texts", || linearizable("kv")),
    any("sequential-register", "sequentially consistent registers", || {
        Box::new(Sequential::new(Register::default()))
    }),
    any("sequential-kv", "sequentially consistent get, put and append", || {
        Box::new(Sequential::new(Kv::default()))
    }),
    siblings("siblings", "no lost update, no false sibling, at the final reads", || {
        Box::new(Siblings::default())
    }),
    siblings("siblings-strict", "the same of every get, with session guarantees", || {
        Box::new(Siblings::strict())
    }),
    siblings("siblings-converged", "the same after anti-entropy: final reads are equal", || {
        Box::new(Siblings { converged: true, ..Siblings::default() })
    }),
    siblings(
        "newest",
        "what last-writer-wins keeps: the newest write, by clocks alike to 10 ms",
        || Box::new(Newest { skew: Newest::ONE_HOST, strict: false }),
    ),
    siblings(
        "unrivalled",
        "what a clock a version keeps: writes that none is concurrent to",
        || Box::new(Unrivalled),
    ),
    siblings("cart", "no acknowledged item is lost", || Box::new(Cart::default())),
    any("causal", "causal consistency (CC) of registers", || Box::new(Causal::default())),
    any("causal-convergent", "causal convergence (CCv) of registers", || {
        Box::new(Causal { strength: Strength::Convergent })
    }),
    any("causal-memory", "causal memory (CM) of registers", || {
        Box::new(Causal { strength: Strength::Memory })
    }),
    any("sessions", "the four session guarantees of registers", || Box::new(Sessions)),
    any("staleness", "how stale reads of registers are", || Box::new(Staleness::default())),
    any("convergence", "all final reads of a key agree", || Box::new(Convergence)),
    any("availability", "how operations fared under each fault", || {
        Box::new(Availability::default())
    }),
    any("set-full", "no added element is lost", || Box::new(SetFull::default())),
    any("counter-bounds", "every read lies between what is sure and what is possible", || {
        Box::new(CounterBounds)
    }),
    any("total-queue", "what is enqueued is dequeued, once", || Box::new(TotalQueue)),
    any("unique-ids", "no id is given twice", || Box::new(UniqueIds)),
];

/// For clap: the spec of a name, or which there are.
pub(super) fn parse(name: &str) -> Result<Spec, String> {
    Spec::named(name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|spec| spec.name).collect();
        format!("the specs are {}", names.join(", "))
    })
}
