//! Sorting, compiled once: the standard library's sort is some 5 KB for each type of items and each comparison. What is
//! sorted for every request, or by the hundred thousand, is sorted by the standard library at its own place.

use std::cmp::Ordering;

/// Sorts as `slice::sort_by` does: items that compare equal stay in the order they are in.
pub fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let swaps = swaps(items.len(), &|a, b| compare(&items[a], &items[b]));
    for (a, b) in swaps {
        items.swap(a, b);
    }
}

/// Sorts as `slice::sort_by_key` does.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a).cmp(&key(b)));
}

/// A set or a map of items, put in one after the other: `collect` would sort them first, with a sort of its own. Of two
/// values of one key the last stays, as with `collect`.
pub fn gathered<T, C: Default + Extend<T>>(items: impl IntoIterator<Item = T>) -> C {
    let mut all = C::default();
    all.extend(items);
    all
}

/// The exchanges, one after the other, that bring `count` items into the order of their places' comparison.
fn swaps(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    let mut swaps = Vec::new();
    for start in 0..count {
        // Each item goes where it belongs; what was there goes where the item came from, and is the next.
        let mut at = start;
        while order[at] != start {
            let from = std::mem::replace(&mut order[at], at);
            swaps.push((at, from));
            at = from;
        }
        order[at] = at;
    }
    swaps
}

#[cfg(test)]
mod tests {
    use super::{by, by_key, gathered};
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    /// Every list of up to five items of four values, each item with its place.
    fn lists() -> Vec<Vec<(u32, usize)>> {
        let of = |number: u32, length: usize| {
            let digit = |place: usize| (number >> (2 * place)) & 3;
            (0..length).map(|place| (digit(place), place)).collect()
        };
        (0..=5)
            .flat_map(|length| (0..4_u32.pow(length)).map(move |n| (n, length)))
            .map(|(number, length)| of(number, length as usize))
            .collect()
    }

    #[test]
    fn lists_are_sorted_as_the_standard_library_sorts_them() {
        for list in lists() {
            let (mut ours, mut theirs) = (list.clone(), list.clone());
            by(&mut ours, |a, b| a.0.cmp(&b.0));
            theirs.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(ours, theirs, "{list:?}");
            let (mut ours, mut theirs) = (list.clone(), list.clone());
            by_key(&mut ours, |item| Reverse(item.0));
            theirs.sort_by_key(|item| Reverse(item.0));
            assert_eq!(ours, theirs, "{list:?}");
        }
    }

    #[test]
    fn many_items_are_sorted_as_well() {
        let scattered = (0..5_000_u64).map(|n| (n.wrapping_mul(2_654_435_761) % 97, n));
        let mut ours: Vec<(u64, u64)> = scattered.collect();
        let mut theirs = ours.clone();
        by_key(&mut ours, |item| item.0);
        theirs.sort_by_key(|item| item.0);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_map_is_gathered_as_it_is_collected() {
        let pairs = [("b", 1), ("a", 2), ("b", 3)];
        let gathered: BTreeMap<&str, u32> = gathered(pairs);
        assert_eq!(gathered, pairs.into_iter().collect());
    }
}
