//! Lists of a store with many keys, in every order and without reading the whole store.

use super::order::{Column, Sort};
use super::{sorted, *};
use crate::ops::setup::{self, fixture::Fixture};
use crate::store::usage;
use crate::store::usage::UsageDelta;
use crate::store::{Durability, STEPS};

const COLUMNS: [Column; 10] = [
    Column::Age,
    Column::Expiry,
    Column::Maker,
    Column::Name,
    Column::Owner,
    Column::Policy,
    Column::Scopes,
    Column::State,
    Column::Used,
    Column::Workspace,
];

fn sorts() -> impl Iterator<Item = Sort> {
    let both = |column| [false, true].map(|reverse| Sort { column, reverse });
    COLUMNS.into_iter().flat_map(both)
}

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
                is_management: false,
                uses: 1,
                last_used: Some((at, None)),
                previous_used: None,
                networks: Vec::new(),
                verdicts: Vec::new(),
            });
        }
    });
    let write = move |tx: &crate::store::Write<'_>| usage::add_usage(tx, &deltas).map(drop);
    app.store.write(Durability::Relaxed, write).unwrap();
}

#[test]
fn a_page_of_ten_thousand_keys_reads_no_more_than_it_shows() {
    let fixture = filled(10_000);
    let app = &fixture.app;
    use_some(app, "");
    let local = fixture.local();
    for sort in sorts() {
        for query in [None, Some("\"filled 99\""), Some("no such key")] {
            let filter = Filter {
                query: query.map(str::to_owned),
                ..Filter::default()
            };
            STEPS.set(0);
            let found = sorted::list(app, &local, &filter, sort, 0..50).unwrap();
            let expected = match query {
                None => 10_002,
                Some("\"filled 99\"") => 111,
                _ => 0,
            };
            assert_eq!(found.total, expected);
            assert_eq!(found.items.len(), expected.min(50));
            // The end of a use is only found when all uses are read.
            let most = match sort {
                Sort {
                    column: Column::Used,
                    reverse: true,
                } => 150_000,
                _ => 10_000,
            };
            let steps = STEPS.get();
            assert!(steps < most, "{sort:?} {query:?}: {steps} steps");
        }
        // No page reads more rows than half of the keys, and the last one reads as few as the first.
        let (middle, last) = (5_000..5_050, 9_990..10_040);
        for (range, shown, most) in [(middle, 50, 70_000), (last, 12, 10_000)] {
            STEPS.set(0);
            let filter = Filter::default();
            let found = sorted::list(app, &local, &filter, sort, range).unwrap();
            assert_eq!(found.items.len(), shown);
            let most = if sort.column == Column::Used {
                150_000
            } else {
                most
            };
            let steps = STEPS.get();
            assert!(steps < most, "{sort:?} {shown}: {steps} steps");
        }
    }
    // The chart of all keys reads one row for each hour, for any number of keys.
    STEPS.set(0);
    use crate::ops::usage::{Step, of_all};
    of_all(app, &local, Step::Hour, app.now().wall).unwrap();
    assert!(STEPS.get() < 1_000);
}

#[test]
fn every_key_is_on_one_page_of_each_order() {
    let fixture = filled(1_000);
    let app = &fixture.app;
    use_some(app, "7");
    let local = fixture.local();
    let every = |query: &str, sort| {
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
        all
    };
    for column in COLUMNS {
        for query in ["filled", "\"filled 1\""] {
            let mut all = every(query, Sort::by(column));
            let numbers: Vec<u32> = all.iter().map(|name| name[7..].parse().unwrap()).collect();
            match column {
                Column::Name => assert!(all.is_sorted()),
                Column::Age => assert!(numbers.is_sorted_by(|a, b| a > b)),
                Column::Used => {
                    let used: Vec<u32> = numbers.iter().copied().filter(|n| n % 10 == 7).collect();
                    assert!(used.is_sorted_by(|a, b| a > b) && numbers.starts_with(&used));
                }
                _ => {}
            }
            let back = Sort {
                column,
                reverse: true,
            };
            let back: Vec<String> = every(query, back).into_iter().rev().collect();
            assert_eq!(back, all, "{column:?} {query}");
            all.sort_unstable();
            all.dedup();
            let expected = if query == "filled" { 1_000 } else { 112 };
            assert_eq!(all.len(), expected, "{column:?} {query}");
        }
    }
}

/// The filters that need the time or the store find the same keys in memory and in the store.
#[test]
fn both_lists_find_the_same_keys() {
    let fixture = filled(300);
    let app = &fixture.app;
    use_some(app, "7");
    let local = fixture.local();
    let ids = |views: Vec<View>| {
        let mut ids: Vec<KeyId> = views.iter().map(|view| view.key.id).collect();
        ids.sort_unstable();
        ids
    };
    let filter = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    for (filter, expected) in [
        (
            filter(|it| it.query = Some("FILLED standard \"filled 17\"".to_owned())),
            11,
        ),
        (filter(|it| it.query = Some("absent filled".to_owned())), 0),
        (filter(|it| it.never_expires = Some(false)), 0),
        (filter(|it| it.has_previous = Some(true)), 0),
        (filter(|it| it.weak = Some(true)), 0),
        (filter(|it| it.weak = Some(false)), 302),
        (filter(|it| it.source = Some(ISSUED.to_owned())), 302),
        (filter(|it| it.source = Some("import".to_owned())), 0),
        (filter(|it| it.scope = Some("no:such".to_owned())), 0),
        (filter(|it| it.unused_for_s = Some(3_600)), 0),
    ] {
        let memory = sorted::list(app, &local, &filter, Sort::default(), 0..400).unwrap();
        let store = list(app, &local, &filter, None, 400).unwrap();
        assert_eq!(memory.total, expected, "{filter:?}");
        assert_eq!(ids(memory.items), ids(store.items), "{filter:?}");
    }
}
