//! `dyno claims predict`: how stale gets are likely to be.

use std::path::PathBuf;

use clap::Args;
use dynamo_node::cli::SettingFlags;
use dynamo_protocol::{Quorum, Settings};
use dyno_claims::observed::Observed;
use dyno_claims::pbs::{Coordinator, Curve, Fit, Prediction, k_fresh, predict, wilson};
use dyno_command::{document, output, within};
use serde_json::json;

use super::{refuse, runs};
use crate::plan::PlanError;
use crate::run::verdict::VALID;

/// Arguments of `dyno claims predict`.
#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// How long messages take: lnkd-ssd, lnkd-disk, ymmr or wan; all of them if not given.
    #[arg(long, value_name = "FIT")]
    fit: Option<Fit>,
    /// How many puts and gets are drawn.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000,
          value_parser = within(1_000_usize, 100_000_000))]
    trials: usize,
    /// Where every draw comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Predict by how long messages took in the runs in this folder, or below it, of their settings and not
    /// of those above; and show what was measured beside it. May be given several times.
    #[arg(long, value_name = "DIR", conflicts_with = "fit")]
    runs: Vec<PathBuf>,
    /// Print the predictions as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Waits that are told, in ms.
const WAITS: [f64; 6] = [0.0, 1.0, 5.0, 10.0, 50.0, 100.0];
/// Shares whose waits are told.
const SHARES: [f64; 3] = [0.99, 0.999, 0.9999];
/// Versions behind that are told.
const BEHIND: [u32; 4] = [1, 2, 3, 10];

impl PredictArgs {
    pub(super) fn check(&self) -> Result<(), PlanError> {
        self.settings().map(drop)
    }

    fn settings(&self) -> Result<Settings, PlanError> {
        let mut settings = Settings::default();
        self.settings.apply(&mut settings);
        settings.check().map_err(|error| PlanError(error.to_string()))?;
        if settings.n > 16 {
            return Err(PlanError(format!(
                "-n {}: a prediction is of 16 homes at most",
                settings.n
            )));
        }
        Ok(settings)
    }
}

pub(super) fn run(args: &PredictArgs) -> u8 {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    if !args.runs.is_empty() {
        return by_runs(args);
    }
    let Settings { n, r, w, quorum, .. } = settings;
    let fits = args.fit.map_or(Fit::ALL.to_vec(), |fit| vec![fit]);
    let mut curves = Vec::new();
    for fit in fits {
        for coordinator in [Coordinator::Outside, Coordinator::Home] {
            let what = Prediction { n, r, w, fit, coordinator };
            curves.push((what, predict(&what, args.trials, args.seed)));
        }
    }
    let behind = BEHIND.map(|k| (k, k_fresh(n, r, w, k)));
    if args.json {
        let curves: Vec<_> = curves.iter().map(|(what, curve)| as_json(what, curve)).collect();
        let behind = behind.map(|(k, share)| json!({ "k": k, "fresh": share }));
        let body = json!({
            "n": n, "r": r, "w": w, "trials": args.trials, "seed": args.seed, "curves": curves,
            "versions": behind,
        });
        output::say(document("claims predict", None, body));
        return VALID;
    }
    output::say(format_args!(
        "{n}/{r}/{w}: how likely a get shows a put that was acknowledged t ms before it began; {} trials, \
         seed {}",
        args.trials, args.seed
    ));
    output::say(
        "A prediction, never a guarantee: no faults, no repair, no queues (PBS, VLDB 2012).",
    );
    if quorum == Quorum::Sloppy && r + w > n {
        output::say(
            "Homes alone: a fallback that is counted makes a get stale that is never stale here.",
        );
    }
    output::say(head());
    for (what, curve) in &curves {
        output::say(line(what, curve));
    }
    let behind = behind.map(|(k, share)| format!("{k}: {:.1} %", share * 100.0)).join("  ");
    output::say(format_args!(
        "of the last k puts at least, if each reached just W homes:  {behind}"
    ));
    VALID
}

/// What runs measured, beside what is predicted of just their gets.
fn by_runs(args: &PredictArgs) -> u8 {
    let runs = match runs::read(&args.runs, &WAITS, &BEHIND) {
        Ok(runs) => runs,
        Err(error) => return refuse(&error),
    };
    if args.json {
        let runs: Vec<_> = runs.iter().map(run_as_json).collect();
        output::say(document("claims predict", None, json!({ "runs": runs })));
        return VALID;
    }
    for run in &runs {
        let Observed { name, setting, faults, is_simulated, fresh, within, .. } = &run.observed;
        let kind = if *is_simulated { "simulated" } else { "real" };
        output::say(format_args!("{name}: {setting}, {kind}; {faults}; predicted by {}", run.legs));
        for it in fresh.iter().filter(|it| it.all > 0) {
            let share = shares(it.good, it.all);
            let percent = |sum: f64| sum / it.all as f64 * 100.0;
            let predicted = it.predicted.map_or("nothing".to_owned(), |[low, high]| {
                format!("{:.2}-{:.2} %", percent(low), percent(high))
            });
            let t = format!("{} ms", it.t_ms);
            output::say(format_args!("  fresh at {t:>7}: {share}, predicted {predicted}"));
        }
        for it in within.iter().filter(|it| it.all > 0) {
            let share = shares(it.good, it.all);
            let predicted = k_fresh(setting.n, setting.r, setting.w, it.k) * 100.0;
            output::say(format_args!(
                "  of the last {:>2} puts: {share}, predicted at least {predicted:.2} %",
                it.k
            ));
        }
    }
    VALID
}

/// A share with Wilson's interval, 95 %.
fn shares(good: u64, all: u64) -> String {
    let [low, high] = wilson(good, all).map(|end| end * 100.0);
    let share = good as f64 / all as f64 * 100.0;
    format!("{share:6.2} % [{low:.2}, {high:.2}] of {all} gets")
}

fn run_as_json(run: &runs::Run) -> serde_json::Value {
    let Observed { name, setting, is_simulated, faults, fresh, within, .. } = &run.observed;
    let fresh = fresh.iter().map(|it| {
        let predicted = it.predicted.map(|sums| sums.map(|sum| sum / it.all.max(1) as f64));
        json!({
            "t_ms": it.t_ms, "fresh": it.good, "gets": it.all,
            "interval": wilson(it.good, it.all), "predicted": predicted,
        })
    });
    let within = within.iter().map(|it| {
        json!({
            "k": it.k, "within": it.good, "gets": it.all, "interval": wilson(it.good, it.all),
            "predicted": k_fresh(setting.n, setting.r, setting.w, it.k),
        })
    });
    json!({
        "run": name, "setting": setting, "simulated": is_simulated, "faults": faults, "legs": run.legs,
        "fresh": fresh.collect::<Vec<_>>(), "versions": within.collect::<Vec<_>>(),
    })
}

fn name(coordinator: Coordinator) -> &'static str {
    match coordinator {
        Coordinator::Outside => "outside",
        Coordinator::Home => "home",
    }
}

fn head() -> String {
    let waits = WAITS.map(|t| format!("{:>9}", format!("{t} ms"))).concat();
    let shares = SHARES.map(|p| format!("{:>12}", format!("t {:.2} %", p * 100.0))).concat();
    format!("{:10} {:8}{waits}{shares}", "fit", "through")
}

fn line(what: &Prediction, curve: &Curve) -> String {
    let waits = WAITS.map(|t| format!("{:>7.2} %", curve.fresh(t) * 100.0)).concat();
    let shares = SHARES.map(|p| format!("{:>9.2} ms", curve.wait(p))).concat();
    format!("{:10} {:8}{waits}{shares}", what.fit, name(what.coordinator))
}

fn as_json(what: &Prediction, curve: &Curve) -> serde_json::Value {
    json!({
        "fit": what.fit.word(),
        "coordinator": name(what.coordinator),
        "fresh": WAITS.map(|t| json!({ "t_ms": t, "share": curve.fresh(t) })),
        "waits": SHARES.map(|p| json!({ "share": p, "t_ms": curve.wait(p) })),
        "p999_ms": { "get": curve.get(0.999), "put": curve.put(0.999) },
    })
}
