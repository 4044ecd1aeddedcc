//! Worlds and actions in human-readable words.

use std::fmt::Write as _;

use dynamo_protocol::{Epoch, Input, Message, NodeId, Role, Siblings, Timer};

use crate::world::host::HostInput;
use crate::world::model::DynamoModel;
use crate::world::script::Op;
use crate::world::state::{Action, World};
use crate::world::tables::Tables;

impl DynamoModel {
    pub(crate) fn describe(&self, tables: &Tables, action: Action) -> String {
        let node = |index: u8| self.setup.ids[usize::from(index)];
        match action {
            Action::Invoke { client, node: at } => {
                format!("client {} asks {}", client + 1, node(at))
            }
            Action::Deliver(message) => format!("{} arrives", message_text(tables, message)),
            Action::Lose(message) => format!("{} is lost", message_text(tables, message)),
            Action::Fire { node: at, input, hedge } => {
                let early = if hedge { " early" } else { "" };
                format!("{} at {} runs out{early}", timer_text(tables, input), node(at))
            }
            Action::Unreachable { node: at, peer } => {
                format!("{} finds {} out of reach", node(at), node(peer))
            }
            Action::Crash(at) => format!("{} crashes", node(at)),
            Action::Restart(at) => format!("{} starts again", node(at)),
            Action::Wipe(at) => format!("{}'s directory is wiped", node(at)),
            Action::Forget(at) => format!("{}'s home record is gone", node(at)),
            Action::PowerCut(at) => format!("{} loses power", node(at)),
            Action::Sync(at) => format!("{} syncs", node(at)),
            Action::Learn(at) => format!("{} learns of the next epoch", node(at)),
            Action::BackUp(at) => format!("{}'s directory is backed up", node(at)),
            Action::Restore(at) => format!("{}'s directory is put back to its backup", node(at)),
            Action::Cut(side) => {
                let cut = (0..self.setup.ids.len()).filter(|index| side >> index & 1 == 1);
                let cut: Vec<_> = cut.map(|index| self.setup.ids[index].to_string()).collect();
                format!("the network is cut: {} apart from the rest", cut.join(", "))
            }
            Action::Heal => "the network is whole again".to_owned(),
            Action::After { late, then } => {
                let count = late.count_ones();
                format!("after {count} late stores {}", self.describe(tables, then.action()))
            }
        }
    }

    /// `describe` with what a client asks for, which depends on the state.
    pub(crate) fn describe_in(&self, tables: &Tables, world: &World, action: Action) -> String {
        if let Action::After { late, then } = action {
            let count = late.count_ones();
            let then = self.describe_in(tables, world, then.action());
            return format!("after {count} late stores {then}");
        }
        let Action::Invoke { client, node } = action else { return self.describe(tables, action) };
        let (index, state) = (usize::from(client), &world.clients[usize::from(client)]);
        let step = usize::from(state.step);
        let what = match self.spec.script.clients()[index][step] {
            Op::Get => "get".to_owned(),
            Op::Put | Op::Overwrite | Op::Delete => {
                let number = self.spec.script.put(index, step).unwrap_or_default();
                let context = &tables.contexts.get(state.context).0;
                match self.spec.script.value(number) {
                    Some(value) => format!("put {} over {context}", value.escape_ascii()),
                    None => format!("delete over {context}"),
                }
            }
        };
        format!("client {} at {}: {what}", client + 1, self.setup.ids[usize::from(node)])
    }

    pub(crate) fn show(&self, tables: &Tables, world: &World) -> String {
        let mut text = String::new();
        for host in &world.hosts {
            let host = tables.hosts.get(*host);
            let state = match &host.node {
                None => "down".to_owned(),
                Some(node) => {
                    let suspected: Vec<_> = node.suspected().map(|peer| peer.to_string()).collect();
                    let suspects = if suspected.is_empty() {
                        String::new()
                    } else {
                        format!(", suspects {}", suspected.join(" "))
                    };
                    let epoch = match node.view().epoch() {
                        Epoch::GENESIS => String::new(),
                        epoch => format!(", epoch {epoch}"),
                    };
                    format!("up, {} open{epoch}{suspects}", node.open_operations())
                }
            };
            let _ = writeln!(text, "{}: {state}", self.setup.ids[usize::from(host.me)]);
            for (place, record) in &host.store.records {
                let role = match place.role {
                    Role::Home => "home".to_owned(),
                    Role::Hint(target) => format!("hint for {target}"),
                };
                let _ = writeln!(text, "    {role}: {}", set_text(&record.set));
            }
        }
        for message in &world.flight {
            let _ = writeln!(text, "in flight: {}", message_text(tables, *message));
        }
        for (index, client) in world.clients.iter().enumerate() {
            let waits = match client.waits_at {
                0 => "idle".to_owned(),
                at => format!("waits at {}", self.setup.ids[usize::from(at - 1)]),
            };
            let _ = writeln!(text, "client {}: step {}, {waits}", index + 1, client.step + 1);
        }
        if world.cut != 0 {
            let _ = writeln!(text, "{}", self.describe(tables, Action::Cut(world.cut)));
        }
        text
    }
}

pub(crate) fn set_text(set: &Siblings) -> String {
    let versions: Vec<_> = match set {
        Siblings::Dotted(set) => {
            let text = |value: &Option<bytes::Bytes>| value_text(value.as_ref());
            set.versions().iter().map(|v| format!("{}={}", v.dot, text(&v.value))).collect()
        }
        Siblings::Plain(set) => {
            let versions = set.versions().iter();
            versions.map(|v| format!("{}={}", v.clock, value_text(v.value.as_ref()))).collect()
        }
    };
    format!("[{}] seen {}", versions.join(" "), set.context().0)
}

fn value_text(value: Option<&bytes::Bytes>) -> String {
    value.map_or_else(|| "deleted".to_owned(), |value| value.escape_ascii().to_string())
}

fn message_text(tables: &Tables, message: u32) -> String {
    let HostInput::Handle(Input::Peer(envelope)) = tables.inputs.get(message) else {
        return "?".to_owned();
    };
    let (from, to): (NodeId, NodeId) = (envelope.from, envelope.to);
    let name = envelope.message.name();
    let detail = match &envelope.message {
        Message::Store { op, role, set, .. } => {
            let role = match role {
                Role::Home => String::new(),
                Role::Hint(target) => format!(" as hint for {target}"),
            };
            format!(" {op}{role} {}", set_text(set))
        }
        other => other.op().map_or_else(String::new, |op| format!(" {op}")),
    };
    format!("{name}{detail} from {from} to {to}")
}

fn timer_text(tables: &Tables, input: u32) -> String {
    match tables.inputs.get(input) {
        HostInput::Handle(Input::Timer(timer)) => match timer {
            Timer::Hedge(op) => format!("hedge of {op}"),
            Timer::Deadline(op) => format!("deadline of {op}"),
            Timer::Ping(peer) => format!("ping timer for {peer}"),
            Timer::Handoff(target) => format!("handoff timer for {target}"),
            Timer::Exchange => "exchange timer".to_owned(),
            Timer::Strays => "strays timer".to_owned(),
            Timer::Gossip => "gossip timer".to_owned(),
            Timer::Proposal => "proposal timer".to_owned(),
        },
        _ => "?".to_owned(),
    }
}

impl DynamoModel {
    /// The path of `actions` from the first state, a line a step.
    #[must_use]
    pub fn trace(&self, actions: &[Action]) -> Vec<String> {
        let tables = &mut *self.lock();
        let mut world = self.first(tables);
        let mut lines = Vec::new();
        for action in actions {
            lines.push(self.describe_in(tables, &world, *action));
            self.take_one(tables, &mut world, *action);
        }
        lines
    }
}
