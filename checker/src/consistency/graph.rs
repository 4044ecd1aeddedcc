//! Cycles in directed graphs: is there one, and a short one to show.

use std::collections::{HashMap, VecDeque};

/// A graph over nodes `0..n`, its edges labelled with what forced them.
pub(crate) struct Graph<L> {
    pub(crate) edges: Vec<Vec<(u32, L)>>,
}

impl<L: Copy> Graph<L> {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { edges: (0..nodes).map(|_| Vec::new()).collect() }
    }

    pub(crate) fn add(&mut self, from: u32, to: u32, label: L) {
        self.edges[from as usize].push((to, label));
    }

    /// The nodes in an order that every edge follows; none if there is a cycle (Kahn 1962).
    pub(crate) fn topological(&self) -> Option<Vec<u32>> {
        let order = self.sweep().0;
        (order.len() == self.edges.len()).then_some(order)
    }

    fn sweep(&self) -> (Vec<u32>, Vec<u32>) {
        let mut before = vec![0_u32; self.edges.len()];
        for (to, _) in self.edges.iter().flatten() {
            before[*to as usize] += 1;
        }
        let mut order: Vec<u32> =
            (0..self.edges.len() as u32).filter(|node| before[*node as usize] == 0).collect();
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            next += 1;
            for (to, _) in &self.edges[node as usize] {
                before[*to as usize] -= 1;
                if before[*to as usize] == 0 {
                    order.push(*to);
                }
            }
        }
        (order, before)
    }

    /// For each node: is it on a cycle, or behind one?
    fn in_cycles(&self) -> Vec<bool> {
        self.sweep().1.into_iter().map(|before| before > 0).collect()
    }

    /// A short cycle as its edges `(from, to, label)`: the shortest through some of its nodes.
    pub(crate) fn cycle(&self) -> Option<Vec<(u32, u32, L)>> {
        /// From so many nodes a shortest cycle is sought: each costs a walk of the graph.
        const STARTS: usize = 64;
        let left = self.in_cycles();
        let nodes = (0..self.edges.len() as u32).filter(|node| left[*node as usize]);
        let mut best: Option<Vec<(u32, u32, L)>> = None;
        let mut tried = 0;
        for node in nodes {
            // Nodes behind a cycle but on none give no answer: they do not count as tries.
            if let Some(cycle) = self.shortest_back_to(node, &left) {
                if best.as_ref().is_none_or(|best| cycle.len() < best.len()) {
                    best = Some(cycle);
                }
                tried += 1;
            }
            if tried >= STARTS || best.as_ref().is_some_and(|best| best.len() <= 2) {
                break;
            }
        }
        best
    }

    fn shortest_back_to(&self, start: u32, within: &[bool]) -> Option<Vec<(u32, u32, L)>> {
        let mut came: HashMap<u32, (u32, L)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &(to, label) in &self.edges[node as usize] {
                if to == start {
                    let mut cycle = vec![(node, to, label)];
                    let mut at = node;
                    while at != start {
                        let (from, label) = came[&at];
                        cycle.push((from, at, label));
                        at = from;
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if within[to as usize] && !came.contains_key(&to) {
                    came.insert(to, (node, label));
                    queue.push_back(to);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_short() {
        let mut graph = Graph::new(6);
        for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 1), (3, 2), (4, 0)] {
            graph.add(from, to, ());
        }
        assert_eq!(graph.topological(), None);
        assert_eq!(graph.cycle().unwrap().len(), 2);
    }

    #[test]
    fn without_a_cycle_there_is_an_order() {
        let mut graph = Graph::new(4);
        for (from, to) in [(3, 1), (1, 0), (3, 2), (2, 0)] {
            graph.add(from, to, ());
        }
        let order = graph.topological().unwrap();
        let place = |node| order.iter().position(|at| *at == node).unwrap();
        assert!(place(3) < place(1) && place(1) < place(0) && place(2) < place(0));
        assert!(graph.cycle().is_none());
    }
}
