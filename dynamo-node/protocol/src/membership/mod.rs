//! Who the members are.
//!
//! The membership is a log: each epoch is one edit away from the one before ([`Edit`]), and every host keeps
//! all of them ([`History`]).

mod edit;
mod history;

pub use edit::{Edit, EditError};
pub use history::{Directory, History, HistoryError, Membership, Seat, Standing};
