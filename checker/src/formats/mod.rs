//! Histories in other forms than JSON lines.

pub mod compact;
