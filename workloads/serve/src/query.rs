//! Which runs an address asks for, and in which order: `?plan=cart&state=invalid&sort=lost`.

use std::sync::Arc;

use crate::index::{Run, Runs, State};

/// As many runs are on a page of the list.
pub(crate) const PAGE: usize = 200;

/// What the list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Began,
    State,
    Plan,
    Seed,
    Ops,
    Lost,
    Seconds,
    P99,
}

impl Sort {
    /// All of them, with their word in the address.
    pub(crate) const ALL: [(Self, &'static str); 8] = [
        (Self::Began, "began"),
        (Self::State, "state"),
        (Self::Plan, "plan"),
        (Self::Seed, "seed"),
        (Self::Ops, "ops"),
        (Self::Lost, "lost"),
        (Self::Seconds, "seconds"),
        (Self::P99, "p99"),
    ];

    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(sort, _)| *sort == self).map_or("began", |(_, word)| word)
    }

    /// Does it begin with the largest, where nobody says?
    fn falls(self) -> bool {
        matches!(self, Self::Began | Self::Ops | Self::Lost | Self::Seconds | Self::P99)
    }
}

/// What is asked of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// Of this plan.
    pub plan: String,
    /// In this state.
    pub state: Option<State>,
    /// With this fault planned; `none` without any.
    pub fault: String,
    /// With this seed.
    pub seed: Option<u64>,
    /// With this text in the path, the reason, the cluster, the build or a failed check.
    pub q: String,
    /// In this order.
    pub sort: Sort,
    /// In the other direction than is usual for it.
    pub is_turned: bool,
    /// This page, from 0.
    pub page: usize,
}

impl Default for Query {
    fn default() -> Self {
        let (plan, fault, q) = Default::default();
        Self {
            plan,
            state: None,
            fault,
            seed: None,
            q,
            sort: Sort::Began,
            is_turned: false,
            page: 0,
        }
    }
}

/// The parameters there are.
const NAMES: &str = "plan, state, fault, seed, q, sort, turned, page, as";

impl Query {
    /// What an address asks for. Empty parameters, as forms send them, are as good as none.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(address.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match &*name {
                "plan" => query.plan = value.into_owned(),
                "fault" => query.fault = value.into_owned(),
                "q" => query.q = value.into_owned(),
                "state" => {
                    let state = State::ALL.into_iter().find(|state| state.as_str() == value);
                    let names = State::ALL.map(State::as_str).join(", ");
                    query.state =
                        Some(state.ok_or(format!("state={value}: it is one of {names}"))?);
                }
                "sort" => {
                    let sort = Sort::ALL.into_iter().find(|(_, word)| *word == value);
                    let names = Sort::ALL.map(|(_, word)| word).join(", ");
                    query.sort = sort.ok_or(format!("sort={value}: it is one of {names}"))?.0;
                }
                "seed" => query.seed = Some(number(&name, &value)?),
                "page" => query.page = number(&name, &value)?,
                "turned" => query.is_turned = value == "1",
                "as" => {}
                _ => return Err(format!("there is no parameter {name}: they are {NAMES}")),
            }
        }
        Ok(query)
    }

    /// The address that asks for this, as `?` and what follows it.
    pub(crate) fn address(&self) -> String {
        let mut text = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        let seed = self.seed.map(|seed| seed.to_string()).unwrap_or_default();
        let page = if self.page == 0 { String::new() } else { self.page.to_string() };
        let sort = if self.sort == Sort::Began { "" } else { self.sort.as_str() };
        for (name, value) in [
            ("plan", self.plan.as_str()),
            ("state", self.state.map_or("", State::as_str)),
            ("fault", &self.fault),
            ("seed", &seed),
            ("q", &self.q),
            ("sort", sort),
            ("turned", if self.is_turned { "1" } else { "" }),
            ("page", &page),
        ] {
            if !value.is_empty() {
                text.append_pair(name, value);
            }
        }
        text.finish()
    }

    /// The same, sorted by something, or in the other direction if it is so already.
    pub(crate) fn by(&self, sort: Sort) -> Self {
        let is_turned = self.sort == sort && !self.is_turned;
        Self { sort, is_turned, page: 0, ..self.clone() }
    }

    /// Does it begin with the largest?
    pub(crate) fn falls(&self) -> bool {
        self.sort.falls() != self.is_turned
    }

    /// The runs that are asked for, all pages of them, in order.
    pub(crate) fn of(&self, runs: &Runs) -> Vec<Arc<Run>> {
        let q = self.q.to_lowercase();
        let mut found: Vec<Arc<Run>> =
            runs.all.iter().filter(|run| self.is_asked(run, &q)).cloned().collect();
        match self.sort {
            Sort::Began => found.reverse(),
            Sort::State => found.sort_by_key(|run| run.state),
            Sort::Plan => found.sort_by(|a, b| a.plan.cmp(&b.plan)),
            Sort::Seed => found.sort_by_key(|run| run.seed),
            Sort::Ops => found.sort_by_key(|run| run.ops[0]),
            Sort::Lost => found.sort_by_key(|run| run.lost),
            Sort::Seconds => found.sort_by(|a, b| a.seconds.total_cmp(&b.seconds)),
            Sort::P99 => found.sort_by(|a, b| a.p99_ms.total_cmp(&b.p99_ms)),
        }
        if self.falls() {
            found.reverse();
        }
        found
    }

    fn is_asked(&self, run: &Run, q: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(q);
        let fault = match self.fault.as_str() {
            "" => true,
            "none" => run.faults.is_empty(),
            fault => run.faults.iter().any(|of| of == fault),
        };
        let text = || {
            has(&run.path)
                || run.reason.as_deref().is_some_and(has)
                || has(&run.cluster)
                || has(&run.build)
                || run.failed.iter().any(|check| has(check))
        };
        fault
            && (self.plan.is_empty() || run.plan == self.plan)
            && self.state.is_none_or(|state| run.state == state)
            && self.seed.is_none_or(|seed| run.seed == Some(seed))
            && (q.is_empty() || text())
    }
}

/// A number of an address.
pub(crate) fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}={value}: it is a whole number, not too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::samples::samples;

    #[test]
    fn an_address_asks_for_what_it_was_made_of() {
        let odd = Query {
            plan: "a plan & more=\u{e9}".to_owned(),
            state: Some(State::Invalid),
            fault: "kill".to_owned(),
            seed: Some(u64::MAX),
            q: "100% <b>".to_owned(),
            sort: Sort::Lost,
            is_turned: true,
            page: 7,
        };
        for query in [odd, Query::default()] {
            let address = query.address();
            assert_eq!(Query::parse(address.trim_start_matches('?')), Ok(query), "{address}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_there_is() {
        let refused = |address| Query::parse(address).unwrap_err();
        assert!(refused("state=bad").contains("invalid, unknown"));
        assert!(refused("sort=bad").contains("began, state"));
        assert!(refused("seed=-1").contains("whole number"));
        assert!(refused("plann=x").contains("they are plan"));
        assert_eq!(Query::parse("plan=&state=&sort="), Ok(Query::default()), "as a form sends it");
    }

    #[test]
    fn a_filter_gives_what_a_look_at_each_run_gives() {
        let runs = Runs::of(samples(300));
        for (address, holds) in [
            ("plan=cart", &(|run: &Run| run.plan == "cart") as &dyn Fn(&Run) -> bool),
            ("state=invalid", &|run| run.state == State::Invalid),
            ("fault=none", &|run| run.faults.is_empty()),
            ("fault=kill", &|run| run.faults.iter().any(|fault| fault == "kill")),
            ("seed=3", &|run| run.seed == Some(3)),
            ("q=ACKNOWLEDGED", &|run| run.reason.is_some()),
            ("plan=cart&state=valid", &|run| run.plan == "cart" && run.state == State::Valid),
        ] {
            let found = Query::parse(address).unwrap().of(&runs);
            let wanted = runs.all.iter().filter(|run| holds(run)).count();
            assert_eq!(found.len(), wanted, "{address}");
            assert!(wanted > 0 && found.iter().all(|run| holds(run)), "{address}");
        }
    }

    #[test]
    fn every_order_has_all_runs_and_turns_round() {
        let runs = Runs::of(samples(50));
        for (sort, _) in Sort::ALL {
            let query = Query { sort, ..Query::default() };
            let one: Vec<String> = query.of(&runs).iter().map(|run| run.path.clone()).collect();
            let mut other: Vec<String> =
                query.by(sort).of(&runs).iter().map(|run| run.path.clone()).collect();
            other.reverse();
            assert_eq!(one, other, "{sort:?}");
            assert_eq!(one.len(), 50);
        }
        let most = Query::parse("sort=lost").unwrap().of(&runs);
        assert!(most.is_sorted_by(|a, b| a.lost >= b.lost));
        let latest = Query::default().of(&runs);
        assert!(latest.is_sorted_by(|a, b| a.when() >= b.when()));
    }
}
