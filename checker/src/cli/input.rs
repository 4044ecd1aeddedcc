//! How the histories of others are to be read, by the arguments of `dyno check`.

use crate::formats::{Format, Options, Order};

/// The arguments on how to read the histories of others.
#[derive(Clone, Debug, clap::Args)]
pub struct InputArgs {
    /// Form of the files: auto, jsonl or compact (our own), edn (Jepsen's), json (its twin), etcd
    /// (text logs)
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = parse_format)]
    pub format: FormatArg,
    /// Read incomplete foreign histories too
    #[arg(long)]
    pub lenient: bool,
    /// Values are pairs of a key and a value: yes, no or auto
    #[arg(
        long,
        value_name = "WHETHER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "yes",
        default_value = "auto",
        value_parser = parse_keyed
    )]
    pub keyed: KeyedArg,
    /// What orders foreign events: lines, index or time; index where every op has one, else lines
    #[arg(long, value_name = "ORDER", value_parser = parse_order)]
    pub order: Option<Order>,
    /// A field of another name, as process=client
    #[arg(long = "field", value_name = "FIELD=NAME", value_parser = parse_field)]
    pub fields: Vec<(String, String)>,
}

impl InputArgs {
    /// The same for the reader.
    pub(super) fn options(&self) -> Options {
        Options {
            format: self.format.0,
            lenient: self.lenient,
            keyed: self.keyed.0,
            order: self.order,
            fields: self.fields.clone(),
        }
    }
}

/// The argument of `--format`: none for auto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatArg(pub Option<Format>);

/// The argument of `--keyed`: none for auto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedArg(pub Option<bool>);

fn parse_format(text: &str) -> Result<FormatArg, String> {
    Ok(FormatArg(match text {
        "auto" => None,
        "jsonl" => Some(Format::Jsonl),
        "compact" => Some(Format::Compact),
        "edn" => Some(Format::Edn),
        "json" => Some(Format::Json),
        "etcd" => Some(Format::Etcd),
        _ => return Err("the formats are auto, jsonl, compact, edn, json and etcd".to_owned()),
    }))
}

fn parse_keyed(text: &str) -> Result<KeyedArg, String> {
    match text {
        "auto" => Ok(KeyedArg(None)),
        "yes" | "true" => Ok(KeyedArg(Some(true))),
        "no" | "false" => Ok(KeyedArg(Some(false))),
        _ => Err("yes, no or auto".to_owned()),
    }
}

fn parse_order(text: &str) -> Result<Order, String> {
    match text {
        "lines" => Ok(Order::Lines),
        "index" => Ok(Order::Index),
        "time" => Ok(Order::Time),
        _ => Err("lines, index or time".to_owned()),
    }
}

fn parse_field(text: &str) -> Result<(String, String), String> {
    const FIELDS: [&str; 8] = ["type", "process", "f", "value", "key", "time", "index", "error"];
    match text.split_once('=') {
        Some((ours, theirs)) if FIELDS.contains(&ours) && !theirs.is_empty() => {
            Ok((ours.to_owned(), theirs.trim_start_matches(':').to_owned()))
        }
        _ => Err(format!(
            "a field of ours and its name there, as process=client; ours are {}",
            FIELDS.join(", ")
        )),
    }
}
