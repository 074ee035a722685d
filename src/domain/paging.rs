//! Paging through long lists: merges several sources into one order, and limits how many rows one request examines.
//!
//! This file knows neither permissions nor SQL. The caller provides the rows and decides which of them belong to the
//! list.

use crate::error::Result;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The number of rows that one request examines. A page may be short, or even empty, and still have a next page.
pub const EXAMINED_MAX: usize = 20_000;
/// The number of positions that are read from a source at a time.
pub const BATCH: u32 = 100;

/// A page, and the position after which the next page begins.
pub type Page<T, P> = (Vec<T>, Option<P>);

/// Examines the rows of all sources in the order of their positions, each row once, beginning after `start`, and
/// keeps the rows that match.
///
/// `read` returns the next [`BATCH`] positions of a source after a position; fewer mean the end of the source. `look`
/// returns the row if it matches.
pub fn page<S, P: Copy + Ord, T>(
    sources: &[S],
    start: Option<P>,
    limit: usize,
    read: impl Fn(&S, Option<P>) -> Result<Vec<P>>,
    mut look: impl FnMut(P) -> Result<Option<T>>,
) -> Result<Page<T, P>> {
    let mut places = Positions::new(sources, start, read)?;
    let mut items = Vec::new();
    let (mut reached, mut last) = (start, start);
    let mut examined = 0;
    while let Some(place) = places.next()? {
        if examined == EXAMINED_MAX {
            return Ok((items, reached));
        }
        examined += 1;
        if let Some(item) = look(place)? {
            if items.len() == limit {
                return Ok((items, last));
            }
            items.push(item);
            last = Some(place);
        }
        reached = Some(place);
    }
    Ok((items, None))
}

/// The positions of all sources, merged in order.
struct Positions<'a, S, P, R> {
    sources: &'a [S],
    read: R,
    /// The positions that were read from each source and not returned yet.
    waiting: Vec<VecDeque<P>>,
    /// The first position of each source that is not exhausted.
    heads: BinaryHeap<Reverse<(P, usize)>>,
    handed: Option<P>,
}

impl<'a, S, P: Copy + Ord, R: Fn(&S, Option<P>) -> Result<Vec<P>>> Positions<'a, S, P, R> {
    fn new(sources: &'a [S], start: Option<P>, read: R) -> Result<Self> {
        let mut places = Positions {
            sources,
            read,
            waiting: sources.iter().map(|_| VecDeque::new()).collect(),
            heads: BinaryHeap::new(),
            handed: start,
        };
        for source in 0..sources.len() {
            places.fill(source, start)?;
        }
        Ok(places)
    }

    fn next(&mut self) -> Result<Option<P>> {
        while let Some(Reverse((place, source))) = self.heads.pop() {
            match self.waiting[source].pop_front() {
                Some(next) => self.heads.push(Reverse((next, source))),
                None => self.fill(source, Some(place))?,
            }
            // A row that two sources contain is returned once.
            if self.handed < Some(place) {
                self.handed = Some(place);
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn fill(&mut self, source: usize, after: Option<P>) -> Result<()> {
        let mut places = VecDeque::from((self.read)(&self.sources[source], after)?);
        if let Some(first) = places.pop_front() {
            self.heads.push(Reverse((first, source)));
        }
        self.waiting[source] = places;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The multiples of `step` up to 100,000.
    fn read(step: &usize, after: Option<usize>) -> Result<Vec<usize>> {
        let first = after.map_or(1, |after| after / step + 1);
        let numbers = (first..).map(|n| n * step).take(BATCH as usize);
        Ok(numbers.take_while(|number| *number <= 100_000).collect())
    }

    #[test]
    fn sources_are_merged_in_order_and_no_row_comes_twice() {
        let mut seen = Vec::new();
        let mut start = None;
        loop {
            let (items, next) = page(&[20, 30], start, 7, read, |n| Ok(Some(n))).unwrap();
            seen.extend(items);
            start = next;
            if start.is_none() {
                break;
            }
        }
        let expected: Vec<usize> = (1..=100_000)
            .filter(|n| n % 20 == 0 || n % 30 == 0)
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let two = |n: usize| Ok((n >= 99_999).then_some(n));
        let (items, next) = page(&[1], Some(99_000), 2, read, two).unwrap();
        assert_eq!((items, next), (vec![99_999, 100_000], None));
        let (items, next) = page(&[1], Some(99_000), 1, read, two).unwrap();
        assert_eq!((items, next), (vec![99_999], Some(99_999)));
        let none: &[usize] = &[];
        assert_eq!(page(none, None, 1, read, two).unwrap(), (vec![], None));
    }

    #[test]
    fn a_request_looks_at_so_many_rows_and_says_how_far_it_came() {
        let looked = std::cell::Cell::new(0);
        let optional = |n: usize| {
            looked.set(looked.get() + 1);
            Ok((n == 10 || n == 50_000).then_some(n))
        };
        let (items, next) = page(&[1], None, 5, read, optional).unwrap();
        assert_eq!((items, next), (vec![10], Some(EXAMINED_MAX)));
        assert_eq!(looked.get(), EXAMINED_MAX);
        let (items, next) = page(&[1], next, 5, read, optional).unwrap();
        assert_eq!((items, next), (vec![], Some(2 * EXAMINED_MAX)));
        let (items, _) = page(&[1], next, 5, read, optional).unwrap();
        assert_eq!(items, [50_000]);
    }
}
