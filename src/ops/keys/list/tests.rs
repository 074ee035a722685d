//! Lists of a store with many keys, in every order and without reading the whole store.

use super::order::Sort;
use super::{sorted, *};
use crate::ops::setup::{self, fixture::Fixture};
use crate::store::usage;
use crate::store::usage::UsageDelta;
use crate::store::{Durability, STEPS};

const SORTS: [Sort; 4] = [Sort::Expiry, Sort::Name, Sort::Newest, Sort::Used];

fn filled(keys: u64) -> Fixture {
    let mut fixture = Fixture::new();
    setup::fill(&fixture.app, keys, |_| Ok(())).unwrap();
    fixture.reopen(&[]);
    fixture
}

/// Uses the keys whose names end in a digit; the greater the number in the name, the later the use.
fn use_some(app: &App, last: &'static str) {
    let mut deltas = Vec::new();
    app.index.each_key(|_, key| {
        let number = key.name.strip_prefix("filled ");
        if let Some(number) = number.filter(|number| number.ends_with(last)) {
            let at = crate::domain::time::Timestamp(number.parse::<i64>().unwrap());
            deltas.push(UsageDelta {
                key: key.id,
                uses: 1,
                last_used: Some((at, None)),
                verdicts: Vec::new(),
            });
        }
    });
    let write = move |tx: &crate::store::Write<'_>| {
        deltas
            .iter()
            .try_for_each(|delta| usage::add_usage(tx, delta))
    };
    app.store.write(Durability::Relaxed, write).unwrap();
}

#[test]
fn a_page_of_ten_thousand_keys_reads_no_more_than_it_shows() {
    let fixture = filled(10_000);
    let app = &fixture.app;
    use_some(app, "");
    let local = fixture.local();
    for sort in SORTS {
        for query in [None, Some("filled 99"), Some("no such key")] {
            let filter = Filter {
                query: query.map(str::to_owned),
                ..Filter::default()
            };
            STEPS.set(0);
            let found = sorted::list(app, &local, &filter, sort, 0..50).unwrap();
            let expected = match query {
                None => 10_002,
                Some("filled 99") => 111,
                _ => 0,
            };
            assert_eq!(found.total, expected);
            assert_eq!(found.items.len(), expected.min(50));
            let steps = STEPS.get();
            assert!(steps < 10_000, "{sort:?} {query:?}: {steps} steps");
        }
    }
    // The chart of all keys reads one row for each hour, for any number of keys.
    STEPS.set(0);
    crate::ops::audit::totals(app, &local, app.now().wall).unwrap();
    assert!(STEPS.get() < 1_000);
}

#[test]
fn every_key_is_on_one_page_of_each_order() {
    let fixture = filled(1_000);
    let app = &fixture.app;
    use_some(app, "7");
    let local = fixture.local();
    for sort in SORTS {
        for query in ["filled", "filled 1"] {
            let mut all = Vec::new();
            let filter = Filter {
                query: Some(query.to_owned()),
                ..Filter::default()
            };
            for from in (0..).step_by(70) {
                let page = sorted::list(app, &local, &filter, sort, from..from + 70).unwrap();
                if page.items.is_empty() {
                    break;
                }
                all.extend(page.items.into_iter().map(|view| view.key.name));
            }
            let numbers: Vec<u32> = all.iter().map(|name| name[7..].parse().unwrap()).collect();
            match sort {
                Sort::Expiry => {}
                Sort::Name => assert!(all.is_sorted()),
                Sort::Newest => assert!(numbers.is_sorted_by(|a, b| a > b)),
                Sort::Used => {
                    let used: Vec<u32> = numbers.iter().copied().filter(|n| n % 10 == 7).collect();
                    assert!(used.is_sorted_by(|a, b| a > b) && numbers.starts_with(&used));
                }
            }
            all.sort_unstable();
            all.dedup();
            let expected = if query == "filled" { 1_000 } else { 112 };
            assert_eq!(all.len(), expected, "{sort:?} {query}");
        }
    }
}
