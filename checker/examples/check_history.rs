//! Checks a history in ten lines: `cargo run -p checker --example check_history -- FILE`.

use checker::budget::Budget;
use checker::history::op::{Kind, Op};
use checker::history::{History, HistoryError};
use checker::siblings::Siblings;
use checker::verdict::Checker;

fn main() -> Result<(), HistoryError> {
    let history = match std::env::args().nth(1) {
        Some(file) => History::read(file)?,
        None => lost_update()?,
    };
    let report = Siblings::default().check(&history, &Budget::UNLIMITED);
    println!("{}", report.verdict());
    if let Some(reason) = &report.reason {
        println!("{reason}");
    }
    println!("witness: {:?}", report.witness());
    Ok(())
}

/// Two clients put without having seen one another; the store keeps one.
fn lost_update() -> Result<History, HistoryError> {
    let put = |process, value: &str| Op::invoke(process, "put").key("cart").value(value);
    let get = Op::invoke(2, "get").key("cart").finally().at(20);
    let got = get.completed(Kind::Ok).value(vec!["b"]).at(21);
    let (a, b) = (put(0, "a").at(1), put(1, "b").at(2));
    let (a_done, b_done) = (a.completed(Kind::Ok).at(10), b.completed(Kind::Ok).at(11));
    History::numbered(vec![a, b, a_done, b_done, get, got])
}
