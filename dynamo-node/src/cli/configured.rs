//! Flags from elsewhere: what a command line leaves out may be in the environment, or in a file. Flags come
//! before the environment, that before the file, and that before what is the default.
//!
//! Whatever a flag of `serve` is called, `--context-key` say, is DYNAMO_CONTEXT_KEY in the environment and
//! `context-key` in the file. So there is one list of settings, that of the flags.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

/// Commands that take a configuration.
const COMMANDS: [&str; 4] = ["serve", "join", "replace", "check-config"];
/// What names of settings begin with in the environment.
const PREFIX: &str = "DYNAMO_";
/// The flag that names the file.
const FILE: &str = "config";

/// The command line with what it leaves out, the program's name first. `nodes` is the command whose
/// subcommands run nodes; its name stands before them where it is a subcommand itself.
///
/// # Errors
/// What is wrong with the file, in one line.
pub(super) fn configured(
    arguments: Vec<OsString>,
    nodes: &Command,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<OsString>, String> {
    let Some((at, command)) = running(&arguments, nodes) else { return Ok(arguments) };
    let given = &arguments[at + 1..];
    let mut settings: Vec<_> =
        command.get_arguments().filter(|arg| !names(arg).is_empty()).collect();
    settings.retain(|arg| !is_given(arg, given));
    let mut file = match file(given, environment) {
        Some(path) => read(&path)?,
        None => (String::new(), Table::new()),
    };
    let mut more = Vec::new();
    for arg in command.get_arguments() {
        let values = names(arg).into_iter().filter_map(|name| file.1.remove(&name)).collect();
        let values: Vec<Value> = values;
        if !settings.iter().any(|missing| missing.get_id() == arg.get_id()) {
            continue;
        }
        let named = names(arg).into_iter().find_map(|name| environment.get(&variable(&name)));
        if let Some(text) = named {
            more.extend(flags(arg, &Value::String(text.clone()), "the environment")?);
        } else {
            for value in values {
                more.extend(flags(arg, &value, &file.0)?);
            }
        }
    }
    if let Some(unknown) = file.1.keys().next() {
        return Err(format!("{}: `{unknown}` is no setting of a node", file.0));
    }
    let (before, after) = arguments.split_at(at + 1);
    Ok(before.iter().cloned().chain(more).chain(after.iter().cloned()).collect())
}

/// Where the word of a command stands that runs a node, and the command.
fn running<'a>(arguments: &[OsString], nodes: &'a Command) -> Option<(usize, &'a Command)> {
    let is_command = |word: &OsString| COMMANDS.iter().any(|command| word == command);
    let at = arguments.iter().skip(1).position(is_command)? + 1;
    // Before it may stand the name of the command that it is part of, and nothing else that is no flag.
    let before = &arguments[1..at];
    if before.iter().any(|word| *word != *"node" && !word.to_string_lossy().starts_with('-')) {
        return None;
    }
    Some((at, nodes.find_subcommand(&arguments[at])?))
}

/// What a setting is called: as a flag, without dashes, and how it may be called as well.
fn names(arg: &Arg) -> Vec<String> {
    let not_here = ["help", "version", FILE];
    let long = arg.get_long().map(str::to_owned).filter(|name| !not_here.contains(&name.as_str()));
    let aliases = arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned);
    let short = arg.get_short().filter(|_| arg.get_long().is_none()).map(|short| short.to_string());
    long.into_iter().chain(aliases).chain(short).collect()
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('-', "_").to_uppercase())
}

fn flag(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => String::new(),
    }
}

fn is_given(arg: &Arg, given: &[OsString]) -> bool {
    let long = names(arg).into_iter().filter(|name| name.len() > 1).map(|name| format!("--{name}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let flags: Vec<_> = long.chain(short).collect();
    given.iter().map(|word| word.to_string_lossy()).any(|word| {
        flags.iter().any(|flag| match word.strip_prefix(flag.as_str()) {
            // A short flag may have its value right behind it.
            Some(rest) => rest.is_empty() || rest.starts_with('=') || !flag.starts_with("--"),
            None => false,
        })
    })
}

/// Which file is named, by a flag or in the environment.
fn file(given: &[OsString], environment: &BTreeMap<String, String>) -> Option<OsString> {
    let flag = format!("--{FILE}");
    let named = given.iter().enumerate().find_map(|(at, word)| {
        if word == OsStr::new(&flag) {
            return given.get(at + 1).cloned();
        }
        word.to_string_lossy().strip_prefix(&format!("{flag}=")).map(OsString::from)
    });
    named.or_else(|| environment.get(&variable(FILE)).map(OsString::from))
}

fn read(path: &OsStr) -> Result<(String, Table), String> {
    let name = path.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let table = text.parse::<Table>().map_err(|error| {
        let before = |span: std::ops::Range<usize>| text[..span.start].matches('\n').count();
        let line = error.span().map_or(1, |span| before(span) + 1);
        format!("{name}: line {line}: {}", error.message())
    })?;
    Ok((name, table))
}

/// A setting as flags.
fn flags(arg: &Arg, value: &Value, from: &str) -> Result<Vec<OsString>, String> {
    let name = flag(arg);
    let wrong = |what: &str| Err(format!("{from}: {}: {what}", name.trim_start_matches('-')));
    let takes_value = !matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
    if !takes_value {
        let is_on = match value {
            Value::Boolean(is_on) => Some(*is_on),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        return match is_on {
            Some(true) => Ok(vec![name.into()]),
            Some(false) => Ok(Vec::new()),
            None => wrong("true or false"),
        };
    }
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(is) => Some(is.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    };
    let texts = match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    };
    let Some(texts) = texts else { return wrong("a text, a number, or a list of them") };
    Ok(texts.into_iter().map(|text| format!("{name}={text}").into()).collect())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::CommandLine;
    use super::*;

    fn line(words: &str, environment: &[(&str, &str)], file: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, file).unwrap();
        let words = words.replace("FILE", &path.display().to_string());
        let words = words.split_whitespace().map(OsString::from).collect();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let told = configured(words, &CommandLine::command(), &environment.collect())?;
        let told: Vec<_> = told.iter().map(|word| word.to_string_lossy()).collect();
        Ok(told.join(" ").replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let file = "id = 1\ncluster = \"file\"\nlisten = \"127.0.0.1:1\"\n";
        let environment = [("DYNAMO_CLUSTER", "env"), ("DYNAMO_LISTEN", "127.0.0.1:2")];
        let told = line("p serve --config FILE --listen 127.0.0.1:3", &environment, file).unwrap();
        assert_eq!(told, "p serve --id=1 --cluster=env --config FILE --listen 127.0.0.1:3");
        let told = line("dyno node serve --config=FILE --cluster=c --id 2", &[], file).unwrap();
        assert_eq!(told, "dyno node serve --listen=127.0.0.1:1 --config=FILE --cluster=c --id 2");
    }

    #[test]
    fn lists_switches_and_short_flags_are_written_as_they_are() {
        let file = "members = [\"1\", \"2\"]\ngenesis = true\nn = 2\nexit-with-stdin = false\n";
        let told = line("p serve --config FILE -w1", &[("DYNAMO_W", "9")], file).unwrap();
        assert_eq!(told, "p serve --member=1 --member=2 --genesis -n=2 --config FILE -w1");
    }

    #[test]
    fn a_wrong_file_is_told_with_the_place() {
        let refused = |file| line("p serve --config FILE", &[], file).unwrap_err();
        assert!(refused("id = 1\nkluster = \"x\"").ends_with("`kluster` is no setting of a node"));
        assert!(refused("id = 1\nid = 2").contains("node.toml: line 2: "));
        assert!(refused("genesis = 3").ends_with("genesis: true or false"));
        assert!(refused("[id]\nx = 1").ends_with("id: a text, a number, or a list of them"));
        assert!(line("p serve --config nowhere", &[], "").unwrap_err().starts_with("nowhere: "));
    }

    #[test]
    fn other_commands_have_no_configuration() {
        let environment = [("DYNAMO_CLUSTER", "env")];
        for words in ["p get --at a k", "dyno test --nodes 3", "dyno show serve", "p"] {
            assert_eq!(line(words, &environment, "").unwrap(), words);
        }
    }
}
