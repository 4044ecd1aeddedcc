//! Judges a register while its history is read: nothing is held but what the values need.
//!
//! `cargo run -p checker --example stream < history.jsonl`

use std::collections::HashMap;
use std::io::{BufReader, stdin};

use checker::history::op::{Kind, Process};
use checker::history::{HistoryError, Lines};
use checker::linearizable::zones::Zones;
use checker::spec::Values;
use serde_json::Value;

fn main() -> Result<(), HistoryError> {
    let mut lines = Lines::new(BufReader::new(stdin().lock()));
    let mut values = Values::new(Value::Null);
    let mut zones = Zones::new();
    let mut open = HashMap::new();
    // Times matter by their order: a line stands for the time of all that came at the same one.
    let (mut instant, mut time) = (0, 0);
    while let Some(op) = lines.next_op()? {
        if op.time > time {
            (instant, time) = (op.index as u32, op.time);
        }
        let Process::Client(process) = op.process else { continue };
        let value = values.intern_or_null(op.value.as_ref());
        let name = op.index as u32;
        match (op.kind, &*op.f) {
            (Kind::Invoke, "write") => {
                zones.write_begins(value, name, instant);
                open.insert(process, (name, instant, value));
            }
            (Kind::Invoke, _) => {
                open.insert(process, (name, instant, value));
            }
            (kind, f) => {
                let Some((call, begun, written)) = open.remove(&process) else { continue };
                match (kind, f) {
                    (Kind::Ok, "read") => zones.read_returns(value, call, begun, instant),
                    (Kind::Ok, "write") => zones.write_returns(written, call, instant),
                    (Kind::Fail, "write") => drop(zones.write_fails(written, call)),
                    _ => {}
                }
            }
        }
    }
    match zones.repeated() {
        Some((first, second)) => println!("ops {first} and {second} write the same value"),
        None => match zones.conflict() {
            Some(conflict) => println!("not linearizable: {conflict:?}"),
            None => println!("linearizable"),
        },
    }
    Ok(())
}
