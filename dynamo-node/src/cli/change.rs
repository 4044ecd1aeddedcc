//! `leave`, `cancel`, `remove`, `weigh`: changes of the membership, proposed to a member.

use std::time::{Duration, Instant};

use clap::Args;
use dynamo_protocol::membership::{Edit, Standing};
use dynamo_protocol::{Epoch, Member, NodeId};
use dyno_command::{Span, document, output, span_within, within};
use serde_json::json;
use tokio::time::sleep;

use super::Failure;
use super::client::AskArgs;
use super::look::{Look, Part};
use crate::ring::Proposed;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What every change is told.
#[derive(Clone, Debug, Args)]
struct ChangeArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Refuse if the membership is at another epoch by then.
    #[arg(long, value_name = "EPOCH")]
    expect_epoch: Option<u64>,
    /// How long it may take in all.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = patience())]
    within: Span,
    /// The member, as in `n3`.
    #[arg(value_name = "NODE", value_parser = node)]
    node: NodeId,
}

/// Arguments of `leave`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The member gives up its share of the ring, hands on what it holds, and is removed when \
    nothing is left at it; its process ends then. What is interrupted goes on when it is asked for again. \
    `cancel` takes it back until it is removed."
)]
pub struct LeaveArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Arguments of `cancel`.
#[derive(Clone, Debug, Args)]
pub struct CancelArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Arguments of `remove`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Without --force of a member alone that leaves and has handed on what it held. With it \
    whatever the member still holds is lost, as with its disk. Its directory never counts again."
)]
pub struct RemoveArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Give up what it holds.
    #[arg(long)]
    force: bool,
    /// If no majority of the members is left to decide on it, the member that is asked does, by itself. Only
    /// if the directories of the others are lost for good: one that comes back makes a second cluster of it.
    #[arg(long, requires = "force")]
    force_epoch: bool,
}

/// Arguments of `weigh`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The load that a member takes is proportional to its tokens. What it is to hold from then \
    on is brought to it, and what it is not to hold any more it hands on, while all serve."
)]
pub struct WeighArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Its virtual nodes from then on.
    #[arg(long, value_parser = within(1, Member::MOST_TOKENS))]
    tokens: u16,
}

fn patience() -> impl Fn(&str) -> Result<Span, String> + Clone + Send + Sync {
    span_within(Span::millis(1), Span::secs(7 * 24 * 3600))
}

fn node(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix('n').unwrap_or(text);
    number.parse().map(NodeId).map_err(|_| format!("{text:?} is no node: give it as in n3"))
}

impl LeaveArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let change = &self.change;
        let end = change.end();
        let look = change.look().await?;
        if look.seat(change.node)?.standing == Standing::In {
            let epoch = change.decide(Edit::Leave { node: change.node }, end).await?;
            output::note(format_args!("epoch {epoch}: {} leaves", change.node));
        }
        let mut last = String::new();
        loop {
            let look = change.look().await?;
            // Somebody else may have removed it.
            if look.latest().seat(change.node).is_none() {
                return change.done("node leave", look.latest().epoch());
            }
            if look.seat(change.node)?.standing == Standing::In {
                let why = format!("{} stays: the leave was cancelled", change.node);
                return Err(Failure::failed(why));
            }
            if let Some(why) = change.keeps_from_removing(&look).await? {
                last = change.progress(why, last, end).await?;
                continue;
            }
            match change.remove(&look, end).await {
                Ok(epoch) => return change.done("node leave", epoch),
                // Another change came first: it is looked at again, under that one.
                Err(why) => last = change.progress(why.why, last, end).await?,
            }
        }
    }
}

impl CancelArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (change, look) = (&self.change, self.change.look().await?);
        look.seat(change.node)?;
        let epoch = change.decide(Edit::Cancel { node: change.node }, change.end()).await?;
        change.done("node cancel", epoch)
    }
}

impl RemoveArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (change, look) = (&self.change, self.change.look().await?);
        let (node, seat) = (change.node, *look.seat(change.node)?);
        let edit = Edit::Gone { node, directory: seat.directory, forced: true };
        let epoch = if self.force_epoch {
            change.force(&look, edit).await?
        } else if self.force {
            change.decide(edit, change.end()).await?
        } else {
            // What the membership says of one that is in, it says best itself.
            if seat.standing == Standing::Leaving
                && let Some(why) = change.keeps_from_removing(&look).await?
            {
                let mend = "`leave` waits for that; --force gives up what it still holds";
                return Err(Failure::failed(format!("{node} stays: {why}. {mend}")));
            }
            change.remove(&look, change.end()).await?
        };
        change.done("node remove", epoch)
    }
}

impl WeighArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (change, look) = (&self.change, self.change.look().await?);
        look.seat(change.node)?;
        let edit = Edit::Weigh { node: change.node, tokens: self.tokens };
        let epoch = change.decide(edit, change.end()).await?;
        change.done("node weigh", epoch)
    }
}

impl ChangeArgs {
    fn end(&self) -> Instant {
        Instant::now() + self.within.0
    }

    async fn look(&self) -> Result<Look, Failure> {
        Look::at(&self.ask).await
    }

    /// Why a member that leaves is needed still, if it is: others may lack what it holds, and in a strict
    /// cluster who is home in its place is filled from those that were homes before, of which it is one.
    async fn keeps_from_removing(&self, look: &Look) -> Result<Option<String>, Failure> {
        let part = look.part(self.node);
        if part != Part::Drained {
            let told = part.told(&look.suspected());
            return Ok(Some(format!("{} is not drained: {told}", self.node)));
        }
        look.keeps_from_changing(&self.ask, self.node).await
    }

    /// Removes a member that was seen to be drained, under the epoch in which it was seen.
    async fn remove(&self, look: &Look, end: Instant) -> Result<Epoch, Failure> {
        let (node, directory) = (self.node, look.seat(self.node)?.directory);
        let edit = Edit::Gone { node, directory, forced: false };
        self.propose(look, edit, Some(look.latest().epoch()), end).await
    }

    async fn decide(&self, edit: Edit, end: Instant) -> Result<Epoch, Failure> {
        let mut last = String::new();
        loop {
            let look = self.look().await?;
            match look.keeps_from_changing(&self.ask, self.node).await? {
                Some(why) => last = self.progress(why, last, end).await?,
                None => return self.propose(&look, edit, self.expect_epoch.map(Epoch), end).await,
            }
        }
    }

    /// Asks one member after the other, as long as nothing is known against the change.
    async fn propose(
        &self,
        look: &Look,
        edit: Edit,
        expect: Option<Epoch>,
        end: Instant,
    ) -> Result<Epoch, Failure> {
        loop {
            let mut last = String::new();
            for address in look.proposers(self.node) {
                let admin = self.ask.admin(&address)?;
                match admin.propose(edit, expect).await {
                    Ok(Proposed::Decided(epoch)) => return Ok(epoch),
                    Ok(Proposed::Refused(why)) => return Err(Failure::failed(why)),
                    Ok(Proposed::Undecided) => {
                        let why = "no majority of the members answers: start more of them";
                        last = format!("{address} proposes it, and {why}");
                    }
                    Err(error) => last = format!("{address}: {}", error.why()),
                }
                if Instant::now() >= end {
                    let (within, edit) = (self.within.0, edit.to_string());
                    let why = format!("to {edit} is not decided within {within:?}: {last}");
                    return Err(Failure::failed(why));
                }
            }
            output::note(&last);
            sleep(PAUSE).await;
        }
    }

    /// Has the member that was named make the epoch by its word, if none can have it decided.
    async fn force(&self, look: &Look, edit: Edit) -> Result<Epoch, Failure> {
        let latest = look.latest().epoch();
        let expect = self.expect_epoch.map_or(latest, Epoch);
        if expect != latest {
            let why = format!(
                "the membership is at epoch {latest}, not {expect}: look at the ring again"
            );
            return Err(Failure::failed(why));
        }
        for address in look.proposers(self.node) {
            let admin = self.ask.admin(&address)?;
            match admin.propose(edit, Some(expect)).await {
                Ok(Proposed::Decided(epoch)) => return Ok(epoch),
                Ok(Proposed::Undecided) => {
                    output::note(format_args!("{address} proposes it, and no majority answers"));
                }
                // One in doubt, and there is no other, may be for ever.
                Ok(Proposed::Refused(why))
                    if look.members.values().flatten().any(|of| of.proven) =>
                {
                    return Err(Failure::failed(why));
                }
                Ok(Proposed::Refused(why)) => output::note(format_args!("{address}: {why}")),
                Err(error) => output::note(format_args!("{address}: {error}")),
            }
        }
        let admin = self.ask.admin(self.ask.at())?;
        match admin.force_epoch(edit, expect).await {
            Ok(Proposed::Decided(epoch)) => {
                output::note(format_args!("epoch {epoch} was made without a vote"));
                Ok(epoch)
            }
            Ok(Proposed::Refused(why)) => Err(Failure::failed(why)),
            Ok(Proposed::Undecided) => Err(Failure::failed("it did not say what came of it")),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    /// Says what has changed, and waits a little.
    async fn progress(&self, told: String, last: String, end: Instant) -> Result<String, Failure> {
        if Instant::now() >= end {
            let within = self.within.0;
            let mend = "it goes on all the same: ask for the same again to wait";
            return Err(Failure::failed(format!("not within {within:?}: {told}; {mend}")));
        }
        if told != last {
            output::note(&told);
        }
        sleep(PAUSE).await;
        Ok(told)
    }

    fn done(&self, command: &str, epoch: Epoch) -> Result<(), Failure> {
        if self.ask.json() {
            let body = json!({ "node": self.node.0, "epoch": epoch.0 });
            output::say(document(command, None, body));
        } else {
            output::say(format_args!("epoch {epoch}: done"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_as_it_is_printed_or_by_its_number() {
        assert_eq!((node("n3"), node("3")), (Ok(NodeId(3)), Ok(NodeId(3))));
        assert!(node("n").is_err() && node("m3").is_err() && node("n70000").is_err());
    }
}
