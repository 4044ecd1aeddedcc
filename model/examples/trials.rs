//! The model layer of the mutant matrix, with nothing else of the harness built: each seeded bug in
//! the scenario that should find it, and the same scenario without it.
//!
//! `cargo run --release -p model --features mutants --example trials [NAME...]`, in a target directory
//! of its own.

use std::time::Duration;

use dynamo_protocol::mutant::{Mutant, activate};
use model::Budget;
use model::mutants::{Trial, trials};

fn main() -> Result<(), model::SpecError> {
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    for trial in trials() {
        if wanted.is_empty() || wanted.iter().any(|name| name == trial.mutant) {
            report(&trial)?;
        }
    }
    activate(None);
    Ok(())
}

fn report(trial: &Trial) -> Result<(), model::SpecError> {
    let time = Duration::from_secs(60);
    let budget = Budget { time, memory: 4 << 30, ..Budget::NONE };
    let mutant = Mutant::ALL.iter().find(|mutant| mutant.name() == trial.mutant).copied();
    activate(mutant);
    let found = trial.run(&budget)?;
    activate(None);
    let clean = trial.run(&budget)?;
    let killed = found.killed_by.unwrap_or("LIVES");
    let end = if found.complete { "whole" } else { "in part" };
    println!(
        "{:20} {killed:30} {} steps, {} states ({end}), {:.1} s; without: {}, {} states, {:.1} s; {}",
        trial.mutant,
        found.steps,
        found.states,
        found.seconds,
        clean.killed_by.unwrap_or("clean"),
        clean.states,
        clean.seconds,
        trial.searched.label(),
    );
    Ok(())
}
