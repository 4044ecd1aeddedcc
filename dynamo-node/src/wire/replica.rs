//! A home record as operators see it.

use dynamo_protocol::{Record, Siblings, StoreError, Summary};
use md5::{Digest, Md5};

use crate::proto;
use crate::proto::replica::State;

/// Found, absent, corrupt and unreadable stay apart.
pub(crate) fn replica(read: Result<Option<Record>, StoreError>) -> proto::Replica {
    let state = match read {
        Ok(Some(record)) => State::Found(found(&record)),
        Ok(None) => State::Absent(proto::ReplicaAbsent {}),
        Err(StoreError::Corrupt) => State::Corrupt(proto::ReplicaCorrupt {}),
        Err(StoreError::Unreadable | StoreError::Unwritable) => {
            State::Unreadable(proto::ReplicaUnreadable {})
        }
    };
    proto::Replica { state: Some(state) }
}

fn found(record: &Record) -> proto::ReplicaRecord {
    proto::ReplicaRecord {
        values: record.set.values(),
        versions: record.set.len() as u64,
        context: describe(&record.set),
        digest: digest(&record.set.summary()),
        amnesiac: record.amnesiac,
    }
}

/// `{actor:counter ...}` and the live dots after it.
fn describe(set: &Siblings) -> String {
    match set {
        Siblings::Dotted(set) => {
            let dots: Vec<_> = set.versions().iter().map(|v| v.dot.to_string()).collect();
            format!("{} live {}", set.context(), dots.join(" "))
        }
        Siblings::Plain(set) => {
            let clocks: Vec<_> = set.versions().iter().map(|v| v.clock.to_string()).collect();
            clocks.join(" ")
        }
    }
}

fn digest(summary: &Summary) -> String {
    let bytes = postcard::to_stdvec(summary).expect("a summary always serialises");
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
