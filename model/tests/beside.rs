//! What an earlier search has computed of hosts is used by a later one, and changes nothing that it finds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use model::{Budget, DynamoModel, Faults, PROPERTIES, Search, Spec};

/// States, all and generated, layers, and every path that was found, in words.
type Told = (usize, u64, Vec<usize>, Vec<Option<Vec<String>>>);

fn told(model: &DynamoModel) -> Told {
    let outcome = Search::new(model, PROPERTIES.len()).run(&Budget::NONE, &mut |_| ());
    assert!(outcome.complete);
    let paths = outcome.found.iter().map(|path| path.as_ref().map(|path| model.trace(path)));
    let (progress, layers) = (outcome.progress, outcome.layers);
    (progress.states, progress.generated, layers, paths.collect())
}

#[test]
fn a_search_finds_the_same_beside_another_one_in_as_many_states() {
    let kinds = [
        Faults { crashes: 1, restarts: 1, ..Faults::default() },
        Faults { partitions: 1, ..Faults::default() },
        Faults { hedges: 1, ..Faults::default() },
        Faults::default(),
    ];
    let mut spec = Spec::new("pg,g".parse().unwrap()).sloppy();
    (spec.nodes, spec.settings.n) = (3, 2);
    (spec.settings.r, spec.settings.w) = (1, 2);
    let mut kin: Option<DynamoModel> = None;
    for faults in kinds {
        let spec = Spec { faults, ..spec.clone() };
        let alone = DynamoModel::new(spec.clone()).unwrap();
        let beside = DynamoModel::beside(spec, kin.as_ref()).unwrap();
        assert_eq!(told(&alone), told(&beside), "{faults:?}");
        if kin.is_some() {
            assert!(beside.hosts() > alone.hosts(), "the tables are those of the other, too");
        }
        kin = Some(beside);
    }
}

#[test]
fn what_clients_do_makes_another_family() {
    let spec = |script: &str| Spec::new(script.parse().unwrap());
    assert!(
        spec("p,g")
            .is_kin(&Spec { faults: Faults { crashes: 1, ..Faults::default() }, ..spec("p,g") })
    );
    assert!(!spec("p,g").is_kin(&spec("pg")));
    let renamed = Spec { faults: Faults { rollbacks: 1, ..Faults::default() }, ..spec("p,g") };
    assert!(!spec("p,g").is_kin(&renamed), "hosts count there");
}
