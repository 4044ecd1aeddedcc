//! `ring`: who the members are, and how far a change of the membership is.

use clap::Args;
use dynamo_protocol::membership::{Directory, Edit, Membership, Standing};
use dynamo_protocol::{Epoch, NodeId};
use dyno_command::{document, output};
use serde_json::{Value, json};

use super::Failure;
use super::client::AskArgs;
use super::look::Look;

/// Arguments of `ring`.
#[derive(Clone, Debug, Args)]
pub struct RingArgs {
    #[command(flatten)]
    ask: AskArgs,
}

impl RingArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let look = Look::at(&self.ask).await?;
        if self.ask.json() {
            output::say(document("node ring", None, whole(&look)));
        } else {
            output::say(lines(&look).join("\n"));
        }
        Ok(())
    }
}

/// The edits that were decided, and what they led to.
fn decided(look: &Look) -> impl Iterator<Item = (Epoch, Edit)> {
    let epochs = &look.newest.epochs;
    let homes = look.newest.settings.n;
    epochs
        .windows(2)
        .filter_map(move |pair| Some((pair[1].epoch(), Edit::between(&pair[0], &pair[1], homes)?)))
}

fn whole(look: &Look) -> Value {
    let changes: Vec<_> = decided(look)
        .map(|(epoch, edit)| json!({ "epoch": epoch.0, "edit": edit.to_string() }))
        .collect();
    let members: Vec<_> = look.members.keys().map(|node| member(look, *node)).collect();
    let gone: Vec<_> = look.latest().gone().iter().map(ToString::to_string).collect();
    let proposes = look.members.iter().filter_map(|(node, report)| {
        let edit = report.as_ref().ok()?.proposes?;
        Some(json!({ "node": node.0, "edit": edit.to_string() }))
    });
    json!({
        "cluster": look.newest.cluster,
        "n": look.newest.settings.n,
        "epoch": look.latest().epoch().0,
        "finished": look.is_finished(),
        "members": members,
        "gone": gone,
        "proposes": proposes.collect::<Vec<_>>(),
        "changes": changes,
    })
}

fn member(look: &Look, node: NodeId) -> Value {
    let seat = look.latest().seat(node);
    let report = look.members.get(&node).and_then(|report| report.as_ref().ok());
    let part = look.part(node);
    let standing = seat.map(|seat| standing(seat.standing));
    json!({
        "node": node.0,
        "standing": standing,
        "tokens": seat.map(|seat| seat.tokens),
        "share": look.share(node),
        "directory": seat.map(|seat| seat.directory.to_string()),
        "address": look.address(node),
        "state": part.name(),
        "told": part.told(&look.suspected()),
        "epoch": report.map(|report| report.latest().epoch().0),
        "ranges": report.map(|report| report.ranges),
        "filling": report.map(|report| report.filling),
        "sources": report.map(|report| report.sources.iter().map(|n| n.0).collect::<Vec<_>>()),
        "strays": report.and_then(|report| report.strays),
        "hints": report.map(|report| report.hints),
        "suspects": report.map(|report| report.suspected.iter().map(|n| n.0).collect::<Vec<_>>()),
    })
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::In => "in",
        Standing::Leaving => "leaving",
    }
}

fn lines(look: &Look) -> Vec<String> {
    let membership: &Membership = look.latest();
    let state = if look.is_finished() { "finished" } else { "under way" };
    let last = decided(look).last();
    let how = last.map_or_else(|| "the genesis".to_owned(), |(_, edit)| edit.to_string());
    let (epoch, cluster) = (membership.epoch(), &look.newest.cluster);
    let mut lines = vec![format!("cluster {cluster:?}, epoch {epoch} ({how}): {state}")];
    let head = ["member", "standing", "share", "tokens", "directory", "address", ""];
    let mut rows = vec![head.map(str::to_owned)];
    for node in look.members.keys() {
        let Some(seat) = membership.seat(*node) else { continue };
        let share = match seat.standing {
            Standing::In => format!("{:.1} %", look.share(*node) * 100.0),
            Standing::Leaving => "-".to_owned(),
        };
        let address = look.address(*node).unwrap_or("unknown").to_owned();
        let told = look.part(*node).told(&look.suspected());
        let (standing, tokens) = (standing(seat.standing).to_owned(), seat.tokens.to_string());
        let directory = match seat.directory {
            Directory::Founder(_) => "genesis".to_owned(),
            Directory::Drawn(identity) => identity.to_string(),
        };
        rows.push([node.to_string(), standing, share, tokens, directory, address, told]);
    }
    let widths: [usize; 7] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0));
    lines.extend(rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }));
    let gone = membership.gone().iter().map(|directory| format!("removed for good: {directory}"));
    lines.extend(gone);
    let proposes = look.members.iter().filter_map(|(node, report)| {
        Some(format!("{node} proposes to {}", report.as_ref().ok()?.proposes?))
    });
    lines.extend(proposes);
    lines
}
