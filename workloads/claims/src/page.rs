//! The tables as pages, one for each way to tell versions apart: files that ask for nothing and run
//! nothing. A cell is a link to what it rests on.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use dynamo_protocol::Versioning;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::cells::cell::{Cell, Known};
use crate::cells::table::Table;
use crate::column::Column;
use crate::margin;
use crate::property::Property;
use crate::setting::Setting;
use crate::sources::{self, short};

/// Writes `index.html`, the pages of other ways to tell versions apart, and, beside it, `traces/` with a
/// trace for every refuted cell that has one.
///
/// # Errors
/// If the file system refuses.
pub fn write(tables: &[Table], folder: &Path) -> io::Result<()> {
    let traces = folder.join("traces");
    fs::create_dir_all(&traces)?;
    for table in tables {
        for (name, trace) in own_traces(table) {
            fs::write(traces.join(name), trace.to_json())?;
        }
    }
    for (versioning, name) in pages(tables) {
        let own = tables.iter().filter(|table| table.setting.versioning == versioning);
        let others = pages(tables);
        fs::write(folder.join(name), page(&own.collect::<Vec<_>>(), &others))?;
    }
    Ok(())
}

/// A page for each way to tell versions apart; the first of them is the index.
fn pages(tables: &[Table]) -> Vec<(Versioning, String)> {
    let has = |way: &&Versioning| tables.iter().any(|table| table.setting.versioning == **way);
    let ways = Versioning::ALL.iter().filter(has);
    let name = |(at, way): (usize, &Versioning)| match at {
        0 => (*way, "index.html".to_owned()),
        _ => (*way, format!("{way}.html")),
    };
    ways.enumerate().map(name).collect()
}

/// A page of tables, with links to the others.
fn page(tables: &[&Table], others: &[(Versioning, String)]) -> String {
    let style = [dyno_page::STYLE, include_str!("../assets/claims.css")].concat();
    let policy = format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'",
        dyno_page::hash(&style)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "What N, R and W promise" }
                style { (PreEscaped(style)) }
            }
            body.claims {
                header {
                    h1 { "What N, R and W promise" }
                    @if others.len() > 1 {
                        p { "Versions told apart: "
                            @for (way, name) in others { a href=(name) { (way) } " " }
                        }
                    }
                    p.note {
                        "Of the core " code { (short(&sources::core())) } ", searched by its own model. "
                        "A cell is a link to what it rests on. PROVEN: every interleaving within the bounds "
                        "that are told. REFUTED n: a path of n steps. HOLDS IF: proven with a condition, "
                        "refuted without. no c.ex.: no counterexample, not proven. n/a: not applicable. "
                        "not run: not searched. A star: filled from another cell."
                    }
                }
                main {
                    (overview(tables))
                    @for table in tables { (setting(table)) }
                }
            }
        }
    };
    page.into_string()
}

/// A row a setting, a column a property: in how many of the classes of faults that apply it is proven.
fn overview(tables: &[&Table]) -> Markup {
    html! {
        p.note {
            "In how many classes of faults, of those that apply, each property is proven. "
            "Red: refuted in one."
        }
        div.scroll tabindex="0" role="group" aria-label="All settings, may be scrolled" {
            table.cells.overview {
                thead { tr {
                    th scope="col" { "N/R/W" }
                    th scope="col" { "margin" }
                    @for property in Property::ALL {
                        th scope="col" title=(property.says()) { (property.word()) }
                    }
                } }
                tbody { @for table in tables { tr {
                    th scope="row" { a href=(format!("#{}", table.setting.slug())) {
                        (short_label(table))
                    } }
                    td { (table.margin) }
                    @for property in Property::ALL {
                        @let (text, class) = sum(table, *property);
                        td { span class=(format!("cell {class}")) { (text) } }
                    }
                } } }
            }
        }
    }
}

/// Without how versions are told apart, which all settings of a page have in common.
fn short_label(table: &Table) -> String {
    let Setting { n, r, w, quorum, read, .. } = table.setting;
    format!("{n}/{r}/{w} {quorum} {read}")
}

fn sum(table: &Table, property: Property) -> (String, &'static str) {
    let cells = Column::ALL.iter().map(|column| table.cell(property, *column));
    let (mut proven, mut refuted, mut all) = (0, false, 0);
    for cell in cells {
        let is_fresh = cell.stale.is_none();
        all += usize::from(!matches!(cell.known, Known::NotApplicable { .. }));
        proven += usize::from(is_fresh && matches!(cell.known, Known::Proven(_)));
        refuted |= matches!(cell.known, Known::Refuted(_) | Known::Broken { .. });
    }
    let class = match (proven == all, refuted) {
        (true, _) => "proven",
        (false, true) => "refuted",
        (false, false) => "unrefuted",
    };
    (format!("{proven}/{all}"), class)
}

fn setting(table: &Table) -> Markup {
    let slug = table.setting.slug();
    let is_default = table.setting.label() == "3/2/2 sloppy dotted plain";
    html! {
        details.setting id=(slug) open[is_default] {
            summary { (table.setting.label()) span.note { " margin " (table.margin) ", " (counts(table)) } }
            p.note { (margin::in_words(&table.setting)) }
            div.scroll tabindex="0" role="group" aria-label="Cells, may be scrolled" { (cells(table, &slug)) }
            @for property in Property::ALL { (row(table, *property, &slug)) }
        }
    }
}

fn counts(table: &Table) -> String {
    let mut counts = BTreeMap::new();
    for cell in &table.cells {
        *counts.entry(class(cell)).or_insert(0) += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    counts.join(", ")
}

fn class(cell: &Cell) -> &'static str {
    if cell.stale.is_some() { "stale" } else { cell.known.kind() }
}

fn cells(table: &Table, slug: &str) -> Markup {
    html! {
        table.cells {
            thead { tr {
                th scope="col" { "" }
                @for column in Column::ALL { th scope="col" title=(column.says()) { (column.word()) } }
            } }
            tbody {
                tr {
                    th scope="row" { "margin left" }
                    @for column in Column::ALL {
                        @let (left, what) = margin::left(&table.setting, *column);
                        td { span.cell title=(what) { (left) } }
                    }
                }
                @for property in Property::ALL {
                    tr {
                        th scope="row" title=(property.says()) { (property.word()) }
                        @for column in Column::ALL {
                            @let cell = table.cell(*property, *column);
                            @let place = format!("#{}", id(slug, table, cell));
                            td { a class=(format!("cell {}", class(cell))) href=(place) {
                                (cell.short()) @if cell.by.is_some() { "*" }
                            } }
                        }
                    }
                }
            }
        }
    }
}

/// Cells of a row that rest on the same have one place: that of the first of them.
fn id(slug: &str, table: &Table, cell: &Cell) -> String {
    let wording = cell.wording();
    let same = |column: &&Column| table.cell(cell.property, **column).wording() == wording;
    let first = Column::ALL.iter().find(same).copied().unwrap_or(cell.column);
    let word = cell.property.word().replace("<=", "-");
    format!("{slug}-{word}-{first}")
}

fn row(table: &Table, property: Property, slug: &str) -> Markup {
    let mut told: Vec<(&Cell, Vec<&str>)> = Vec::new();
    for column in Column::ALL {
        let cell = table.cell(property, *column);
        match told.iter_mut().find(|(other, _)| other.wording() == cell.wording()) {
            Some((_, columns)) => columns.push(column.word()),
            None => told.push((cell, vec![column.word()])),
        }
    }
    html! {
        @for (cell, columns) in told {
            details.why {
                summary {
                    b { (property.word()) } ", " (columns.join(", ")) ": "
                    span class=(class(cell)) { (cell.short()) }
                }
                div id=(id(slug, table, cell)) { (why(table, cell)) }
            }
        }
    }
}

fn why(table: &Table, cell: &Cell) -> Markup {
    html! {
        p { (cell.property.says()) ". " (cell.wording()) }
        @if let Some(place) = source(table, cell) {
            p.note { a href=(place) { "What that one rests on" } }
        }
        @if let Some(proof) = cell.known.proof() {
            p.note { "Reached in every search: " (proof.witness().join(", ")) "." }
        }
        @if let Known::HoldsIf { .. } = cell.known { p.note { "Without it:" } }
        @if let Some(refutation) = cell.known.refutation().filter(|_| cell.by.is_none()) {
            ol { @for step in &refutation.story { li { (step) } } }
            @if let Some(why) = &refutation.untraceable {
                p.note { "Not replayed: " (why) "." }
            } @else {
                p.note {
                    "Again: " code { "dyno replay traces/" (trace_name(table, cell)) " --on sim" }
                    " or " code { "--on local" }
                }
            }
        }
    }
}

/// Where the cell is told that this one was filled from, if it is one of this setting.
fn source(table: &Table, cell: &Cell) -> Option<String> {
    let (row, column) = cell.by.as_deref()?.split_once('/')?;
    let cell = table.cell(row.parse().ok()?, column.parse().ok()?);
    Some(format!("#{}", id(&table.setting.slug(), table, cell)))
}

/// One file for all cells of a setting that have one path.
fn trace_name(table: &Table, cell: &Cell) -> String {
    let own = cell.known.refutation().map(|it| (&it.bounds, &it.shows));
    let same = |other: &&Cell| other.known.refutation().map(|it| (&it.bounds, &it.shows)) == own;
    let first = table.cells.iter().find(same).unwrap_or(cell);
    let name = first.name().replace("<=", "-").replace('/', "-");
    format!("{}-{name}.json", table.setting.slug())
}

fn own_traces(table: &Table) -> BTreeMap<String, &dynamo_sim::trace::Trace> {
    let traces = table.cells.iter().filter_map(|cell| {
        let trace = cell.known.refutation()?.trace.as_deref()?;
        Some((trace_name(table, cell), trace))
    });
    traces.collect()
}
