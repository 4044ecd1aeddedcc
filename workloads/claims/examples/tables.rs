//! The tables without the rest of the harness, and how long they take: `tables 3 2 2 sloppy`,
//! `tables searches 3 2 2 sloppy STATES` for each search by itself, or `tables all 2 8000 DIR`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use dynamo_protocol::{Quorum, ReadMode, Settings, Versioning};
use dyno_claims::pbs::{Coordinator, Fit, Prediction, predict};
use dyno_claims::{Cache, Column, Setting, Table, Work, fill_across, hopeless, page, specs, text};
use dyno_command::output;
use model::{Budget, DynamoModel, PROPERTIES, Search};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["all", n, states, folder] => all(n.parse()?, states.parse()?, Path::new(folder)),
        [n, r, w, quorum] => {
            let quorum: Quorum = quorum.parse()?;
            let settings =
                Settings { quorum, ..Settings::new([n.parse()?, r.parse()?, w.parse()?]) };
            settings.check()?;
            let started = Instant::now();
            let table = table(&Setting::of(&settings), 160_000, None)?;
            output::text(text::table(&table, 132));
            output::note(format_args!("the table: {:.1} s", started.elapsed().as_secs_f64()));
            trials();
            Ok(())
        }
        ["searches", n, r, w, quorum, states] => {
            let quorum: Quorum = quorum.parse()?;
            let settings =
                Settings { quorum, ..Settings::new([n.parse()?, r.parse()?, w.parse()?]) };
            searches(&Setting::of(&settings), states.parse()?)
        }
        _ => bail!("tables N R W QUORUM, or tables all N STATES DIR"),
    }
}

fn table(setting: &Setting, states: usize, cache: Option<&Cache>) -> anyhow::Result<Table> {
    let budget = Budget { states, hopeless, ..Budget::NONE };
    let work = Work { cache, budget, jobs: 2, kept_only: false, tell: &|_| () };
    Ok(Table::of(setting, &work.gather(specs(setting, Column::ALL))?))
}

/// What each search takes, and how many states each layer has.
fn searches(setting: &Setting, states: usize) -> anyhow::Result<()> {
    let budget = Budget { states, ..Budget::NONE };
    let mut kin = None;
    let mut specs: Vec<_> =
        Column::ALL.iter().flat_map(|column| specs(setting, &[*column])).collect();
    specs.sort_by_key(|spec| spec.script.to_string());
    for spec in specs {
        let label = spec.label();
        let model = DynamoModel::beside(spec, kin.as_ref())?;
        let outcome = Search::new(&model, PROPERTIES.len()).run(&budget, &mut |_| ());
        output::say(format_args!(
            "{} {:>7} states {:6.2} s {:6} hosts {label} {:?}",
            if outcome.complete { "whole" } else { "open " },
            outcome.progress.states,
            outcome.progress.elapsed.as_secs_f64(),
            model.hosts(),
            outcome.layers,
        ));
        kin = Some(model);
    }
    Ok(())
}

/// How long a million predictions take.
fn trials() {
    for fit in Fit::ALL {
        let what = Prediction { n: 3, r: 1, w: 1, fit, coordinator: Coordinator::Home };
        let started = Instant::now();
        let fresh = predict(&what, 1_000_000, 1).fresh(0.0);
        let seconds = started.elapsed().as_secs_f64();
        output::note(format_args!("{fit}: 10^6 trials {seconds:.2} s, {fresh:.3} fresh at once"));
    }
}

/// Dotted versions, every R and W, all N up to `n`.
fn all(n: usize, states: usize, folder: &Path) -> anyhow::Result<()> {
    let cache = Cache::of_user();
    let budget = Budget { states, hopeless, ..Budget::NONE };
    let tell = |line: &str| output::note(line);
    let work = Work { cache: cache.as_ref(), budget, jobs: 2, kept_only: false, tell: &tell };
    let mut settings = Vec::new();
    for n in 1..=n {
        for (r, w) in (1..=n).flat_map(|r| (1..=n).map(move |w| (r, w))) {
            for &quorum in Quorum::ALL {
                for &read in ReadMode::ALL {
                    let versioning = Versioning::Dotted;
                    settings.push(Setting { n, r, w, quorum, versioning, read });
                }
            }
        }
    }
    let gathered = work.gather(settings.iter().flat_map(|it| specs(it, Column::ALL)))?;
    let mut tables: Vec<_> = settings.iter().map(|it| Table::of(it, &gathered)).collect();
    fill_across(&mut tables);
    page::write(&tables, folder).with_context(|| folder.display().to_string())
}
