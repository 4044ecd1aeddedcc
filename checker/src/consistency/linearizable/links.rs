//! How each configuration of the search came about: a tree of calls, shared from the root.

use crate::judge::budget::Exhausted;

/// No call yet.
pub(crate) const ROOT: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    call: u32,
}

/// The tree. What no configuration holds any more is collected, so that it stays in proportion
/// to the history and the frontier: paths soon run together going back.
pub(crate) struct Links {
    links: Vec<Link>,
    /// Collect when there are so many.
    limit: usize,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { links: Vec::new(), limit: 1 << 16 }
    }

    /// `call` is done after what leads to `before`.
    pub(crate) fn push(&mut self, before: u32, call: u32) -> Result<u32, Exhausted> {
        // The root takes one number away. Half of 64 GiB of links is no budget anybody gives.
        let at = u32::try_from(self.links.len()).ok().filter(|at| *at != ROOT);
        let at = at.ok_or(Exhausted::Memory(self.bytes()))?;
        self.links.push(Link { before, call });
        Ok(at)
    }

    /// Is it time to collect?
    pub(crate) fn is_full(&self) -> bool {
        self.links.len() >= self.limit
    }

    /// Keeps what leads to these, and renumbers them.
    pub(crate) fn collect<'a>(&mut self, held: impl Iterator<Item = &'a mut u32>) {
        const FREE: u32 = 0;
        const HELD: u32 = 1;
        let mut moved = vec![FREE; self.links.len()];
        let held: Vec<&mut u32> = held.collect();
        for link in &held {
            let mut at = **link;
            while at != ROOT && moved[at as usize] == FREE {
                moved[at as usize] = HELD;
                at = self.links[at as usize].before;
            }
        }
        // What stands before has the lower number: one pass moves all.
        let mut kept: u32 = 0;
        for at in 0..self.links.len() {
            if moved[at] == HELD {
                let Link { before, call } = self.links[at];
                let before = if before == ROOT { ROOT } else { moved[before as usize] };
                self.links[kept as usize] = Link { before, call };
                moved[at] = kept;
                kept += 1;
            }
        }
        self.links.truncate(kept as usize);
        for link in held {
            if *link != ROOT {
                *link = moved[*link as usize];
            }
        }
        self.limit = (self.links.len() * 2).max(1 << 16);
    }

    /// The calls that lead to `last`, first to last.
    pub(crate) fn order(&self, last: u32) -> Vec<u32> {
        let mut order = Vec::new();
        let mut at = last;
        while at != ROOT {
            let Link { before, call } = self.links[at as usize];
            order.push(call);
            at = before;
        }
        order.reverse();
        order
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.links.capacity() * size_of::<Link>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collecting_keeps_the_paths_that_are_held() {
        let mut links = Links::new();
        let a = links.push(ROOT, 10).unwrap();
        let lost = links.push(a, 11).unwrap();
        links.push(lost, 12).unwrap();
        let mut b = links.push(a, 13).unwrap();
        let mut root = ROOT;
        links.collect([&mut b, &mut root].into_iter());
        assert_eq!(links.order(b), [10, 13]);
        assert_eq!((links.links.len(), root), (2, ROOT));
    }
}
