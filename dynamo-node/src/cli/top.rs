//! `top`: a cluster at a glance, again and again.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use dynamo_protocol::NodeId;
use dyno_command::{Span, document, output, span_within};
use serde::Serialize;
use tokio::task::JoinSet;

use super::Failure;
use super::client::AskArgs;
use super::look::Look;
use crate::proto::StatusReport;

/// Arguments of `top`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Asks one node who the members are, and each of them how it does; rates are of the time \
    between two looks. With --json each look is a line."
)]
pub struct TopArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Between two looks.
    #[arg(long, value_name = "TIME", default_value = "1s",
          value_parser = span_within(Span::millis(100), Span::secs(3600)))]
    every: Span,
    /// End after so many looks; without, it goes on until it is interrupted.
    #[arg(long, value_name = "COUNT")]
    looks: Option<u64>,
}

/// A member at one look.
#[derive(Debug, Default, Serialize)]
struct Row {
    node: u16,
    address: Option<String>,
    /// Why it says nothing, if it does not.
    silent: Option<String>,
    epoch: u64,
    state: String,
    /// A second, since the look before; none at the first.
    gets_per_s: Option<f64>,
    puts_per_s: Option<f64>,
    refused_per_s: Option<f64>,
    open: u64,
    hints: u64,
    filling: u64,
    suspects: Vec<u32>,
}

/// What was counted at a look.
struct Counted {
    incarnation: u64,
    at: Instant,
    gets: u64,
    puts: u64,
    refused: u64,
}

impl TopArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut before = BTreeMap::new();
        let mut looks = 0;
        loop {
            let rows = self.look(&mut before).await?;
            self.show(&rows);
            looks += 1;
            if self.looks.is_some_and(|most| looks >= most) || !output::is_heard() {
                return Ok(());
            }
            tokio::time::sleep(self.every.0).await;
        }
    }

    async fn look(&self, before: &mut BTreeMap<NodeId, Counted>) -> Result<Vec<Row>, Failure> {
        let look = Look::at(&self.ask).await?;
        let mut asking = JoinSet::new();
        let mut rows = Vec::new();
        for node in look.members.keys().copied() {
            let address = look.address(node).map(str::to_owned);
            let Some(at) = &address else {
                let silent = Some("nobody knows its address".to_owned());
                rows.push(Row { node: node.0, silent, ..Row::default() });
                continue;
            };
            let admin = self.ask.admin(at)?;
            asking.spawn(async move { (node, address, admin.status().await) });
        }
        while let Some(asked) = asking.join_next().await {
            let (node, address, status) = asked.map_err(Failure::failed)?;
            rows.push(match status {
                Ok(status) => row(node, address, &status, before),
                Err(error) => {
                    let silent = Some(error.to_string());
                    Row { node: node.0, address, silent, ..Row::default() }
                }
            });
        }
        rows.sort_unstable_by_key(|row| row.node);
        Ok(rows)
    }

    fn show(&self, rows: &[Row]) {
        if self.ask.json() {
            return output::say(document("node top", None, serde_json::json!({ "members": rows })));
        }
        // On a terminal each look takes the place of the one before.
        let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        output::say(format_args!("{clear}{}", table(rows).join("\n")));
    }
}

fn row(
    node: NodeId,
    address: Option<String>,
    status: &StatusReport,
    before: &mut BTreeMap<NodeId, Counted>,
) -> Row {
    let counters = status.counters.unwrap_or_default();
    let now = Counted {
        incarnation: status.incarnation,
        at: Instant::now(),
        gets: counters.gets,
        puts: counters.acknowledged,
        refused: counters.refused + counters.overloaded + counters.timed_out,
    };
    let last = before.remove(&node).filter(|last| last.incarnation == now.incarnation);
    let rate = |of: fn(&Counted) -> u64| last.as_ref().map(|last| a_second(&now, last, of));
    let row = Row {
        node: node.0,
        address,
        silent: None,
        epoch: status.epoch,
        state: state(status).to_owned(),
        gets_per_s: rate(|counted| counted.gets),
        puts_per_s: rate(|counted| counted.puts),
        refused_per_s: rate(|counted| counted.refused),
        open: status.open_requests,
        hints: status.hints_held,
        filling: status.filling,
        suspects: status.suspected.clone(),
    };
    before.insert(node, now);
    row
}

fn a_second(now: &Counted, last: &Counted, of: fn(&Counted) -> u64) -> f64 {
    let time = now.at.saturating_duration_since(last.at).max(Duration::from_millis(1));
    (of(now).saturating_sub(of(last)) as f64 / time.as_secs_f64()).round()
}

fn state(status: &StatusReport) -> &'static str {
    match status {
        StatusReport { stopping: true, .. } => "stopping",
        StatusReport { amnesiac: true, .. } => "amnesiac",
        StatusReport { proven: false, .. } => "in doubt",
        StatusReport { filling: 1.., .. } => "filling",
        _ => "up",
    }
}

fn table(rows: &[Row]) -> Vec<String> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let mut lines = vec![format!(
        "{:<6} {:<21} {:<9} {:>5} {:>8} {:>8} {:>9} {:>6} {:>7}  suspects",
        "node", "address", "state", "epoch", "gets/s", "puts/s", "refused/s", "open", "hints"
    )];
    for row in rows {
        let (node, address) = (format!("n{}", row.node), row.address.as_deref().unwrap_or("-"));
        if let Some(why) = &row.silent {
            lines.push(format!("{node:<6} {address:<21} {:<9} {why}", "silent"));
            continue;
        }
        let suspects: Vec<_> = row.suspects.iter().map(|peer| format!("n{peer}")).collect();
        let line = format!(
            "{node:<6} {address:<21} {:<9} {:>5} {:>8} {:>8} {:>9} {:>6} {:>7}  {}",
            row.state,
            row.epoch,
            rate(row.gets_per_s),
            rate(row.puts_per_s),
            rate(row.refused_per_s),
            row.open,
            row.hints,
            suspects.join(" ")
        );
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Counters;

    fn status(incarnation: u64, gets: u64) -> StatusReport {
        let counters = Some(Counters { gets, ..Counters::default() });
        StatusReport { incarnation, counters, proven: true, ..StatusReport::default() }
    }

    #[test]
    fn rates_are_of_one_process_and_its_first_look_has_none() {
        let mut before = BTreeMap::new();
        let mut gets = |incarnation, gets| {
            row(NodeId(1), None, &status(incarnation, gets), &mut before).gets_per_s
        };
        assert_eq!(gets(1, 10), None);
        assert!(gets(1, 30).is_some_and(|rate| rate > 0.0));
        assert_eq!(gets(2, 5), None, "another process counts from nothing");
    }

    #[test]
    fn a_member_that_says_nothing_has_its_line_too() {
        let silent = Some("no answer".to_owned());
        let rows = [
            Row { node: 1, state: "up".into(), ..Row::default() },
            Row { node: 2, silent, ..Row::default() },
        ];
        let lines = table(&rows);
        assert!(lines[1].starts_with("n1") && lines[1].contains(" up "), "{lines:?}");
        assert!(lines[2].contains("silent    no answer"), "{lines:?}");
    }
}
