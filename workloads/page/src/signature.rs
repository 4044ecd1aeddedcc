//! What findings of one kind have in common, and what came before them: by it they are gathered over many
//! runs.

use std::collections::{BTreeMap, BTreeSet};

use checker::history::History;
use checker::verdict::CheckReport;
use serde::Serialize;

use crate::faults::bands;
use crate::story::stories;

/// What findings that look alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Signature {
    /// The check that found them.
    pub check: String,
    /// What kind of thing they are.
    pub shape: String,
    /// The faults that were in force, and proven to be, from the first operation to where it shows: each
    /// name once, in order. None is said by none.
    pub during: Vec<String>,
}

/// A finding of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// What it has in common with others.
    pub signature: Signature,
    /// Its number in the run, from 1, as `dyno show --lost` takes it.
    pub number: usize,
    /// It in a few words.
    pub title: String,
    /// The faults that had been proven and were over before it began: each name once, in order.
    pub preceded_by: Vec<String>,
}

/// Every finding of a run that can be told, in the order in which they are numbered.
#[must_use]
pub fn sightings(checks: &BTreeMap<String, CheckReport>, history: &History) -> Vec<Sighting> {
    let bands = bands(history);
    let stories = stories(checks, history, &bands, usize::MAX);
    let sighting = |(number, story): (usize, crate::story::Story)| {
        let begun = story.ops.iter().map(|op| op.from).min().unwrap_or(u64::MAX);
        let over = bands.iter().filter(|band| band.is_proven && band.to < begun);
        let preceded: BTreeSet<&str> = over.map(|band| band.fault.as_str()).collect();
        let during: BTreeSet<String> = story.bands.into_iter().map(|band| band.fault).collect();
        Sighting {
            signature: Signature {
                check: story.check,
                shape: story.shape,
                during: during.into_iter().collect(),
            },
            number,
            title: story.title,
            preceded_by: preceded.into_iter().map(str::to_owned).collect(),
        }
    };
    (1..).zip(stories).map(sighting).collect()
}

#[cfg(test)]
mod tests {
    use checker::budget::Budget;
    use checker::siblings::cart::Cart;
    use checker::verdict::Checker;

    use super::*;
    use crate::html::samples::replaced;

    #[test]
    fn findings_that_look_alike_have_one_signature_whatever_they_befell() {
        let of = |key: &str, item: &str| {
            let history = replaced(key, item, "n1", "refused");
            let report = Cart::default().check(&history, &Budget::UNLIMITED);
            sightings(&[("cart".to_owned(), report)].into(), &history)
        };
        let (first, second) = (of("basket", "milk"), of("cart", "bread"));
        assert_eq!(first[0].signature, second[0].signature);
        assert_ne!(first[0].title, second[0].title);
        let Signature { check, shape, during } = &first[0].signature;
        assert_eq!(
            (check.as_str(), shape.as_str()),
            ("cart", "lost by a put that had not seen it")
        );
        assert_eq!(during, &["kill"]);
        assert_eq!((first[0].number, first[0].preceded_by.len()), (1, 0));
    }
}
