//! Registers and siblings straight from the file, whatever its size: they need no history in hand.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::{CheckArgs, Spec};
use crate::budget::Meter;
use crate::formats::compact::{self, CompactError};
use crate::formats::packed::Packed;
use crate::formats::{self, Format};
use crate::linearizable::stream::check_registers;
use crate::siblings::Siblings;
use crate::siblings::stream::check_siblings;
use crate::verdict::{CheckReport, Verdict};

/// The spec that judged and what it said. `None` where the history has to be read in full: for
/// another spec, for what is wrong to be told or made small, and for files that are damaged.
pub(super) fn check(
    args: &CheckArgs,
    file: &Path,
    meter: &mut Meter,
) -> Option<(Spec, CheckReport)> {
    let format = args.format.0.or_else(|| format_of(file))?;
    let spec = args.spec.or_else(|| plain_registers(file, format, meter))?;
    let within = meter.clone();
    let open = || open(file, format, &within);
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
            let in_full = args.minimize && report.verdict == Verdict::Invalid;
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

fn siblings(
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>>,
    rules: &Siblings,
    meter: &mut Meter,
) -> Result<Option<CheckReport>, CompactError> {
    check_siblings(open()?, rules, meter)
}

fn open(file: &Path, format: Format, meter: &Meter) -> io::Result<Box<dyn Read + Send>> {
    let reader = BufReader::with_capacity(1 << 16, File::open(file)?);
    match format {
        Format::Compact => Ok(Box::new(reader)),
        Format::Jsonl => Ok(Box::new(Packed::new(reader, meter)?)),
        Format::Edn | Format::Json | Format::Etcd => {
            Err(io::Error::other("only our own forms are read as streams"))
        }
    }
}

fn format_of(file: &Path) -> Option<Format> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(4096).read_to_end(&mut head).ok()?;
    formats::detect(&head)
}

/// The register, if the first operations are plain reads and writes.
fn plain_registers(file: &Path, format: Format, meter: &Meter) -> Option<Spec> {
    const FIRST: usize = 1000;
    let mut ops = compact::Reader::new(open(file, format, meter).ok()?).ok()?;
    let mut seen = false;
    for _ in 0..FIRST {
        let Some(op) = ops.next_op().ok()? else { break };
        if op.is_client() {
            seen = true;
            if !matches!(&*op.f, "read" | "write") {
                return None;
            }
        }
    }
    if seen { Spec::named("register") } else { None }
}
