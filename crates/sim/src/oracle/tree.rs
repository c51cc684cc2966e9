//! Greedy trees: each viewer takes the place at which its frames arrive soonest.

use std::cmp::Reverse;

use super::Truth;

/// A viewer's position in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Parent of the viewer.
    pub parent: usize,
    /// Mixer at the top of the branch.
    pub root: usize,
    /// Depth in the tree; a mixer's depth is 0.
    pub depth: usize,
    /// Latency from the mixer's encoder to the viewer, microseconds.
    pub below_us: u64,
}

/// A tree, stored as each peer's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Positions by index of the peer; `None` for peers that aren't viewers, and for viewers without a place.
    pub places: Vec<Option<Position>>,
}

impl Built {
    /// Mean depth of the viewers in the tree, a mixer's depth being 0; `None` if there are none.
    pub fn mean_depth(&self) -> Option<f64> {
        let depths: Vec<_> = self.places.iter().flatten().map(|place| place.depth as f64).collect();
        (!depths.is_empty()).then(|| depths.iter().sum::<f64>() / depths.len() as f64)
    }

    /// Depth of the deepest viewer.
    pub fn depth_max(&self) -> usize {
        self.places.iter().flatten().map(|place| place.depth).max().unwrap_or(0)
    }

    /// Mean latency from the mixer's encoder to the viewers, microseconds; `None` if there are none.
    pub fn mean_below_us(&self) -> Option<f64> {
        let times: Vec<_> = self.places.iter().flatten().map(|place| place.below_us as f64).collect();
        (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64)
    }
}

/// A peer with room for children: a mixer, or a viewer that has a place in the tree.
#[derive(Clone, Copy, Debug)]
struct Open {
    peer: usize,
    root: usize,
    depth: usize,
    below_us: u64,
    fed: usize,
    slots: usize,
}

impl Truth {
    /// The greedy tree below these mixers: the better of two, in which the viewers in turn take the open
    /// place at which their frames arrive soonest. In one of them the widest uplinks come first, which makes
    /// the tree flat. In the other the relays come first, in the order of their delay, which is faster where
    /// the widest uplinks are far away.
    pub fn greedy_tree(&self, mixers: &[usize]) -> Built {
        let nearest_us = |viewer: usize| mixers.iter().map(|mixer| self.delay_us(*mixer, viewer)).min();
        let mut flat = self.waiting(mixers);
        flat.sort_by_key(|viewer| (Reverse(self.relay_slots(*viewer)), nearest_us(*viewer), *viewer));
        let mut quick = flat.clone();
        quick.sort_by_key(|viewer| (self.relay_slots(*viewer) == 0, nearest_us(*viewer), *viewer));
        let [flat, quick] = [flat, quick].map(|order| self.in_order(mixers, &order));
        if self.value(mixers, &quick).beats(&self.value(mixers, &flat)) { quick } else { flat }
    }

    /// The (parent, child) pairs of a tree, each parent's children in the order in which it serves them.
    pub fn edges(&self, tree: &Built) -> Vec<(usize, usize)> {
        let hung = tree.places.iter().enumerate().filter_map(|(child, place)| Some((child, (*place)?)));
        let mut hung: Vec<_> = hung
            .map(|(child, place)| (place.parent, place.below_us - self.delay_us(place.parent, child), child))
            .collect();
        hung.sort_unstable();
        hung.into_iter().map(|(parent, _, child)| (parent, child)).collect()
    }

    /// The tree that consists of these (parent, child) pairs, in the order in which parents serve their
    /// children. Peers that aren't below one of the mixers are left out.
    pub fn tree_of(&self, mixers: &[usize], edges: &[(usize, usize)]) -> Built {
        let mut places: Vec<Option<Position>> = vec![None; self.peers.len()];
        let root = |mixer: &usize| Position { parent: *mixer, root: *mixer, depth: 0, below_us: 0 };
        let mut next: Vec<(usize, Position)> = mixers.iter().map(|mixer| (*mixer, root(mixer))).collect();
        while let Some((parent, place)) = next.pop() {
            let children = edges.iter().filter(|(above, _)| *above == parent).map(|(_, child)| *child);
            for (before, child) in children.enumerate() {
                let sent_us = self.sending_us(parent) * (before as u64 + 1);
                let below_us = place.below_us + sent_us + self.delay_us(parent, child);
                let hung = Position { parent, root: place.root, depth: place.depth + 1, below_us };
                if places[child].replace(hung).is_none() {
                    next.push((child, hung));
                }
            }
        }
        Built { places }
    }

    fn in_order(&self, mixers: &[usize], order: &[usize]) -> Built {
        let mut grown = Growth::new(self, mixers);
        for viewer in order {
            let soonest = (0..grown.open()).min_by_key(|at| (grown.reach_us(self, *at, *viewer), *at));
            match soonest {
                Some(at) => grown.hang(self, *viewer, at),
                None => break,
            }
        }
        grown.built
    }

    /// All peers that should get the program from the tree.
    pub(super) fn waiting(&self, mixers: &[usize]) -> Vec<usize> {
        (0..self.peers.len()).filter(|at| self.wants_tree(*at, mixers)).collect()
    }
}

/// A tree under construction.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    /// Peers with room for another child.
    open: Vec<Open>,
    pub(super) built: Built,
}

impl Growth {
    /// A tree of the mixers only.
    pub(super) fn new(truth: &Truth, mixers: &[usize]) -> Growth {
        let root = |mixer: &usize| {
            let slots = truth.first_tier(*mixer, mixers);
            Open { peer: *mixer, root: *mixer, depth: 0, below_us: 0, fed: 0, slots }
        };
        let open = mixers.iter().map(root).filter(|open| open.slots > 0).collect();
        Growth { open, built: Built { places: vec![None; truth.peers.len()] } }
    }

    /// Number of peers with room for another child.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Time at which a frame would reach `viewer` as the next child of an open place.
    fn reach_us(&self, truth: &Truth, at: usize, viewer: usize) -> u64 {
        let parent = &self.open[at];
        let sent_us = truth.sending_us(parent.peer) * (parent.fed as u64 + 1);
        parent.below_us + sent_us + truth.delay_us(parent.peer, viewer)
    }

    /// Adds a viewer at an open place.
    pub(super) fn hang(&mut self, truth: &Truth, viewer: usize, at: usize) {
        let below_us = self.reach_us(truth, at, viewer);
        let parent = &mut self.open[at];
        parent.fed += 1;
        let (root, depth) = (parent.root, parent.depth + 1);
        self.built.places[viewer] = Some(Position { parent: parent.peer, root, depth, below_us });
        if parent.fed == parent.slots {
            self.open.remove(at);
        }
        let slots = truth.relay_slots(viewer);
        if slots > 0 {
            self.open.push(Open { peer: viewer, root, depth, below_us, fed: 0, slots });
        }
    }
}
