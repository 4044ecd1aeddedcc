//! Whether each request was told what it should have been, by what was in the way of an answer.
//!
//! | check | what |
//! |---|---|
//! | `answered` | who asks a node that runs, over links that carry, hears something in time |
//! | `stop-answers` | who had asked when its node was told to stop hears what became of it |
//! | `needless-refusal` | while nothing is wrong, and was not for a while, nobody is refused or timed out |
//!
//! Nor is anybody in a sloppy cluster while some nodes are down, and were for a while, and enough others run.

use std::collections::BTreeSet;
use std::time::Duration;

use dynamo_protocol::{NodeId, Quorum};

use super::clients::{Fate, Told};
use super::setup::Setup;
use crate::simulated::run::Violation;

/// Something in the way, for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) what: Trouble,
    pub(super) from: Duration,
    /// Its end, once there is one.
    pub(super) until: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It does not run, or is to end.
    Down(NodeId),
    /// It was asked to stop, and has not.
    Stops(NodeId),
    /// Links between nodes.
    Nodes,
    /// What joins a client and a node.
    Client(u16, NodeId),
}

impl Span {
    fn lasts(&self, from: Duration, until: Duration) -> bool {
        self.from <= from && self.until.is_none_or(|end| end > until)
    }

    fn overlaps(&self, from: Duration, until: Duration) -> bool {
        self.from <= until && self.until.is_none_or(|end| end >= from)
    }
}

/// What is wrong with what they were told.
pub(super) fn judge(setup: &Setup, told: &[Told], spans: &[Span]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for told in told {
        let why = match &told.fate {
            Fate::Done => continue,
            // A cap was reached: that is what it is for.
            Fate::Refused(why) if why.contains("the limit is") => continue,
            Fate::Refused(why) => format!("was refused: {why}"),
            Fate::TimedOut => "was told that there was no quorum in time".to_owned(),
            Fate::Unanswered => "was never answered".to_owned(),
            Fate::Broken(why) => format!("lost its connection: {why}"),
        };
        let check = if told.fate == Fate::Unanswered && was_free(told, spans) {
            "answered"
        } else if matches!(told.fate, Fate::Broken(_)) && was_open_at_stop(setup, told, spans) {
            "stop-answers"
        } else if was_calm(setup, told, spans) {
            "needless-refusal"
        } else {
            continue;
        };
        let who =
            told.client.map_or("the ring's client".to_owned(), |client| format!("client {client}"));
        let (begun, ended) = (told.begun.as_secs_f64(), told.ended.as_secs_f64());
        let what = format!(
            "{} by {who} through {} at {begun:.3} s {why}, at {ended:.3} s",
            told.what, told.node
        );
        violations.push(Violation::new(check, what));
    }
    violations
}

/// Whether nothing was in the way between a client and its node.
fn was_free(told: &Told, spans: &[Span]) -> bool {
    let Some(client) = told.client else { return false };
    let in_the_way = |span: &&Span| {
        let is_theirs = match span.what {
            Trouble::Down(node) | Trouble::Stops(node) => node == told.node,
            Trouble::Client(other, node) => (other, node) == (client, told.node),
            Trouble::Nodes => false,
        };
        is_theirs && span.overlaps(told.begun, told.ended)
    };
    !spans.iter().any(|span| in_the_way(&span))
}

/// Whether its node had surely heard of it when it was told to stop, and ended by itself.
fn was_open_at_stop(setup: &Setup, told: &Told, spans: &[Span]) -> bool {
    let reaches = 4 * Duration::from_micros(setup.weather.delay[1] + setup.weather.late);
    let reaches = reaches + Duration::from_millis(50);
    let stop = spans.iter().find(|span| {
        span.what == Trouble::Stops(told.node)
            && told.begun + reaches <= span.from
            && span.from <= told.ended
    });
    let Some(client) = told.client else { return false };
    let Some(Span { until: Some(stopped), .. }) = stop else { return false };
    let in_the_way = |span: &&Span| match span.what {
        Trouble::Down(node) => {
            node == told.node && span.from < *stopped && span.overlaps(told.begun, told.ended)
        }
        Trouble::Client(other, node) => {
            (other, node) == (client, told.node) && span.overlaps(told.begun, told.ended)
        }
        Trouble::Nodes | Trouble::Stops(_) => false,
    };
    !spans.iter().any(|span| in_the_way(&span))
}

/// Whether nothing was wrong anywhere, for a while; or nothing but that some were down all the time, for whom
/// others stand in.
fn was_calm(setup: &Setup, told: &Told, spans: &[Span]) -> bool {
    let Some(since) = told.begun.checked_sub(setup.aftermath()) else { return false };
    let wrong = spans.iter().filter(|span| span.overlaps(since, told.ended));
    let mut down = BTreeSet::new();
    for span in wrong {
        match span.what {
            Trouble::Down(node) if node != told.node && span.lasts(since, told.ended) => {
                down.insert(node);
            }
            _ => return false,
        }
    }
    let settings = &setup.settings;
    let stands_in = settings.quorum == Quorum::Sloppy;
    let needed = if stands_in { settings.r.max(settings.w) } else { setup.ids().len() };
    setup.ids().len() - down.len() >= needed
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn told(fate: Fate, [begun, ended]: [u64; 2]) -> Told {
        let [begun, ended] = [begun, ended].map(Duration::from_secs);
        Told { what: "get of k".to_owned(), client: Some(2), node: NODE, begun, ended, fate }
    }

    fn checks(told: Told, spans: &[(Trouble, u64, u64)]) -> Vec<String> {
        let spans: Vec<_> = spans
            .iter()
            .map(|(what, from, until)| Span {
                what: *what,
                from: Duration::from_secs(*from),
                until: Some(Duration::from_secs(*until)),
            })
            .collect();
        judge(&Setup::drawn(1), &[told], &spans).into_iter().map(|it| it.check).collect()
    }

    #[test]
    fn who_is_not_answered_is_excused_by_what_is_in_the_way_alone() {
        let silent = || told(Fate::Unanswered, [100, 102]);
        assert_eq!(checks(silent(), &[]), ["answered"]);
        assert_eq!(checks(silent(), &[(Trouble::Nodes, 101, 103)]), ["answered"]);
        assert_eq!(checks(silent(), &[(Trouble::Client(1, NODE), 101, 103)]), ["answered"]);
        assert!(checks(silent(), &[(Trouble::Client(2, NODE), 101, 103)]).is_empty());
        assert!(checks(silent(), &[(Trouble::Down(NODE), 99, 100)]).is_empty());
    }

    #[test]
    fn refusals_are_needless_when_nothing_is_wrong_and_was_not_for_a_while() {
        let refused = |why: &str| told(Fate::Refused(why.to_owned()), [100, 101]);
        assert_eq!(checks(refused("2 hosts are needed"), &[]), ["needless-refusal"]);
        assert!(checks(refused("6 siblings; the limit is 5"), &[]).is_empty());
        assert!(checks(refused("x"), &[(Trouble::Nodes, 98, 99)]).is_empty());
        assert_eq!(checks(refused("x"), &[(Trouble::Nodes, 8, 9)]), ["needless-refusal"]);
        assert_eq!(checks(told(Fate::TimedOut, [100, 101]), &[]), ["needless-refusal"]);
        assert!(checks(told(Fate::Done, [100, 101]), &[]).is_empty());
    }

    #[test]
    fn refusals_are_needless_where_others_could_have_stood_in() {
        let refused = || told(Fate::Refused("2 hosts are needed".to_owned()), [100, 101]);
        let setups = (0..100).map(Setup::drawn);
        let sloppy = setups.filter(|setup| setup.settings.quorum == Quorum::Sloppy);
        let setup = sloppy.max_by_key(|setup| setup.ids().len()).unwrap();
        let needed = setup.settings.r.max(setup.settings.w);
        let most = setup.ids().len() - needed;
        let checks = |down: usize, from| {
            let spans: Vec<_> = (2..2 + down as u16)
                .map(|node| Span {
                    what: Trouble::Down(NodeId(node)),
                    from: Duration::from_secs(from),
                    until: None,
                })
                .collect();
            judge(&setup, &[refused()], &spans).len()
        };
        assert!(most > 1);
        assert_eq!((checks(most, 9), checks(most + 1, 9)), (1, 0));
        assert_eq!(checks(1, 99), 0, "it went down a moment before");
    }

    #[test]
    fn who_had_asked_before_a_stop_hears_what_became_of_it() {
        let broken = || told(Fate::Broken("closed".to_owned()), [100, 102]);
        let stop = [(Trouble::Stops(NODE), 101, 102), (Trouble::Down(NODE), 102, 104)];
        assert_eq!(checks(broken(), &stop), ["stop-answers"]);
        let killed = [(Trouble::Down(NODE), 101, 104), (Trouble::Stops(NODE), 101, 102)];
        assert!(checks(broken(), &killed).is_empty(), "it was killed before it had ended");
    }
}
