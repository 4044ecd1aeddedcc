//! The shape of the sources: what a reader can hold in the head, and what must not be in them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests, at most: past it a file is more than one thing.
const FILE: usize = 700;
/// Lines of a function, at most.
const FUNCTION: usize = 70;
/// Columns. rustfmt keeps code within 100; comments and strings, which it leaves alone, get ten more.
const LINE: usize = 110;

/// Functions that may be longer, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    // A flat list of fields, each read once: splitting it would hide what belongs together.
    ("checker/src/history/op.rs", "visit_map"),
];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        let name = self.path.strip_prefix(root()).unwrap().to_string_lossy();
        name.replace('\\', "/")
    }

    /// Tests tell stories from top to bottom, and may be as long as those are.
    fn is_test(&self) -> bool {
        self.name().contains("/tests")
    }

    /// The lines before the tests, which come last.
    fn without_tests(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for package in ["checker", "dynamo-node", "model", "workloads"] {
        collect(&root().join(package), &mut sources);
    }
    assert!(sources.len() > 50, "the sources are not where they were");
    sources
}

fn collect(dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources.push(Source { path, text });
        }
    }
}

fn check(wrongs: Vec<String>) {
    assert!(wrongs.is_empty(), "\n{}", wrongs.join("\n"));
}

#[test]
fn a_file_can_be_held_in_the_head() {
    let long = sources().into_iter().filter_map(|source| {
        let lines = source.without_tests().count();
        (lines > FILE && !source.is_test()).then(|| format!("{}: {lines} lines", source.name()))
    });
    check(long.collect());
}

#[test]
fn a_function_fits_on_a_screen() {
    let mut long = Vec::new();
    for source in sources().into_iter().filter(|source| !source.is_test()) {
        for (name, lines) in functions(source.without_tests()) {
            let excused = LONG_FUNCTIONS.contains(&(source.name().as_str(), name.as_str()));
            if lines > FUNCTION && !excused {
                long.push(format!("{}: {name} has {lines} lines", source.name()));
            }
        }
    }
    check(long);
}

/// Functions and their lengths, told by rustfmt's indentation: the closing brace stands under `fn`.
fn functions<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    let mut done = Vec::new();
    for (number, line) in lines.enumerate() {
        let indent = line.len() - line.trim_start().len();
        let mut words = line.trim_start().split([' ', '(', '<']);
        let before = words.by_ref().take_while(|word| *word != "fn").count();
        if let Some(name) = words.next()
            && before <= 4
            && !line.trim_start().starts_with("//")
            && !line.trim_end().ends_with([';', '}'])
        {
            open.push((name.to_owned(), number, indent));
        }
        if line.trim_start() == "}" {
            while let Some((name, from, _)) = open.pop_if(|(_, _, at)| *at >= indent) {
                done.push((name, number - from + 1));
            }
        }
    }
    done
}

#[test]
fn lines_are_short_and_sources_are_ascii() {
    let mut wrongs = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            // A sample of a format is as long as it is.
            let is_sample = ["\"", "r#\""].iter().any(|quote| line.trim_start().starts_with(quote));
            if line.len() > LINE && !is_sample {
                wrongs.push(format!("{}:{number}: {} columns", source.name(), line.len()));
            }
            if !line.is_ascii() {
                wrongs.push(format!("{}:{number}: not ASCII", source.name()));
            }
        }
    }
    check(wrongs);
}

#[test]
fn nothing_is_left_for_later_without_an_owner() {
    // Spelt apart, or this file would find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut wrongs = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            if words.iter().any(|word| line.contains(word)) {
                wrongs.push(format!("{}:{number}: {}", source.name(), line.trim()));
            }
        }
    }
    check(wrongs);
}

#[test]
fn what_is_said_cannot_panic() {
    // Spelt apart, or this file would find itself. They panic when nobody reads or a disk is full.
    let words = [concat!("print", "ln!("), concat!("print", "!(")];
    let mut wrongs = Vec::new();
    for source in sources() {
        let name = source.name();
        // Tests and tools for those who work on the sources, and what cargo reads.
        let tools = ["/benches/", "/examples/", "build.rs"];
        let is_tool = tools.iter().any(|part| name.contains(part));
        if source.is_test() || is_tool {
            continue;
        }
        for (number, line) in (1..).zip(source.without_tests()) {
            if words.iter().any(|word| line.contains(word)) {
                wrongs.push(format!("{name}:{number}: use dyno_command::output: {}", line.trim()));
            }
        }
    }
    check(wrongs);
}

#[test]
fn no_source_knows_the_machine_it_was_written_on() {
    // Spelt apart, or this file would find itself.
    let paths = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let mut wrongs = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            if paths.iter().any(|path| line.contains(path)) {
                wrongs.push(format!("{}:{number}: {}", source.name(), line.trim()));
            }
        }
    }
    check(wrongs);
}

#[test]
fn functions_are_told_by_their_indentation() {
    let text =
        "fn a() {\n    let x = |y| {\n        y\n    };\n}\n\nimpl B {\n    fn c() {\n    }\n}\n";
    assert_eq!(functions(text.lines()), [("a".to_owned(), 5), ("c".to_owned(), 2)]);
}
