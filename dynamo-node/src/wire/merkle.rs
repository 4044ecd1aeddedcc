//! What homes say to each other when they compare what they hold.

use bytes::Bytes;
use dynamo_protocol::{Between, Compared, Fingerprint, Key, Leaf, Span, Token};

use super::{Malformed, key};
use crate::proto;
use crate::proto::found::Found as Wire;

/// The bytes of a 128-bit number.
const BYTES: usize = 16;

pub(super) fn between_to_proto(between: Between) -> proto::Between {
    match between {
        Between::Homes => proto::Between::Homes,
        Between::StrayAndHome => proto::Between::StrayAndHome,
        Between::HomeAndStray => proto::Between::HomeAndStray,
    }
}

pub(super) fn between_from_proto(between: i32) -> Result<Between, Malformed> {
    let unknown = |_| Malformed::UnknownValue("what is compared", between);
    Ok(match proto::Between::try_from(between).map_err(unknown)? {
        proto::Between::Homes => Between::Homes,
        proto::Between::StrayAndHome => Between::StrayAndHome,
        proto::Between::HomeAndStray => Between::HomeAndStray,
    })
}

pub(super) fn span_to_proto(span: Span) -> proto::Span {
    proto::Span { first: trimmed(span.first(), 0), last: trimmed(span.last(), u8::MAX) }
}

pub(super) fn span_from_proto(span: proto::Span) -> Result<Span, Malformed> {
    let (first, last) = (padded(&span.first, 0)?, padded(&span.last, u8::MAX)?);
    Span::new(first, last).ok_or(Malformed::Span)
}

pub(super) fn asked_to_proto((span, fingerprint): (Span, Fingerprint)) -> proto::Asked {
    let proto::Span { first, last } = span_to_proto(span);
    proto::Asked { first, last, fingerprint: Some(fingerprint_to_proto(fingerprint)) }
}

pub(super) fn asked_from_proto(asked: proto::Asked) -> Result<(Span, Fingerprint), Malformed> {
    let proto::Asked { first, last, fingerprint } = asked;
    let span = span_from_proto(proto::Span { first, last })?;
    Ok((span, fingerprint_from_proto(fingerprint.unwrap_or_default())?))
}

pub(super) fn found_to_proto(found: Compared) -> proto::Found {
    let found = match found {
        Compared::Equal => Wire::Equal(proto::Equal {}),
        Compared::Parts(parts) => {
            let parts = parts.into_iter().map(fingerprint_to_proto).collect();
            Wire::Parts(proto::Parts { parts })
        }
        Compared::Keys(keys) => {
            Wire::Keys(proto::Keys { keys: keys.into_iter().map(named_to_proto).collect() })
        }
    };
    proto::Found { found: Some(found) }
}

pub(super) fn found_from_proto(found: proto::Found) -> Result<Compared, Malformed> {
    Ok(match found.found.ok_or(Malformed::Missing("what was found"))? {
        Wire::Equal(proto::Equal {}) => Compared::Equal,
        Wire::Parts(proto::Parts { parts }) => {
            let parts = parts.into_iter().map(fingerprint_from_proto);
            Compared::Parts(parts.collect::<Result<_, _>>()?)
        }
        Wire::Keys(proto::Keys { keys }) => {
            Compared::Keys(keys.into_iter().map(named_from_proto).collect::<Result<_, _>>()?)
        }
    })
}

pub(super) fn named_to_proto((key, leaf): (Key, Leaf)) -> proto::NamedKey {
    proto::NamedKey { key: key.0, leaf: Bytes::copy_from_slice(&leaf.0.to_le_bytes()) }
}

pub(super) fn named_from_proto(named: proto::NamedKey) -> Result<(Key, Leaf), Malformed> {
    Ok((key(named.key)?, Leaf(number(&named.leaf)?)))
}

fn fingerprint_to_proto(Fingerprint { keys, sum }: Fingerprint) -> proto::Fingerprint {
    // Of nothing there is nothing to say.
    let sum = if sum == 0 { Bytes::new() } else { Bytes::copy_from_slice(&sum.to_le_bytes()) };
    proto::Fingerprint { keys, sum }
}

fn fingerprint_from_proto(fingerprint: proto::Fingerprint) -> Result<Fingerprint, Malformed> {
    let proto::Fingerprint { keys, sum } = fingerprint;
    Ok(Fingerprint { keys, sum: if sum.is_empty() { 0 } else { number(&sum)? } })
}

fn number(bytes: &Bytes) -> Result<u128, Malformed> {
    let bytes = bytes.first_chunk().filter(|_| bytes.len() == BYTES);
    bytes.map(|bytes| u128::from_le_bytes(*bytes)).ok_or(Malformed::Span)
}

/// A position without the bytes at its end that go without saying: the ends of a part of the ring have few
/// others.
fn trimmed(token: Token, end: u8) -> Bytes {
    let bytes = token.0.to_be_bytes();
    let length = bytes.iter().rposition(|byte| *byte != end).map_or(0, |at| at + 1);
    Bytes::copy_from_slice(&bytes[..length])
}

fn padded(bytes: &Bytes, end: u8) -> Result<Token, Malformed> {
    let mut all = [end; BYTES];
    all.get_mut(..bytes.len()).ok_or(Malformed::Span)?.copy_from_slice(bytes);
    Ok(Token(u128::from_be_bytes(all)))
}

/// About how many bytes they take.
pub(super) fn found_weight(found: &[Compared]) -> usize {
    const PART: usize = 28;
    const NAMED: usize = 24;
    let weight = |found: &Compared| match found {
        Compared::Equal => 4,
        Compared::Parts(parts) => 8 + parts.len() * PART,
        Compared::Keys(keys) => {
            8 + keys.iter().map(|(key, _)| NAMED + key.as_bytes().len()).sum::<usize>()
        }
    };
    found.iter().map(weight).sum()
}

/// The same of what is asked.
pub(super) const ASKED_WEIGHT: usize = 40;
