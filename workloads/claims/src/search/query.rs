//! Which searches a cell rests on.

use dynamo_protocol::{Quorum, Versioning};
use model::{Durability, Op, Script, Spec};

use crate::column::{Column, Outside};
use crate::property::Property;
use crate::setting::Setting;

/// What clients do, in every column: each script is the shortest that shows what it is there for.
///
/// | script | is there for |
/// |---|---|
/// | `p,gg` | a put, and somebody who gets twice: fresh, monotonic reads, new then old |
/// | `pp,g` | two blind puts of one client: monotonic writes |
/// | `pgd,g` | a client that reads its own put and deletes it: read your writes, resurrection |
/// | `pgp,g` | a put over what was read: writes follow reads, one version at a time |
/// | `p,p,g` | two puts at a time: siblings |
/// | `pgd`, `pgpg` | the same as the two before, of one client alone: where another one makes too many
/// states |
pub(crate) const SCRIPTS: [&str; 7] = ["p,gg", "p,p,g", "pp,g", "pgd,g", "pgp,g", "pgd", "pgpg"];

/// What is searched beside them where a member is replaced, which takes reductions away: less. Of three homes
/// of a strict cluster the newcomer is filled in these alone.
const MOVING: [&str; 3] = ["p", "pg", "p,g"];

/// What an overwrite takes with it that its client never read. Without a fault always, since it takes none;
/// with faults, which multiply its states, where clocks and not dots tell versions apart.
const OVERWRITES: &str = "p,pgp";

/// Three puts that nobody reads between: as many siblings. Where puts are dropped in the other columns, too;
/// where they are not it is found without a fault.
const BLIND: &str = "ppp,g";

/// What is searched with group commit, too: when a sync comes is another thing that may happen.
const GROUPED: [&str; 3] = ["p", "p,g", "pg"];

/// What a search does without, of what a property may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Without {
    /// Of nothing.
    Nothing,
    /// Nor here: but several steps share a sync, and what they let go waits for it.
    Group,
    /// Writes are acknowledged before they are durable.
    Sync,
    /// A directory that was emptied keeps its identity, and so nobody knows that it is another.
    Renewal,
}

/// A search: a setting, a column and a script come to a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) without: Without,
    pub(crate) script: Script,
    pub(crate) spec: Spec,
}

/// All searches of a column.
///
/// # Errors
/// Why there are none.
pub(crate) fn queries(setting: &Setting, column: Column) -> Result<Vec<Query>, Outside> {
    let bounds = column.bounds(setting)?;
    let query = |text: &str, without: Without| {
        let script: Script = text.parse().expect("a constant script is well formed");
        let mut spec = Spec::new(script.clone());
        spec.settings = setting.settings();
        spec.nodes = setting.n + bounds.more_nodes;
        (spec.faults, spec.shifts) = (bounds.faults, bounds.shifts.clone());
        spec.durability = match without {
            Without::Sync => Durability::Buffered,
            Without::Group => Durability::Group,
            Without::Nothing | Without::Renewal => Durability::Step,
        };
        spec.renew = without != Without::Renewal;
        Query { without, script, spec }
    };
    let may_drop = setting.versioning != Versioning::Dotted || column == Column::None;
    let more = [OVERWRITES, BLIND].into_iter().filter(|_| may_drop);
    let scripts = SCRIPTS.into_iter().chain(more);
    let mut queries: Vec<_> = scripts.map(|script| query(script, Without::Nothing)).collect();
    match column {
        Column::PowerCut => {
            // With a fallback there is no end of it: operations keep their names where outputs are held,
            // and so every attempt to hand over is another state.
            if setting.quorum == Quorum::Strict {
                queries.extend(GROUPED.map(|script| query(script, Without::Group)));
            }
            queries.push(query("p", Without::Sync));
        }
        Column::Wipe => queries.push(query("p,gg", Without::Renewal)),
        Column::Membership => {
            let filled = |mut query: Query| {
                query.spec.faults.exchanges = bounds.filled;
                query
            };
            queries.extend(MOVING.map(|script| filled(query(script, Without::Nothing))));
        }
        _ => {}
    }
    Ok(queries)
}

impl Query {
    /// What `property` would have to rest on for this search to say nothing against it: it is promised under
    /// that condition alone.
    pub(crate) fn breaks_condition(&self, property: Property) -> Option<&'static str> {
        match self.without {
            Without::Sync => return Some("a disk keeps what it said that it synced"),
            Without::Renewal => {
                return Some("no replica that lost its disk votes as if it had not");
            }
            Without::Nothing | Without::Group => {}
        }
        let rests_on_order = matches!(property, Property::Linearizable | Property::OneSibling);
        (rests_on_order && !is_orderly(&self.script))
            .then_some("one client at a time writes the key, and hands back what it read last")
    }
}

/// One client puts, and gets before every put but its first.
fn is_orderly(script: &Script) -> bool {
    let writes = |steps: &&Vec<Op>| steps.iter().any(|op| *op != Op::Get);
    let writers: Vec<_> = script.clients().iter().filter(writes).collect();
    let is_blind = |pair: &[Op]| pair[0] != Op::Get && pair[1] != Op::Get;
    writers.len() <= 1 && !writers.iter().any(|steps| steps.windows(2).any(is_blind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orderly_script_has_one_writer_that_reads_before_it_writes_again() {
        let is = |text: &str| is_orderly(&text.parse().unwrap());
        assert!(is("p,gg") && is("pgp,g") && is("pgd,g"));
        assert!(!is("pp,g") && !is("p,p,g") && !is("p,pgp"));
    }
}
