//! The table for a terminal.

use std::fmt::Write as _;

use crate::cells::cell::{Cell, Known};
use crate::cells::table::Table;
use crate::column::Column;
use crate::margin;
use crate::property::Property;
use crate::sources::{self, short};

/// Room for the names of rows.
const NAMES: usize = 20;
/// Room for a cell.
const ROOM: usize = 11;

/// The table, in as many parts as it takes to fit into `width` columns; below it what every cell rests on.
#[must_use]
pub fn table(table: &Table, width: usize) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: what it promises, by the core {}",
        table.setting,
        short(&sources::core())
    );
    let _ = writeln!(text, "margin {}", margin::in_words(&table.setting));
    let columns = (width.saturating_sub(NAMES) / ROOM).max(1);
    for part in Column::ALL.chunks(columns) {
        grid(&mut text, table, part);
    }
    let _ = writeln!(
        text,
        "\nn/a: NOT APPLICABLE. no c.ex.: NO COUNTEREXAMPLE, not proven. not run: NOT SEARCHED.\n\
         A number is of steps. `*`: filled from another cell. `dyno claims why ROW/COLUMN` tells one.\n"
    );
    eaten(&mut text, table);
    for property in Property::ALL {
        row(&mut text, table, *property);
    }
    text
}

fn grid(text: &mut String, table: &Table, columns: &[Column]) {
    let _ = write!(text, "\n{:NAMES$}", "");
    for column in columns {
        let _ = write!(text, "{:ROOM$}", column.short());
    }
    let _ = write!(text, "\n{:NAMES$}", "margin left");
    for column in columns {
        let _ = write!(text, "{:<ROOM$}", margin::left(&table.setting, *column).0);
    }
    for property in Property::ALL {
        let _ = write!(text, "\n{property:NAMES$}");
        for column in columns {
            let cell = table.cell(*property, *column);
            let by = if cell.by.is_some() { "*" } else { "" };
            let _ = write!(text, "{:ROOM$}", format!("{}{by}", cell.short()));
        }
    }
    text.push('\n');
    trim(text);
}

/// No line ends in blanks.
fn trim(text: &mut String) {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    *text = lines.join("\n") + "\n";
}

fn eaten(text: &mut String, table: &Table) {
    let _ = writeln!(text, "What eats the margin");
    let mut told: Vec<(&str, Vec<Column>)> = Vec::new();
    for column in Column::ALL {
        let (_, what) = margin::left(&table.setting, *column);
        match told.iter_mut().find(|(other, _)| *other == what) {
            Some((_, columns)) => columns.push(*column),
            None => told.push((what, vec![*column])),
        }
    }
    for (what, columns) in told {
        let _ = writeln!(text, "  {}: {what}", words(&columns));
    }
}

fn row(text: &mut String, table: &Table, property: Property) {
    let _ = writeln!(text, "{property}: {}", property.says());
    let mut told: Vec<(String, Vec<Column>)> = Vec::new();
    for column in Column::ALL {
        let wording = table.cell(property, *column).wording();
        match told.iter_mut().find(|(other, _)| *other == wording) {
            Some((_, columns)) => columns.push(*column),
            None => told.push((wording, vec![*column])),
        }
    }
    for (wording, columns) in told {
        let _ = writeln!(text, "  {}: {wording}", words(&columns));
    }
}

fn words(columns: &[Column]) -> String {
    columns.iter().map(|column| column.word()).collect::<Vec<_>>().join(", ")
}

/// A cell, taken apart.
#[must_use]
pub fn why(cell: &Cell) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}", cell.name(), cell.property.says());
    let _ = writeln!(text, "under {}: {}", cell.column, cell.column.says());
    let _ = writeln!(text, "{}", cell.wording());
    if let Some(proof) = cell.known.proof() {
        let _ = writeln!(text, "  reached in every search: {}", proof.witness().join(", "));
        let _ = writeln!(text, "  core {}", proof.core());
    }
    if let Some(refutation) = cell.known.refutation() {
        let _ = writeln!(text, "  breaks: {}", refutation.shows);
        let _ = writeln!(text, "  core {}", refutation.core);
        for (at, step) in (1..).zip(&refutation.story) {
            let _ = writeln!(text, "  {at:>2}. {step}");
        }
        if let Some(why) = &refutation.untraceable {
            let _ = writeln!(text, "  not replayed: {why}");
        }
    }
    if let Known::Unrefuted { searches, .. } = &cell.known {
        for search in searches {
            let _ = writeln!(text, "  {}: {} states", search.bounds, search.states);
        }
    }
    text
}
