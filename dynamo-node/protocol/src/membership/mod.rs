//! Who the members are, and how they agree on the next membership.
//!
//! The membership is a log: each epoch is one edit away from the one before ([`Edit`]), and every host keeps
//! all of them ([`History`]). Which edit makes epoch e+1 is decided by a register over the members of e
//! ([`Ballots`], [`Proposer`]): single-decree Paxos (Lamport, "Paxos Made Simple", 2001), one instance a
//! number, so that there is one ring a number and no master. A [`Registrar`] is a node's part in all of it.
//!
//! ```text
//! proposer                      members of e
//!   Prepare(ballot)    ->       promise to take no lower ballot; the last vote, if there was one
//!   Accept(ballot, edit) ->     vote: the edit of the highest vote that was told, or else its own
//!   Membership(e+1)    ->       decided, once a majority has voted under one ballot
//! ```
//!
//! What is durable before anything is sent: promises, votes and epochs. The types hand out no answer but
//! through [`Unsaved::save`].
//!
//! What this room does not do: it moves no data, it does not say who is home of what, it sets no timers.
//! How long a proposer waits before it tries again ([`Registrar::again`]) is the host's choice: it decides
//! how soon something is agreed on, never what.

mod edit;
mod history;
mod register;
mod registrar;

pub use edit::{Edit, EditError};
pub use history::{Directory, History, HistoryError, Membership, Seat, Standing};
pub use register::{Ballot, Ballots, Call, Next, Proposer, Unsaved, Vote};
pub use registrar::{Durable, Notice, Outcome, ProposeError, Registrar, Told};
