//! Sort functions that are compiled only once: the sort of the standard library takes about 5 KB for each type of
//! item and each comparison. Code that sorts for every request, or very many items, calls the standard library
//! directly.

use std::cmp::Ordering;

/// Sorts like `slice::sort_by`: items that compare equal keep their order.
pub fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let swaps = swaps(items.len(), &|a, b| compare(&items[a], &items[b]));
    for (a, b) in swaps {
        items.swap(a, b);
    }
}

/// Sorts like `slice::sort_by_key`.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a).cmp(&key(b)));
}

/// Collects items into a set or a map by inserting them one after the other. `collect` would sort them first, with
/// another compiled copy of the sort. If a key occurs twice, the last value is kept, as with `collect`.
pub fn gathered<T, C: Default + Extend<T>>(items: impl IntoIterator<Item = T>) -> C {
    let mut all = C::default();
    all.extend(items);
    all
}

/// The swaps that, carried out in order, sort `count` items whose positions are compared by `compare`.
fn swaps(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    let mut swaps = Vec::new();
    for start in 0..count {
        // Each item is swapped into its final position; the item that was there moves to the position that became
        // free, and is handled next.
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

    /// Every list of up to five items with four values, each item with its position.
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
            theirs.sort_by_key(|item| item.0);
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
