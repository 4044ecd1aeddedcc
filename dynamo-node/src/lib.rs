//! A Dynamo node: the tokio and tonic shell around dynamo-protocol.
