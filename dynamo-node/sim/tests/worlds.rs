//! Whole clusters under virtual time, driven by small clients that get and put, and by faults of
//! every kind: nothing that must hold may break, and a seed must reproduce its run.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod clients;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use clients::{Clients, SECOND, conditions, rest, run, settle, trouble};
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{
    Envelope, Identity, Key, NodeId, Place, Quorum, ReadMode, RequestId, Settings, Siblings,
};
use dynamo_sim::trace::{Cluster, Op, Step, Trace};
use dynamo_sim::{Bench, Effect, World, replay};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn check(cluster: Cluster, wipes: u32, seeds: std::ops::Range<u64>) {
    let mut counters = (0, 0, 0);
    for seed in seeds {
        let (mut world, clients) = run(cluster, seed, wipes, false);
        rest(&mut world);
        world.sweep();
        assert_eq!(world.breaches(), [], "seed {seed}");
        assert_eq!(world.bench().unrest(), None, "seed {seed}");
        assert!(clients.acknowledged > 20, "seed {seed}: {}", clients.acknowledged);
        assert_collected(&world, seed);
        counters.0 += world.counters().hints_delivered;
        counters.1 += world.counters().read_repairs;
        counters.2 += world.counters().tombstones_dropped;
    }
    let collects = cluster.settings.anti_entropy;
    assert_eq!(counters.2 > 0, collects, "tombstones go where homes compare what they hold");
    assert!(counters.1 > 0, "nothing was ever repaired");
    assert!(
        cluster.settings.quorum == Quorum::Strict || counters.0 > 0,
        "no hint was ever delivered"
    );
}

#[test]
fn a_sloppy_cluster_keeps_its_promises_through_every_fault() {
    check(Cluster::new(5, [3, 2, 2]), 1, 0..60);
    let settings = Settings::new([3, 2, 2]);
    check(Cluster { settings, ..Cluster::new(5, [3, 2, 2]) }, 1, 0..60);
}

#[test]
fn contexts_that_may_name_few_actors_forget_those_of_which_nothing_is_left() {
    let mut settings = Settings::new([3, 2, 2]);
    settings.limits.actors = 12;
    let cluster = Cluster { settings, ..Cluster::new(5, [3, 2, 2]) };
    let mut forgotten = 0;
    for seed in 0..60 {
        let (mut world, _) = run(cluster, seed, 1, false);
        rest(&mut world);
        world.sweep();
        assert_eq!(world.breaches(), [], "seed {seed}");
        assert_eq!(world.bench().unrest(), None, "seed {seed}");
        forgotten += world.counters().idle_forgotten;
    }
    assert!(forgotten > 60, "{forgotten}");
}

#[test]
fn time_stops_the_moment_a_hint_is_stored_if_it_is_to_and_goes_on_once_the_hint_is_taken() {
    let cluster = Cluster::new(5, [3, 2, 2]);
    let mut world = World::new(conditions(cluster, 2), Arc::new(cluster.view().unwrap()), 3);
    assert_eq!(world.next(SECOND), None);
    let homes = |key: &str, world: &World| world.bench().view().homes(&Key::from(key)).to_vec();
    let away = NodeId(3);
    let mut keys = (0..).map(|number| format!("k{number}"));
    let mut next = |world: &World| keys.find(|key| homes(key, world)[1] == away).unwrap();
    world.kill(away);
    let put = |world: &mut World, key: &str| {
        let value = Some("v".into());
        let op = Op::Put { key: key.to_owned().into(), value, read: None, made_up: None };
        world.ask(homes(key, world)[0], op);
    };
    let [first, second] = [(); 2].map(|()| next(&world));
    put(&mut world, &first);
    while world.next(2 * SECOND).is_some() {}
    assert_eq!((world.now(), world.take_hint()), (2 * SECOND, None), "nobody asked for it");
    let stored = world.counters().hints_stored;
    assert!(stored > 0);
    world.stop_at_hints(true);
    put(&mut world, &second);
    while world.next(3 * SECOND).is_some() {}
    let now = world.now();
    assert!(now < 3 * SECOND && world.next(3 * SECOND).is_none() && world.now() == now);
    assert_eq!(world.counters().hints_stored, stored + 1);
    let (by, whom) = world.take_hint().unwrap();
    assert!(whom == away && !homes(&second, &world).contains(&by));
    world.stop_at_hints(false);
    while world.next(3 * SECOND).is_some() {}
    assert_eq!(world.now(), 3 * SECOND);
}

/// Nobody can be handed what cannot be read, and nobody waits for that.
#[test]
fn a_member_that_leaves_is_drained_though_a_record_of_it_is_damaged() {
    let cluster = Cluster::new(5, [3, 2, 2]);
    let mut world = World::new(conditions(cluster, 2), Arc::new(cluster.view().unwrap()), 3);
    let pass = |world: &mut World, until: u64| while world.next(until).is_some() {};
    pass(&mut world, SECOND);
    let key = "k";
    let homes = world.bench().view().homes(&Key::from(key)).to_vec();
    let [leaves, away] = [homes[0], homes[1]];
    let value = Some("v".into());
    let op = Op::Put { key: key.to_owned().into(), value, read: None, made_up: None };
    world.ask(leaves, op);
    pass(&mut world, 2 * SECOND);
    // It keeps what it has to hand on for as long as one of those is down that are to have it.
    world.kill(away);
    world.ask_for(Edit::Leave { node: leaves });
    pass(&mut world, 4 * SECOND);
    assert!(world.is_known(|ring| ring.epoch().0 == 2) && !world.is_drained(leaves));
    assert!(world.damage(leaves).is_some_and(|place| place.key == Key::from(key)));
    world.start(away);
    pass(&mut world, 20 * SECOND);
    assert!(world.is_drained(leaves));
}

#[test]
fn a_strict_cluster_keeps_its_promises_through_every_fault() {
    let settings = Settings { quorum: Quorum::Strict, ..Settings::default() };
    check(Cluster { settings, ..Cluster::new(4, [3, 2, 2]) }, 1, 0..40);
}

#[test]
fn a_wide_cluster_with_atomic_gets_keeps_its_promises_through_every_fault() {
    let settings = Settings { read: ReadMode::Atomic, ..Settings::new([5, 3, 3]) };
    check(Cluster { settings, ..Cluster::new(7, [5, 3, 3]) }, 2, 0..40);
}

#[test]
fn a_cluster_whose_ring_changes_keeps_its_promises_through_every_fault() {
    let counters = check_changing(Quorum::Sloppy, 0..60);
    let (epochs, dropped, adopted) = counters;
    assert!(epochs > 60 && dropped > 60 && adopted > 0, "{counters:?}");
}

#[test]
fn a_strict_cluster_whose_ring_changes_keeps_its_promises_through_every_fault() {
    let counters = check_changing(Quorum::Strict, 0..60);
    let (epochs, dropped, _) = counters;
    assert!(epochs > 60 && dropped > 60, "{counters:?}");
}

/// Changes of every kind at any time, beside faults. How many epochs nodes went on to, strays they dropped
/// and hints they adopted.
fn check_changing(quorum: Quorum, seeds: std::ops::Range<u64>) -> (u64, u64, u64) {
    let mut moved = (0, 0, 0);
    for seed in seeds {
        let settings = Settings { quorum, anti_entropy: seed % 3 > 0, ..Settings::new([3, 2, 2]) };
        let cluster = Cluster { spares: 2, settings, ..Cluster::new(4, [3, 2, 2]) };
        let view = Arc::new(cluster.view().unwrap());
        let mut world = World::new(conditions(cluster, seed), view, seed);
        let mut clients = Clients::new(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfa17);
        let mut wipes = 1;
        for round in 1..=10 {
            clients.run_until(&mut world, round * SECOND - SECOND / 2);
            for _ in 0..rng.random_range(0..4) {
                world.churn(rng.random());
                let until = world.now() + rng.random_range(0..SECOND / 4);
                clients.run_until(&mut world, until);
            }
            for _ in 0..rng.random_range(0..2) {
                trouble(&mut world, &mut rng, &mut wipes);
            }
            clients.run_until(&mut world, round * SECOND + SECOND / 2);
            if rng.random() {
                world.mend();
            }
        }
        settle(&mut world, 40);
        world.sweep();
        assert_eq!(world.breaches(), [], "seed {seed}");
        assert_eq!(world.bench().unrest(), None, "seed {seed}");
        rest(&mut world);
        world.sweep();
        assert_eq!(world.breaches(), [], "seed {seed}");
        moved.0 += world.counters().epochs;
        moved.1 += world.counters().strays_dropped;
        moved.2 += world.counters().hints_adopted;
        assert_at_home(&world, settings.anti_entropy, seed);
    }
    moved
}

/// Where everybody can say what it holds, no tombstone is left that has nothing to delete.
fn assert_collected(world: &World, seed: u64) {
    let nodes = || world.bench().cluster().ids();
    let collects = world.bench().cluster().settings.anti_entropy;
    if !collects || nodes().any(|id| world.bench().host(id).disk().meta().amnesiac) {
        return;
    }
    for id in nodes() {
        for (place, record) in world.bench().host(id).disk().records() {
            let Siblings::Dotted(set) = &record.set else { continue };
            let is_tombstone = set.versions().iter().all(|version| version.value.is_none());
            assert!(
                !is_tombstone || set.versions().len() > 1,
                "seed {seed}: {id} keeps a tombstone at {place:?}"
            );
        }
    }
}

/// Every home holds what any disk does, and nobody else holds anything.
fn assert_at_home(world: &World, anti_entropy: bool, seed: u64) {
    let view = Arc::clone(world.bench().view());
    for at in 0..4 {
        let key = Key::from(format!("k{at}").as_str());
        let place = Place::home(key.clone());
        let held = |id: NodeId| world.bench().host(id).disk().durable(&place).cloned();
        if anti_entropy {
            assert_eq!(world.bench().divided(&key), None, "seed {seed}: homes of {key} differ");
        }
        for id in world.bench().cluster().ids().filter(|id| !view.homes(&key).contains(id)) {
            assert_eq!(
                world.bench().host(id).node().and_then(|_| held(id)),
                None,
                "seed {seed}: {id} is no home of {key} and keeps it"
            );
        }
    }
}

#[test]
fn what_a_world_did_replays_to_the_same_states() {
    for seed in 0..6 {
        let (mut world, _) = run(Cluster::new(5, [3, 2, 2]), seed, 1, true);
        let trace = world.take_trace("a run").unwrap();
        let trace = Trace::parse(&trace.to_json()).unwrap();
        let replayed = replay::on_core(&trace).unwrap();
        assert!(replayed.steps > 2000 && replayed.compared > 1000, "{replayed:?}");
        assert_eq!(replay::on_sim(&trace).unwrap(), replayed);
    }
}

/// Not a test of its own: what the next one runs in other processes.
#[test]
fn a_seed_prints_its_hash() {
    let Ok(seed) = std::env::var("DYNAMO_SIM_TEST_SEED") else { return };
    let (world, _) = run(Cluster::new(5, [3, 2, 2]), seed.parse().unwrap(), 1, false);
    println!("hash={}", world.event_hash());
}

#[test]
fn a_seed_reproduces_its_run_in_another_process() {
    let hash_elsewhere = |seed: u64| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_seed_prints_its_hash", "--nocapture"])
            .env("DYNAMO_SIM_TEST_SEED", seed.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find_map(|line| Some(line.split_once("hash=")?.1.to_owned())).unwrap()
    };
    let hashes: BTreeMap<_, _> = (1..4).map(|seed| (hash_elsewhere(seed), seed)).collect();
    assert_eq!(hashes.len(), 3, "seeds differ");
    for (hash, seed) in hashes {
        assert_eq!(hash_elsewhere(seed), hash, "seed {seed}");
    }
}

/// Delivers what is under way among `among`, and no other message, until there is none left.
fn deliver_among(bench: &mut Bench, among: &[NodeId]) {
    let is_among = |(_, envelope): &(u64, &Envelope)| {
        among.contains(&envelope.from) && among.contains(&envelope.to)
    };
    loop {
        let next = bench.flight().find(is_among).map(|(number, _)| number);
        let Some(message) = next else { return };
        bench.take(0, &Step::Deliver { message, again: false }).unwrap();
    }
}

#[test]
fn a_rolled_back_home_may_vote_on_a_key_whose_other_homes_remember_no_more() {
    let cluster = Cluster::new(6, [3, 2, 2]);
    let settings = Settings { quorum: Quorum::Strict, ..cluster.settings };
    let mut bench = Bench::new(Cluster { settings, counts: true, ..cluster }).unwrap();
    bench.watch();
    let homes = |key: &str| bench.view().homes(&Key::from(key)).to_vec();
    let keys: Vec<_> = (0..1_000).map(|at| format!("k{at}")).collect();
    let written = homes(&keys[0]);
    let home = written[0];
    // A key of which that one is a home too, and nobody else who is of the first.
    let others = |key: &&String| {
        let theirs = homes(key);
        theirs.contains(&home) && !theirs.iter().any(|id| written[1..].contains(id))
    };
    let other = keys.iter().find(others).unwrap().clone();
    let read = homes(&other);
    let elsewhere = *read.iter().find(|id| **id != home).unwrap();

    for id in bench.cluster().ids().collect::<Vec<_>>() {
        let incarnation = u64::from(id.0);
        bench.take(0, &Step::Start { node: id, incarnation, spare: None }).unwrap();
    }
    bench.take(0, &Step::BackUp { node: home }).unwrap();
    let put =
        Op::Put { key: keys[0].clone().into(), value: Some("v".into()), read: None, made_up: None };
    bench.take(0, &Step::Client { node: home, request: RequestId(1), op: put }).unwrap();
    deliver_among(&mut bench, &written);
    bench.take(0, &Step::Crash { node: home, keep: 0 }).unwrap();
    bench.take(0, &Step::Restore { node: home }).unwrap();
    let spare = Some(Identity(1_000));
    bench.take(0, &Step::Start { node: home, incarnation: 100, spare }).unwrap();
    deliver_among(&mut bench, &read);
    assert!(!bench.host(home).node().unwrap().is_proven(), "two members owe an answer");
    let get = Op::Get { key: other.into() };
    bench.take(0, &Step::Client { node: elsewhere, request: RequestId(2), op: get }).unwrap();
    let is_asked = bench.flight().any(|(_, envelope)| envelope.to == home);
    assert!(is_asked, "its vote is wanted");
    deliver_among(&mut bench, &read);
    let breaches: Vec<_> =
        bench.effects().filter(|effect| matches!(effect, Effect::Breached(_))).collect();
    assert!(breaches.is_empty(), "{breaches:?}");
}
