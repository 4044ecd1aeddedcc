//! Registers and siblings straight from the file, whatever its size: they need no history in hand.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::time::Duration;

use serde_json::Value;

use super::{CheckArgs, Spec};
use crate::consistency::linearizable::stream::check_registers;
use crate::formats::compact::{self, CompactError};
use crate::formats::packed::Packed;
use crate::formats::{Format, Source};
use crate::history::op::{Kind, Op, Process};
use crate::judge::budget::Meter;
use crate::judge::explain;
use crate::judge::verdict::{CheckReport, Verdict};
use crate::siblings::Siblings;
use crate::siblings::stream::check_siblings;

/// The spec that judged and what it said. `None` where the history has to be read in full: for
/// another spec, for what is wrong to be told or made small, and for files that are damaged.
pub(super) fn check(
    args: &CheckArgs,
    source: &Source,
    meter: &mut Meter,
) -> Option<(Spec, CheckReport)> {
    if args.initial.is_some() || !matches!(source.format(), Some(Format::Compact | Format::Jsonl)) {
        return None;
    }
    let spec = args.spec.or_else(|| plain_registers(source, meter))?;
    let within = meter.clone();
    let open = || open(source, &within);
    let checked = match spec.name() {
        "register" => check_registers(open, meter),
        "siblings" => siblings(open, &Siblings::default(), meter),
        "siblings-strict" => siblings(open, &Siblings::strict(), meter),
        "siblings-converged" => {
            siblings(open, &Siblings { converged: true, ..Siblings::default() }, meter)
        }
        _ => return None,
    };
    match checked {
        Ok(report) => {
            let report = report?;
            let in_full = match report.verdict() {
                Verdict::Invalid => args.minimize,
                // The ordinary reader says whether it is a history of another kind.
                Verdict::Unknown => report.judged() == 0,
                Verdict::Valid => false,
            };
            (!in_full).then_some((spec, report))
        }
        Err(CompactError::Budget { exhausted, ops }) => {
            let reason = format!("{exhausted} while reading: {ops} ops were read");
            Some((spec, CheckReport::unknown(reason).with("lines", ops)))
        }
        // The ordinary reader says what it is and where.
        Err(_) => None,
    }
}

/// The operations of a witness, which are looked for in the file again: no longer than it took to
/// judge it, or a second.
pub(super) fn witness(source: &Source, report: &CheckReport, meter: &Meter) -> Vec<String> {
    const LEAST: Duration = Duration::from_secs(1);
    let names = report.witness();
    if report.verdict() != Verdict::Invalid || names.is_empty() {
        return Vec::new();
    }
    let mut within = meter.within(meter.elapsed().max(LEAST));
    let mut find = || -> Option<Vec<String>> {
        let mut ops = compact::Reader::new(open(source, &within.clone()).ok()?).ok()?;
        let mut begun: HashMap<Process, Op> = HashMap::new();
        let mut lines = Vec::new();
        while lines.len() < names.len() {
            within.tick().ok()?;
            let Some(op) = ops.next_op().ok()? else { break };
            let named = names.contains(&op.index);
            if op.kind == Kind::Invoke {
                begun.insert(op.process, op);
            } else if let (Some(invoke), true) = (begun.remove(&op.process), named) {
                lines.push((invoke.index, explain::operation(&invoke, &op)));
            }
        }
        lines.sort_by_key(|(index, _)| *index);
        Some(lines.into_iter().map(|(_, line)| line).collect())
    };
    find().unwrap_or_default()
}

fn siblings(
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>>,
    rules: &Siblings,
    meter: &mut Meter,
) -> Result<Option<CheckReport>, CompactError> {
    check_siblings(open()?, rules, meter)
}

fn open(source: &Source, meter: &Meter) -> io::Result<Box<dyn Read + Send>> {
    let reader = source.reader().map_err(io::Error::other)?;
    let reader = BufReader::with_capacity(1 << 16, reader);
    match source.format() {
        Some(Format::Jsonl) => Ok(Box::new(Packed::new(reader, meter)?)),
        _ => Ok(Box::new(reader)),
    }
}

/// The register, if the first operations are plain reads and writes.
fn plain_registers(source: &Source, meter: &Meter) -> Option<Spec> {
    const FIRST: usize = 1000;
    let mut ops = compact::Reader::new(open(source, meter).ok()?).ok()?;
    let mut writes = false;
    for _ in 0..FIRST {
        let Some(op) = ops.next_op().ok()? else { break };
        let is_plain = match &*op.f {
            _ if !op.is_client() => continue,
            "read" => true,
            "write" => {
                writes = true;
                true
            }
            _ => false,
        };
        // Lists and maps may be of another object: the whole history tells.
        if !is_plain || matches!(op.value, Some(Value::Array(_) | Value::Object(_))) {
            return None;
        }
    }
    if writes { Spec::named("register") } else { None }
}
