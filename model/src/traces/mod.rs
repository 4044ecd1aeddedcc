//! Paths and states as a reader gets them: shortened, in words, as traces of the simulator, in a browser.

pub(crate) mod explore;
pub(crate) mod path;
mod shorten;
mod show;
