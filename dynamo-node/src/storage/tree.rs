//! The Merkle tree over a node's home records, kept in memory: the fingerprint of every stretch of the ring
//! that begins with up to four hexadecimal digits.
//!
//! Made anew from the records whenever the directory is opened and all of it is read, so that no crash
//! leaves it saying anything but what is there, and kept up with every change; who ends in order leaves it
//! for the next start, see [`super::closed`]. Below its leaves, the *buckets*, the records themselves are
//! looked at: a million keys come to 15 a bucket.

use dynamo_protocol::{Fingerprint, Leaf, Span, Token};

use super::state::Census;

/// How many digits a bucket's positions have in common.
const DIGITS: u32 = 4;
/// All nodes of the tree: 1 + 16 + 256 + 4096 + 65536, of 32 bytes.
const NODES: usize = (16_usize.pow(DIGITS + 1) - 1) / 15;
/// How many buckets there are.
pub(super) const BUCKETS: usize = 16_usize.pow(DIGITS);

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// Level by level.
    nodes: Vec<Fingerprint>,
    /// Of the records of each bucket, whether they can be read or not.
    counted: Vec<Census>,
}

/// A node of the tree: the positions that begin with these digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Branch {
    digits: u32,
    /// As one number.
    prefix: u128,
}

impl Branch {
    const ROOT: Self = Self { digits: 0, prefix: 0 };

    fn of(token: Token, digits: u32) -> Self {
        Self { digits, prefix: token.0.checked_shr(128 - 4 * digits).unwrap_or(0) }
    }

    fn span(self) -> Span {
        let rest = 128 - 4 * self.digits;
        let first = self.prefix.checked_shl(rest).unwrap_or(0);
        let last = first | u128::MAX.checked_shr(4 * self.digits).unwrap_or(0);
        Span::new(Token(first), Token(last)).unwrap_or(Span::RING)
    }

    fn children(self) -> impl Iterator<Item = Self> {
        (0..16).map(move |digit| Self { digits: self.digits + 1, prefix: self.prefix << 4 | digit })
    }

    /// Where it lies, level by level.
    fn index(self) -> usize {
        let above = (16_usize.pow(self.digits) - 1) / 15;
        above + usize::try_from(self.prefix).expect("a prefix has four digits at most")
    }
}

impl Tree {
    /// Of no records.
    pub(super) fn new() -> Self {
        let counted = vec![Census::default(); BUCKETS];
        Self { nodes: vec![Fingerprint::default(); NODES], counted }
    }

    /// Of buckets that come to this, and others that hold nothing.
    pub(super) fn of(buckets: Vec<(u16, Fingerprint, Census)>) -> Self {
        let mut tree = Self::new();
        for (bucket, found, counted) in buckets {
            tree.recounted(Token(u128::from(bucket) << (128 - 4 * DIGITS)), found);
            tree.counted[usize::from(bucket)] = counted;
        }
        tree
    }

    /// What its buckets come to, of those that hold something.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u16, Fingerprint, Census)> {
        let leaves = self.nodes[NODES - BUCKETS..].iter().zip(&self.counted);
        let buckets =
            (0..=u16::MAX).zip(leaves).map(|(at, (found, counted))| (at, *found, *counted));
        buckets.filter(|(_, found, counted)| {
            (*found, *counted) != (Fingerprint::default(), Census::default())
        })
    }

    /// The census of all of them.
    pub(super) fn total(&self) -> Census {
        self.counted.iter().fold(Census::default(), |all, counted| all.and(counted))
    }

    /// The census of one.
    pub(super) fn bucket_counted(&self, bucket: usize) -> Census {
        self.counted[bucket]
    }

    /// The fingerprint of one.
    pub(super) fn bucket_found(&self, bucket: usize) -> Fingerprint {
        self.nodes[NODES - BUCKETS + bucket]
    }

    /// The census of the one around `token`, to be kept up.
    pub(super) fn counted(&mut self, token: Token) -> &mut Census {
        &mut self.counted[usize::from(Self::bucket_of(token))]
    }

    /// Which one lies around `token`.
    pub(super) fn bucket_of(token: Token) -> u16 {
        u16::try_from(Branch::of(token, DIGITS).prefix).expect("a bucket has four digits")
    }

    /// A key at `token` has one leaf in the place of another.
    pub(super) fn change(&mut self, token: Token, before: Option<Leaf>, after: Option<Leaf>) {
        for digits in 0..=DIGITS {
            let node = &mut self.nodes[Branch::of(token, digits).index()];
            before.into_iter().for_each(|leaf| node.remove(leaf));
            after.into_iter().for_each(|leaf| node.add(leaf));
        }
    }

    /// The bucket around `token` comes to this, whatever was said of it before.
    pub(super) fn recounted(&mut self, token: Token, found: Fingerprint) {
        let before = self.nodes[Branch::of(token, DIGITS).index()];
        for digits in 0..=DIGITS {
            let node = &mut self.nodes[Branch::of(token, digits).index()];
            node.keys = node.keys.wrapping_sub(before.keys).wrapping_add(found.keys);
            node.sum = node.sum.wrapping_sub(before.sum).wrapping_add(found.sum);
        }
    }

    /// The bucket around `token`.
    pub(super) fn bucket(token: Token) -> Span {
        Branch::of(token, DIGITS).span()
    }

    /// The fingerprint of `span`. What lies in it and is less than a bucket is asked of `look`.
    pub(super) fn fingerprint<E>(
        &self,
        span: Span,
        look: &mut impl FnMut(Span) -> Result<Fingerprint, E>,
    ) -> Result<Fingerprint, E> {
        self.within(Branch::ROOT, span, look)
    }

    fn within<E>(
        &self,
        branch: Branch,
        span: Span,
        look: &mut impl FnMut(Span) -> Result<Fingerprint, E>,
    ) -> Result<Fingerprint, E> {
        let node = self.nodes[branch.index()];
        let all = branch.span();
        match all.and(&span) {
            // Of nothing no part is anything.
            _ if node == Fingerprint::default() => Ok(node),
            None => Ok(Fingerprint::default()),
            Some(part) if part == all => Ok(node),
            Some(part) if branch.digits == DIGITS => look(part),
            Some(_) => {
                let mut sum = Fingerprint::default();
                for child in branch.children() {
                    sum.join(self.within(child, span, look)?);
                }
                Ok(sum)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn branches_are_the_parts_of_the_ring_and_each_has_its_place() {
        assert_eq!(Branch::ROOT.span(), Span::RING);
        let children: Vec<_> = Branch::ROOT.children().map(Branch::span).collect();
        assert_eq!(children, Span::RING.parts());
        let last = Branch::of(Token(u128::MAX), DIGITS);
        assert_eq!((last.index(), last.span().last()), (NODES - 1, Token(u128::MAX)));
        assert_eq!(Tree::bucket(Token(0)).first(), Token(0));
    }

    proptest! {
        #[test]
        fn a_trees_fingerprints_are_those_of_the_keys(
            keys in vec((any::<u128>(), 1..1000_u128), 0..200), gone in 0..100_usize,
            ends in vec(any::<u128>(), 2),
        ) {
            let keys: Vec<_> = keys.into_iter().map(|(at, leaf)| (Token(at), Leaf(leaf))).collect();
            let mut tree = Tree::new();
            keys.iter().for_each(|(token, leaf)| tree.change(*token, None, Some(*leaf)));
            let kept = &keys[gone.min(keys.len())..];
            for (at, (token, leaf)) in keys[..gone.min(keys.len())].iter().enumerate() {
                if at % 2 == 0 {
                    tree.change(*token, Some(*leaf), None);
                } else {
                    let bucket = Tree::bucket(*token);
                    let rest = keys[at + 1..].iter().filter(|(token, _)| bucket.contains(*token));
                    tree.recounted(*token, rest.map(|(_, leaf)| *leaf).collect());
                }
            }
            let found = |span: Span| {
                let inside = kept.iter().filter(|(token, _)| span.contains(*token));
                inside.map(|(_, leaf)| *leaf).collect::<Fingerprint>()
            };
            let (first, last) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            let span = Span::new(Token(first), Token(last)).unwrap();
            for span in [span, Span::RING, Span::RING.parts()[3], span.parts()[0]] {
                let mut look = |part: Span| {
                    assert_eq!(Some(part), Tree::bucket(part.first()).and(&part), "part of a bucket");
                    Ok::<_, Infallible>(found(part))
                };
                prop_assert_eq!(tree.fingerprint(span, &mut look), Ok(found(span)));
            }
        }
    }
}
