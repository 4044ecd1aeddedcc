//! `dyno`: the bench.

fn main() {}
