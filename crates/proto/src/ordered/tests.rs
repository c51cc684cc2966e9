//! Sorted vectors behave as B-trees.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::map::SortedMap;
use super::set::SortedSet;

/// Operation on a map and a set, each beside its B-tree.
#[derive(Clone, Debug)]
enum Op {
    Insert(u8, u16),
    Remove(u8),
    Add(u8),
    First,
    Odd,
    Cut(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Op::Insert(key, value)),
        4 => any::<u8>().prop_map(Op::Remove),
        4 => any::<u8>().prop_map(Op::Add),
        1 => Just(Op::First),
        1 => Just(Op::Odd),
        1 => any::<u8>().prop_map(Op::Cut),
    ]
}

proptest! {
    #[test]
    fn a_map_and_a_set_do_what_b_trees_do(ops in prop::collection::vec(op(), 0..200), from: u8, to: u8) {
        let (mut tree, mut map) = (BTreeMap::<u8, u16>::new(), SortedMap::new());
        let (mut elements, mut set) = (BTreeSet::<u8>::new(), SortedSet::new());
        for op in ops {
            match op {
                Op::Insert(key, value) => {
                    prop_assert_eq!(tree.insert(key, value), map.insert(key, value));
                    prop_assert_eq!(elements.insert(key), set.insert(key));
                }
                Op::Remove(key) => {
                    prop_assert_eq!(tree.remove(&key), map.remove(&key));
                    prop_assert_eq!(elements.remove(&key), set.remove(&key));
                }
                Op::Add(key) => {
                    let add = |value: &mut u16| *value = value.wrapping_add(7);
                    prop_assert_eq!(
                        tree.entry(key).and_modify(add).or_default(),
                        map.entry(key).and_modify(add).or_default()
                    );
                }
                Op::First => {
                    prop_assert_eq!(tree.pop_first(), map.pop_first());
                    prop_assert_eq!(elements.pop_first(), set.pop_first());
                }
                Op::Odd => {
                    tree.retain(|key, value| { *value |= 1; key % 4 != 1 });
                    map.retain(|key, value| { *value |= 1; key % 4 != 1 });
                    elements.retain(|key| key % 4 != 1);
                    set.retain(|key| key % 4 != 1);
                }
                Op::Cut(first) => {
                    let (off, same) = (tree.split_off(&first), map.split_off(&first));
                    prop_assert!(off.iter().eq(same.iter()));
                    tree.extend(off.into_iter().rev());
                    map.extend(same.into_iter().rev());
                }
            }
            prop_assert!(tree.iter().eq(&map) && tree.len() == map.len());
            prop_assert!(elements.iter().eq(&set) && elements.len() == set.len());
            prop_assert_eq!(tree.first_key_value(), map.first_key_value());
            prop_assert_eq!(elements.last(), set.last());
        }
        let (from, to) = (from.min(to), from.max(to));
        prop_assert!(tree.range(from..).eq(map.range(from..)));
        prop_assert!(tree.range(from..to).eq(map.range(from..to)));
        prop_assert!(tree.range(..=to).eq(map.range(..=to)));
        let all = (0..=255_u8).all(|key| {
            tree.get(&key) == map.get(&key) && tree.contains_key(&key) == map.contains_key(&key)
                && elements.contains(&key) == set.contains(&key)
        });
        prop_assert!(all);
        let other: SortedSet<u8> = map.keys().copied().collect();
        let keys: BTreeSet<u8> = tree.keys().copied().collect();
        prop_assert!(elements.difference(&keys).eq(set.difference(&other)));
        prop_assert_eq!(elements.is_superset(&keys), set.is_superset(&other));
    }
}
