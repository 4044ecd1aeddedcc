//! What is searched by name, what each must find, and what came of it.

pub(crate) mod check;
pub mod mutants;
pub(crate) mod scenario;
