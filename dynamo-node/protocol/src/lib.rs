//! The Dynamo protocol as one deterministic state machine without I/O.
