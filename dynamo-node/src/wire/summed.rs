//! What peers say to each other carries a checksum, whatever carries it: bytes that were changed on the way
//! are no message.
//!
//! TCP's own sum has 16 bits, and whatever stands between two nodes makes it anew. Protobuf takes most of
//! what it is given: a flipped bit in a value, a number or a key is another message, as good as the one that
//! was sent.

use bytes::Bytes;
use prost::{DecodeError, Message};
use thiserror::Error;

use crate::proto;

/// What the sum of nothing is: a message of which nothing is left is not one that says nothing.
const SEED: u32 = 0x7065_6572;

/// Why something is not what a peer has said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unsound {
    /// It was changed on the way.
    #[error("its CRC-32C is {found:08x} and not {said:08x}: bytes of it were changed on the way")]
    Changed { said: u32, found: u32 },
    /// It came as it was sent, and is no such message.
    #[error("it is no such message: {0}")]
    Malformed(#[from] DecodeError),
}

/// A message, to be sent.
pub(crate) fn summed(message: &impl Message) -> proto::Summed {
    let body = Bytes::from(message.encode_to_vec());
    proto::Summed { sum: sum(&body), body }
}

/// A message that was received, if it is the one that was sent.
pub(crate) fn unsummed<M: Message + Default>(summed: proto::Summed) -> Result<M, Unsound> {
    let proto::Summed { body, sum: said } = summed;
    let found = sum(&body);
    if found != said {
        return Err(Unsound::Changed { said, found });
    }
    Ok(M::decode(body)?)
}

fn sum(body: &[u8]) -> u32 {
    crc32c::crc32c_append(SEED, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> proto::Delivery {
        let dot = Some(proto::Entry { identity: 7, birth: 0, counter: 3 });
        let value = Some(Bytes::from_static(b"3 apples"));
        let versions = vec![proto::Version { dot, timestamp: 0, value }];
        let dotted = proto::DottedSet { versions, ..proto::DottedSet::default() };
        let scheme = Some(proto::siblings::Scheme::Dotted(dotted));
        let set = proto::Siblings { scheme };
        let store = proto::Store {
            key: Bytes::from_static(b"cart"),
            set: Some(set),
            ..proto::Store::default()
        };
        let message = Some(proto::envelope::Message::Store(store));
        let envelope =
            proto::Envelope { from: 1, identity: 7, to: 2, message, ..proto::Envelope::default() };
        proto::Delivery { envelopes: vec![envelope], book: Vec::new() }
    }

    /// All that one flipped bit makes of some bytes.
    fn flipped(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
        (0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped.into()
        })
    }

    #[test]
    fn what_was_sent_is_what_is_received() {
        assert_eq!(unsummed(summed(&delivery())), Ok(delivery()));
        assert_eq!(unsummed(summed(&proto::Greeting::default())), Ok(proto::Greeting::default()));
    }

    #[test]
    fn no_flipped_bit_makes_another_message_and_without_the_sum_most_of_them_would() {
        let (bare, sent) = (delivery().encode_to_vec(), summed(&delivery()).encode_to_vec());
        let others = flipped(&bare).filter_map(|bytes| proto::Delivery::decode(bytes).ok());
        assert!(others.filter(|other| *other != delivery()).count() * 2 > bare.len() * 8);
        for bytes in flipped(&sent) {
            let received = proto::Summed::decode(bytes).ok().map(unsummed::<proto::Delivery>);
            // A bit of what tells protobuf where a field is may change nothing of what it says.
            let as_it_was =
                |received: &Result<_, _>| received.as_ref().is_ok_and(|it| *it == delivery());
            assert!(received.is_none_or(|received| received.is_err() || as_it_was(&received)));
        }
    }

    #[test]
    fn nothing_is_no_message() {
        let nothing = unsummed::<proto::Greeting>(proto::Summed::default());
        assert_eq!(nothing, Err(Unsound::Changed { said: 0, found: SEED }));
    }
}
