//! The links to the pages of a long list.

use super::query::ListQuery;
use std::collections::BTreeSet;

/// The number of pages before and after the current one that have a link.
const AROUND: usize = 2;

/// One link, or a gap.
pub struct PageLink {
    /// Empty for a gap.
    pub number: String,
    pub href: String,
    pub current: bool,
}

/// The links to the first, the last and the nearest pages of `count`; none if there is one page.
pub fn links(asked: &ListQuery, current: usize, count: usize) -> Vec<PageLink> {
    if count < 2 {
        return Vec::new();
    }
    let mut links: Vec<PageLink> = Vec::new();
    let mut last = None;
    let near = current.saturating_sub(AROUND)..=(current + AROUND).min(count - 1);
    let shown: BTreeSet<usize> = [0, count - 1].into_iter().chain(near).collect();
    for page in shown {
        if last.is_some_and(|last| last + 1 != page) {
            links.push(PageLink {
                number: String::new(),
                href: String::new(),
                current: false,
            });
        }
        links.push(PageLink {
            number: (page + 1).to_string(),
            href: asked.at(page),
            current: page == current,
        });
        last = Some(page);
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(current: usize, count: usize, expected: &str) {
        let links = links(&ListQuery::default(), current, count);
        let shown = links.iter().map(|link| match link.number.as_str() {
            "" => "…".to_owned(),
            number if link.current => format!("[{number}]"),
            number => number.to_owned(),
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn the_ends_and_the_neighbours_have_links() {
        check(0, 1, "");
        check(0, 2, "[1] 2");
        check(3, 7, "1 2 3 [4] 5 6 7");
        check(0, 2_000, "[1] 2 3 … 2000");
        check(999, 2_000, "1 … 998 999 [1000] 1001 1002 … 2000");
        check(1_999, 2_000, "1 … 1998 1999 [2000]");
    }
}
