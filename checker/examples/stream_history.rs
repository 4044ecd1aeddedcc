//! Streams a history too large to hold and counts what came of its operations:
//! `cargo run -p checker --example stream_history < history.jsonl`.

use std::collections::BTreeMap;
use std::io;

use checker::history::op::Kind;
use checker::history::{HistoryError, Lines};

fn main() -> Result<(), HistoryError> {
    let mut lines = Lines::new(io::stdin().lock());
    let mut counts: BTreeMap<(String, Kind), u64> = BTreeMap::new();
    while let Some(op) = lines.next_op()? {
        *counts.entry((op.f.into_owned(), op.kind)).or_default() += 1;
    }
    for ((f, kind), count) in &counts {
        println!("{f:>10} {kind:?}: {count}");
    }
    if let Some(torn) = lines.torn() {
        println!("line {} is cut short", torn.line);
    }
    Ok(())
}
