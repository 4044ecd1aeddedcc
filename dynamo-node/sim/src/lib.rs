//! A deterministic simulator for dynamo-protocol: virtual time, faulty links and disks.
