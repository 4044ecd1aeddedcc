//! Replays the records in a folder through the core, each by itself on one thread, and says how fast.
//!
//! `cargo run --release -p dynamo-node --example replay -- FOLDER`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use dynamo_node::record::{ReplayError, files, replay_file};

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("error: name a folder of records, as `dyno node serve --record FOLDER` leaves");
        return ExitCode::FAILURE;
    };
    match run(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &std::path::Path) -> Result<(), ReplayError> {
    let (mut all, started) = (0, Instant::now());
    for file in files(folder)? {
        let begun = Instant::now();
        let replayed = replay_file(&file)?;
        let seconds = begun.elapsed().as_secs_f64();
        let bytes = std::fs::metadata(&file).map_or(0, |meta| meta.len()) as f64;
        println!(
            "{}: {} steps of {:.0} bytes, {:.2} M steps/s",
            file.display(),
            replayed.steps,
            bytes / replayed.steps.max(1) as f64,
            replayed.steps as f64 / seconds / 1e6
        );
        if let Some(difference) = replayed.difference {
            println!("{difference}");
        }
        all += replayed.steps;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{all} steps in {seconds:.2} s: {:.2} M steps/s", all as f64 / seconds / 1e6);
    Ok(())
}
