//! Which versions stand in one line: each chain of versions that cover one another, as long as it is one.

use super::{Fate, Graph};

/// Of some versions, in order, the lane of each, and how many lanes there are.
pub(super) struct Lanes {
    pub of: Vec<usize>,
    pub count: usize,
    /// Of each row the lanes that go on past it.
    pub open: Vec<Vec<bool>>,
}

impl Lanes {
    /// `shown` are versions of the graph in order; `parents` of each those among them that it covers, by
    /// their places in `shown`.
    pub(super) fn of(graph: &Graph, shown: &[usize], parents: &[Vec<usize>]) -> Self {
        let mut last_use = vec![0; shown.len()];
        for (at, of) in parents.iter().enumerate() {
            of.iter().for_each(|parent| last_use[*parent] = at);
        }
        // Of each lane the version at its end.
        let mut tips: Vec<Option<usize>> = Vec::new();
        let (mut of, mut open) = (Vec::new(), Vec::new());
        for (at, from) in parents.iter().enumerate() {
            // What came just before has its lane to itself, or this would look like its successor.
            let goes_on = |tip: &usize| {
                last_use[*tip] >= at || tip + 1 == at || graph.fate(shown[*tip]) == Fate::Held
            };
            tips.iter_mut().for_each(|tip| *tip = tip.filter(goes_on));
            let ends = |tip: &Option<usize>| tip.is_some_and(|tip| from.contains(&tip));
            let lane = tips.iter().position(ends).or_else(|| tips.iter().position(Option::is_none));
            let lane = lane.unwrap_or_else(|| {
                tips.push(None);
                tips.len() - 1
            });
            tips[lane] = Some(at);
            of.push(lane);
            open.push(tips.iter().map(Option::is_some).collect());
        }
        Self { of, count: tips.len(), open }
    }
}
