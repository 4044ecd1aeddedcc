//! Cells, and the table that is made of them.

pub(crate) mod cell;
pub(crate) mod table;
