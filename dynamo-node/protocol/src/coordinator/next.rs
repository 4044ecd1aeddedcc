//! What an operation wants done. Gets and puts are plain values: they are told what happened and say what
//! follows from it; the node carries it out. So each can be tested without a node.

use super::{Origin, Request};
use crate::detector::Detector;
use crate::id::{NodeId, OpId};
use crate::io::{Event, Timer};
use crate::message::Message;
use crate::node::Node;
use crate::request::Reply;
use crate::settings::Settings;
use crate::step::Step;
use crate::storage::{Role, Store};
use crate::version::Siblings;

/// What an operation goes by besides itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// The node that coordinates it.
    pub(super) me: NodeId,
    pub(super) settings: &'a Settings,
    pub(super) peers: &'a Detector,
}

/// One thing to do. They are done in the order in which they are said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask another host what it holds.
    Fetch(NodeId, Role),
    /// Have another host store this.
    Store(NodeId, Role, Siblings),
    /// Store it here, too; what came of it is told by [`Get::kept`](super::get::Get::kept). The last thing
    /// said: what follows depends on it.
    Keep(Role, Siblings),
    /// Bring this home, perhaps the node itself, what it lacks.
    Repair(NodeId, Siblings),
    /// The put is on these hosts, one for each slot.
    Acknowledged(Vec<NodeId>),
    /// Whoever waits is answered.
    Reply(Origin, Reply),
    /// Those asked now have the hedging delay to answer.
    Hedge,
    /// What is still open has until then.
    Deadline,
    /// Nothing more will come of it.
    Close,
}

impl Node {
    /// Does what operation `op` says; whether that is anything.
    pub(super) fn carry_out<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        all: Vec<Next>,
    ) -> bool {
        if all.is_empty() {
            return false;
        }
        let request = self.operations.request(op.seq);
        let Some((request, key)) = request.and_then(|request| Some((request, request.key()?)))
        else {
            unreachable!("only a get or a put that is open says what to do: {op}");
        };
        // What a get writes back its coordinator need not have itself.
        let (key, lasts) = (key.clone(), matches!(request, Request::Put(_)));
        let mut all = all.into_iter();
        while let Some(next) = all.next() {
            match next {
                Next::Fetch(host, role) => {
                    self.send(step, host, Message::Fetch { op, role, key: key.clone() });
                }
                Next::Store(host, role, set) => {
                    let key = key.clone();
                    self.send(step, host, Message::Store { op, role, key, set, lasts });
                }
                Next::Keep(role, set) => {
                    assert!(all.as_slice().is_empty(), "what follows a write-back depends on it");
                    let counts = self.acknowledges(&key);
                    let kept = (self.take_in(step, None, role, key, &set).is_ok(), counts);
                    self.tell_get(step, op, |get, terms| get.kept(terms, role, kept));
                    return true;
                }
                Next::Repair(home, set) => {
                    step.event(Event::ReadRepair(home));
                    if home == self.me {
                        // A disk that refuses it leaves the home as stale as it was; the next get tries
                        // again.
                        let _ = self.take_in(step, None, Role::Home, key.clone(), &set);
                    } else {
                        let (role, key) = (Role::Home, key.clone());
                        self.send(step, home, Message::Store { op, role, key, set, lasts: false });
                    }
                }
                Next::Acknowledged(holders) => step.event(Event::Acknowledged { op, holders }),
                Next::Reply(origin, reply) => self.reply(step, origin, reply),
                Next::Hedge => {
                    step.set_timer(Timer::Hedge(op), self.settings.timing.hedge);
                }
                Next::Deadline => {
                    step.set_timer(Timer::Deadline(op), self.settings.timing.deadline);
                }
                Next::Close => {
                    assert!(all.as_slice().is_empty(), "what is closed wants nothing more");
                    self.close(step, op);
                }
            }
        }
        true
    }
}
