//! The queries of docs/queries.md run in DuckDB on exported runs, and print what stands below them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/mod.rs"]
mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::has_duckdb;

/// Prints the rows of a query, which it reads, as lines.
const RUN: &str = r"
import duckdb, sys
found = duckdb.sql(sys.stdin.read())
rows = [found.columns] + [['' if v is None else str(v) for v in row] for row in found.fetchall()]
widths = [max(len(row[at]) for row in rows) for at in range(len(found.columns))]
for row in rows:
    print(' | '.join(field.ljust(width) for field, width in zip(row, widths)).rstrip())
";

/// A query, the curated run it is asked of, and what it is to print.
#[derive(Default)]
struct Query {
    run: String,
    sql: String,
    output: String,
}

fn queries(text: &str) -> Vec<Query> {
    let mut all: Vec<Query> = Vec::new();
    let (mut run, mut block) = (String::new(), "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("In `results/curated/") {
            run = rest.trim_end_matches("`.").to_owned();
        }
        match (block, line) {
            ("", "```sql") => {
                block = "sql";
                all.push(Query { run: run.clone(), ..Query::default() });
            }
            ("", "```text") => block = "text",
            (_, "```") => block = "",
            ("sql", line) => all.last_mut().unwrap().sql += &format!("{line}\n"),
            ("text", line) => all.last_mut().unwrap().output += &format!("{line}\n"),
            _ => {}
        }
    }
    all
}

/// What a query prints in this folder.
fn asked(query: &Query, dir: &Path) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", RUN]).current_dir(dir).env("PYTHONIOENCODING", "utf-8");
    let pipes = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = pipes.spawn().unwrap();
    python.stdin.take().unwrap().write_all(query.sql.as_bytes()).unwrap();
    let ran = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}\n{said}", query.sql);
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn every_query_of_the_docs_prints_what_stands_below_it() {
    if !has_duckdb() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = root.join("docs/queries.md");
    let mut text = std::fs::read_to_string(&page).unwrap();
    let all = queries(&text);
    assert_eq!(all.len(), 10);
    let dir = tempfile::tempdir().unwrap();
    for query in all {
        let to = dir.path().join(&query.run);
        let table = to.join("history.parquet");
        if !table.exists() {
            std::fs::create_dir(&to).unwrap();
            let run = root.join("results/curated").join(&query.run);
            let mut dyno = Command::new(env!("CARGO_BIN_EXE_dyno"));
            let words = ["export".as_ref(), run.as_os_str(), "--to".as_ref(), "parquet".as_ref()];
            let ran = dyno.args(words).arg("--out").arg(&table).output().unwrap();
            assert!(ran.status.success(), "{ran:?}");
        }
        let printed = asked(&query, &to);
        assert!(printed.lines().count() > 1, "it shows nothing:\n{}", query.sql);
        if std::env::var_os("UPDATE").is_some() {
            let shown = |output: &str| format!("{}```\n\n```text\n{output}```", query.sql);
            text = text.replace(&shown(&query.output), &shown(&printed));
        } else {
            assert_eq!(printed, query.output, "{} prints this, not that:", query.sql);
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(page, text).unwrap();
    }
}
