//! `get`, `put`, `delete`, `status`: one question to one node.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dyno_command::{Span, document, output, span_within};
use serde_json::{Value, json};

use super::Failure;
use super::security::AskTls;
use crate::client::{Admin, Client, ClientError, Written};
use crate::tls::Tls;

/// Whom to ask, and how long.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// The node's address, HOST:PORT.
    #[arg(long)]
    at: String,
    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout())]
    timeout: Span,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: AskTls,
}

/// Arguments of `get`.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// The key.
    key: String,
}

/// Arguments of `put`.
#[derive(Clone, Debug, Args)]
pub struct PutArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// The context that `get` printed: the versions it was printed with are overwritten.
    #[arg(long, default_value = "")]
    context: String,
    /// The key.
    key: String,
    /// The value.
    value: String,
}

/// Arguments of `delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// The context that `get` printed: the versions it was printed with are deleted.
    #[arg(long)]
    context: String,
    /// The key.
    key: String,
}

/// Arguments of `prune`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "When a key's context names too many actors, its puts are refused. Name every node \
    of the cluster: a record that is left out brings back what the others forgot. A value that was \
    overwritten may come back as a sibling, if some node missed that; no value is lost. Clocks of \
    `--versioning paper` are left as they are."
)]
pub struct PruneArgs {
    /// The nodes' addresses, HOST:PORT: repeated, or separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    at: Vec<String>,
    /// How long to wait for each answer.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout())]
    timeout: Span,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: AskTls,
    /// The key.
    key: String,
}

/// Arguments of `accept-loss`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A directory that was lost, or joined a strict cluster, counts once it was refilled \
    from those who have what it may lack. Where they are gone for good, or amnesiac themselves, it waits for \
    ever, and the cluster may refuse to serve. With this it counts as it is: what was acknowledged before, \
    and is on no other disk, is lost; a get may miss what only disks have that are gone. `status` tells how \
    often that was done."
)]
pub struct AcceptLossArgs {
    #[command(flatten)]
    ask: AskArgs,
}

/// Arguments of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    ask: AskArgs,
}

impl AskArgs {
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.0
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    fn client(&self) -> Result<Client, Failure> {
        Ok(self.tls.client(&self.at)?.with_deadline(self.timeout.0))
    }

    pub(super) fn tls(&self) -> Result<Option<Arc<Tls>>, Failure> {
        self.tls.read()
    }

    /// Asks the node at `address`, which need not be the one that was named.
    pub(super) fn admin(&self, address: &str) -> Result<Admin, Failure> {
        Ok(self.tls.admin(address)?.with_deadline(self.timeout.0))
    }
}

impl GetArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let got = self.ask.client()?.get(self.key).await.map_err(failed)?;
        let context = hex(&got.context);
        if self.ask.json {
            let values: Vec<_> = got.values.iter().map(|value| text(value)).collect();
            let body = json!({ "values": values, "context": context });
            output::say(document("node get", None, body));
            return Ok(());
        }
        let mut lines: Vec<_> = got.values.iter().map(|v| v.escape_ascii().to_string()).collect();
        if lines.is_empty() {
            lines.push("(no value)".to_owned());
        }
        lines.push(format!("context: {context}"));
        output::say(lines.join("\n"));
        Ok(())
    }
}

impl PutArgs {
    pub(super) fn check(&self) -> Result<(), Failure> {
        unhex(&self.context).map(drop)
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let context = unhex(&self.context)?;
        let put = self.ask.client()?.put(self.key, context, self.value).await;
        done(&self.ask, "node put", &put.map_err(failed)?);
        Ok(())
    }
}

impl DeleteArgs {
    pub(super) fn check(&self) -> Result<(), Failure> {
        unhex(&self.context).map(drop)
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let context = unhex(&self.context)?;
        let deleted = self.ask.client()?.delete(self.key, context).await;
        done(&self.ask, "node delete", &deleted.map_err(failed)?);
        Ok(())
    }
}

/// How often all nodes are asked: a repair or a handoff that was under way may bring some back once.
const PRUNE_PASSES: usize = 3;

impl PruneArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let deadline = self.timeout.0;
        let mut all = 0;
        for pass in 1..=PRUNE_PASSES {
            let mut entries = 0;
            for at in &self.at {
                let admin = self.tls.admin(at)?.with_deadline(deadline);
                let pruned = admin.prune(self.key.clone()).await;
                entries += pruned.map_err(|error| Failure::failed(format!("{at}: {error}")))?;
            }
            all += entries;
            if entries == 0 || pass == PRUNE_PASSES {
                break;
            }
        }
        if self.json {
            output::say(document("node prune", None, json!({ "forgotten": all })));
        } else {
            output::say(format_args!("{all} entries forgotten"));
        }
        Ok(())
    }
}

impl StatusArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let admin = self.ask.admin(&self.ask.at)?;
        let status = admin.status().await.map_err(failed)?;
        let status = serde_json::to_value(&status).map_err(Failure::failed)?;
        if self.ask.json {
            output::say(document("node status", None, status));
            return Ok(());
        }
        output::say(lines(&status).join("\n"));
        Ok(())
    }
}

impl AcceptLossArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let admin = self.ask.admin(&self.ask.at)?;
        let ranges = admin.accept_loss().await.map_err(failed)?;
        if self.ask.json {
            output::say(document("node accept-loss", None, json!({ "ranges": ranges })));
        } else if ranges == 0 {
            output::say("it counts wherever it is a home: nothing was to be accepted");
        } else {
            output::say(format_args!("counts in {ranges} ranges more, with what it has"));
        }
        Ok(())
    }
}

/// The fields of an object, one a line.
pub(super) fn lines(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    flatten(value, &mut lines);
    lines
}

/// One line a field, those of inner objects beside those of the outer one.
fn flatten(value: &Value, lines: &mut Vec<String>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        match field {
            Value::Object(_) => flatten(field, lines),
            Value::String(text) => lines.push(format!("{name:<24} {text}")),
            other => lines.push(format!("{name:<24} {other}")),
        }
    }
}

fn done(ask: &AskArgs, command: &str, written: &Written) {
    if ask.json {
        // As `node get` prints it; none where siblings are left, which have to be read.
        let context = written.context.as_deref().map(hex);
        output::say(document(command, None, json!({ "done": true, "context": context })));
    } else {
        output::say("done");
    }
}

/// As long as a person may wait.
fn timeout() -> impl Fn(&str) -> Result<Span, String> + Clone + Send + Sync {
    span_within(Span::millis(1), Span::secs(3600))
}

fn failed(error: ClientError) -> Failure {
    Failure::failed(error)
}

/// A value as JSON: text if it is text, else its bytes.
fn text(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex(value) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<_>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| {
        Failure::refused("--context: not what `get` printed: an even number of hexadecimal digits")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_back_as_bytes() {
        let bytes: Vec<_> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)).unwrap(), bytes);
        assert_eq!(unhex("").unwrap(), b"");
    }

    #[test]
    fn what_is_not_hexadecimal_is_refused() {
        for text in ["0", "0g", "zz", "0x00", "\u{e4}"] {
            assert_eq!(unhex(text).unwrap_err().status, super::super::REFUSED, "{text}");
        }
    }
}
