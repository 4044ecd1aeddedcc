//! The end of a run on a terminal: ten lines that say it all, then what was lost.

use std::fmt::Write;
use std::path::Path;

use checker::verdict::Verdict;
use serde_json::Value;

use crate::run::RECORDS;
use crate::run::page;
use crate::run::verdict::Document;

/// As many reasons and lost items are printed; `verdict.json` has them all.
const MOST_SHOWN: usize = 10;

/// The summary of a run whose folder is `dir`.
#[must_use]
pub fn summary(document: &Document, dir: &Path) -> String {
    let mut text = String::new();
    headline(&mut text, document);
    reasons(&mut text, document);
    work(&mut text, document);
    lost(&mut text, document);
    line(&mut text, "results", &dir.display().to_string());
    let page = dir.join(page::NAME);
    if page.exists() {
        line(&mut text, "page", &page.display().to_string());
    }
    line(&mut text, "again", &document.again);
    text
}

fn line(text: &mut String, name: &str, what: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {name:<10} {what}");
}

/// A verdict in a few words.
#[must_use]
pub fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "nothing acknowledged was lost",
        Verdict::Invalid => "the store broke its promise",
        Verdict::Unknown => "this run proves nothing",
    }
}

fn headline(text: &mut String, document: &Document) {
    let said = said(document.verdict);
    let _ = writeln!(text, "{}: {said}", document.verdict.as_str().to_uppercase());
    let three = format!(
        "property {}, coverage {}, harness {}",
        document.property, document.coverage, document.harness
    );
    line(text, "verdicts", &three);
}

fn reasons(text: &mut String, document: &Document) {
    let reasons = &document.reasons;
    let all = reasons.property.iter().chain(&reasons.coverage).chain(&reasons.harness);
    let all: Vec<_> = all.collect();
    for reason in all.iter().take(MOST_SHOWN) {
        line(text, "because", reason);
    }
    if all.len() > MOST_SHOWN {
        line(text, "", &format!("and {} more reasons", all.len() - MOST_SHOWN));
    }
}

fn work(text: &mut String, document: &Document) {
    let (ops, latency) = (document.ops, document.latency_ms);
    let work = format!(
        "{} ok, {} failed, {} unknown in {:.1} s; p50 {:.1} ms, p99 {:.1} ms",
        ops.ok, ops.fail, ops.info, document.seconds, latency.p50, latency.p99
    );
    line(text, "operations", &work);
    if let Some(served) = served(document) {
        line(text, "served", &served);
    }
    for (name, fault) in &document.faults {
        let during = format!("{} gets, {} puts ok", fault.ok_gets_during, fault.ok_puts_during);
        let skipped = match fault.skipped {
            0 => String::new(),
            count => format!(", {count} skipped"),
        };
        let steps = format!(
            "{} injected, {} proven, {} healed{skipped}; during it {during}",
            fault.installed, fault.proven, fault.healed
        );
        line(text, name.as_str(), &steps);
    }
    let count = |name: &str| document.counters.get(name).copied().unwrap_or_default();
    let fired = format!(
        "{} hints stored, {} delivered, {} read repairs, {} keys synced",
        count("hints_stored"),
        count("hints_delivered"),
        count("read_repairs"),
        count("keys_synced")
    );
    line(text, "counters", &fired);
    if let Some(records) = document.checks.get(RECORDS) {
        let number = |name: &str| records.details.get(name).and_then(Value::as_f64);
        let steps = number("steps").unwrap_or_default();
        let seconds = number("seconds").unwrap_or_default();
        let replayed = format!("{steps} steps of all nodes replayed equal in {seconds:.2} s");
        line(text, "records", &replayed);
    }
    for (name, not) in &document.not_entitled {
        let would = format!("{name}: {}; it would be {}", not.why, not.would_be);
        line(text, "not held to", &would);
    }
    if let Some(cart) = document.checks.get("cart") {
        let detail =
            |name: &str| cart.details.get(name).and_then(Value::as_u64).unwrap_or_default();
        let carts = format!(
            "{} adds acknowledged, {} lost,{} {} stale for a while, {} removals resurfaced",
            detail("acknowledged"),
            detail("lost_count"),
            match detail("unreadable_count") {
                0 => String::new(),
                count => format!(" {count} unreadable,"),
            },
            detail("stale"),
            detail("resurfaced")
        );
        line(text, "carts", &carts);
    }
}

/// `97.1 % were ok; least under partition: 81.0 %`
fn served(document: &Document) -> Option<String> {
    let share = |of: &Value| of["ok_share"].as_f64().map(|share| share * 100.0);
    let all = share(document.availability.get("overall")?)?;
    let windows = document.availability.get("windows").and_then(Value::as_array);
    let shares = windows.into_iter().flatten().filter_map(|row| Some((share(row)?, &row["fault"])));
    let least = shares.min_by(|one, other| one.0.total_cmp(&other.0));
    let least = least.map(|(share, fault)| {
        format!("; least under {}: {share:.1} %", fault.as_str().unwrap_or_default())
    });
    Some(format!("{all:.1} % of the operations were ok{}", least.unwrap_or_default()))
}

/// The items no home holds, and those that a home holds and a final read lacks.
fn lost(text: &mut String, document: &Document) {
    missing(text, document, "lost");
    missing(text, document, "unreadable");
}

fn missing(text: &mut String, document: &Document, name: &str) {
    let cart = document.checks.get("cart");
    let lost = cart.and_then(|cart| cart.details.get(name)).and_then(Value::as_array);
    let lost = lost.map_or(&[][..], Vec::as_slice);
    for item in lost.iter().take(MOST_SHOWN) {
        let reads = item["reads"].as_array().map_or(&[][..], Vec::as_slice);
        let shown: Vec<_> = reads.iter().take(5).map(|read| format!("#{read}")).collect();
        let more = if reads.len() > 5 { ", ..." } else { "" };
        let by = item["overwritten_by"].as_u64();
        let by = by.map(|by| format!(" overwritten by op #{by};")).unwrap_or_default();
        let what = format!(
            "{} of {}: added by op #{};{by} missing from reads {}{more}",
            name_of(&item["item"]),
            name_of(&item["key"]),
            item["add"],
            shown.join(", ")
        );
        line(text, name, &what);
    }
    let count = cart.and_then(|cart| cart.details.get(&format!("{name}_count"))?.as_u64());
    let count = count.unwrap_or_default().max(lost.len() as u64);
    if count > MOST_SHOWN as u64 {
        let first = if count > lost.len() as u64 { "the first of them " } else { "" };
        let more = count - MOST_SHOWN as u64;
        line(text, "", &format!("and {more} more, {first}in verdict.json"));
    }
}

/// A name as it is where it reads as one word, in quotes elsewhere: keys may be empty, have spaces, and what
/// a terminal takes for commands.
fn name_of(value: &Value) -> String {
    match value.as_str() {
        Some(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic()) => {
            name.to_owned()
        }
        Some(name) => dyno_page::words::quoted(name),
        None => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use checker::verdict::CheckReport;
    use serde_json::json;

    use super::*;
    use crate::interpreter::Counts;
    use crate::plan::{FaultName, Plan};
    use crate::run::claims::NotEntitled;
    use crate::run::coverage::FaultCoverage;
    use crate::run::setup::Setup;
    use crate::run::verdict::{Latency, Reasons};

    fn document() -> Document {
        let lost = json!([{ "key": "cart-1", "item": "item-7", "add": 12, "reads": [90, 91] }]);
        let cart = CheckReport::invalid("1 acknowledged add lost")
            .with("acknowledged", 30)
            .with("lost", lost)
            .with("lost_count", 1);
        let once = FaultCoverage { installed: 1, proven: 1, healed: 1, ..FaultCoverage::default() };
        let kill = FaultCoverage { ok_gets_during: 5, ok_puts_during: 4, ..once };
        Document {
            schema: 1,
            command: "test",
            verdict: Verdict::Invalid,
            property: Verdict::Invalid,
            coverage: Verdict::Valid,
            harness: Verdict::Valid,
            reasons: Reasons {
                property: vec!["cart: 1 acknowledged add lost".to_owned()],
                ..Reasons::default()
            },
            plan: "cart".to_owned(),
            seed: 4,
            again: "dyno test --seed 4".to_owned(),
            setup: Setup::of(&Plan::default()),
            judged: None,
            seconds: 31.0,
            ops: Counts { ok: 100, fail: 2, info: 1 },
            latency_ms: Latency { p50: 1.0, p99: 9.5, p999: 20.0 },
            checks: BTreeMap::from([("cart".to_owned(), cart)]),
            faults: BTreeMap::from([(FaultName::Kill, kill)]),
            counters: BTreeMap::from([("hints_stored".to_owned(), 3)]),
            memberships: Vec::new(),
            not_entitled: BTreeMap::from([(
                "set-fresh".to_owned(),
                NotEntitled { why: "plain gets", would_be: Verdict::Invalid, reason: None },
            )]),
            availability: BTreeMap::from([
                ("overall".to_owned(), json!({ "ok_share": 0.97 })),
                (
                    "windows".to_owned(),
                    json!([
                        { "fault": "kill", "ok_share": 0.9 },
                        { "fault": "pause", "ok_share": 0.801 },
                        { "fault": "clock", "ok_share": null },
                    ]),
                ),
            ]),
        }
    }

    #[test]
    fn the_end_of_a_run_says_it_all() {
        let expected = "\
INVALID: the store broke its promise
  verdicts   property invalid, coverage valid, harness valid
  because    cart: 1 acknowledged add lost
  operations 100 ok, 2 failed, 1 unknown in 31.0 s; p50 1.0 ms, p99 9.5 ms
  served     97.0 % of the operations were ok; least under pause: 80.1 %
  kill       1 injected, 1 proven, 1 healed; during it 5 gets, 4 puts ok
  counters   3 hints stored, 0 delivered, 0 read repairs, 0 keys synced
  not held to set-fresh: plain gets; it would be invalid
  carts      30 adds acknowledged, 1 lost, 0 stale for a while, 0 removals resurfaced
  lost       item-7 of cart-1: added by op #12; missing from reads #90, #91
  results    results/cart/x
  again      dyno test --seed 4
";
        assert_eq!(summary(&document(), Path::new("results/cart/x")), expected);
    }

    #[test]
    fn names_that_do_not_read_as_words_are_in_quotes() {
        assert_eq!(name_of(&json!("cart-1")), "cart-1");
        assert_eq!(name_of(&json!("")), "\"\"");
        assert_eq!(name_of(&json!("a b\u{1b}[2J")), "\"a b\\u{1b}[2J\"");
    }

    #[test]
    fn a_long_list_is_cut_short_and_says_so() {
        let mut document = document();
        document.reasons.coverage = (0..30).map(|index| format!("reason {index}")).collect();
        let text = summary(&document, Path::new("x"));
        assert!(text.contains("and 21 more reasons") && !text.contains("reason 29"), "{text}");
    }
}
