//! Mutated bodies, whole ones and differences.

use crate::domain::keys::KeyId;
use crate::domain::packs::body::{Body, sha256, whole};
use crate::domain::packs::content::Content;
use crate::domain::packs::keys::{PackedKey, Row};
use crate::domain::packs::record::Writer;
use crate::domain::packs::table::{Table, TableWriter};
use crate::domain::packs::{directory, keys, tests};
use crate::fuzz::Target;
use std::collections::{BTreeSet, HashMap};

/// A record, decoded and written again.
fn record_again(table: Table, id: &[u8], record: &[u8]) -> Vec<u8> {
    match table {
        Table::Peppers => record.to_vec(),
        Table::Workspaces => {
            directory::write_workspace(&directory::workspace(id, record).unwrap(), false)
        }
        Table::Users => {
            let user = directory::user(id, record).unwrap();
            directory::write_user(&user, &user.roles, false)
        }
        Table::Policies => directory::write_policy(&directory::policy(id, record).unwrap()),
        Table::Catalogs => {
            directory::write_catalog(&directory::catalog(id, record).unwrap(), false)
        }
        Table::Shared => keys::write_shared(&keys::shared(record).unwrap()),
        Table::Keys => {
            let row = keys::row(id, record).unwrap();
            let flags = u8::from(row.enabled) | u8::from(row.has_extras) << 1;
            let (end, shared) = (row.end.to_be_bytes(), row.shared.to_be_bytes());
            [&row.digest[..], &end, &shared, &[flags]].concat()
        }
        Table::Extras => {
            let extras = keys::extras(record).unwrap();
            // Any row that the extras fit, and a pepper that they would have to name.
            let row = Row {
                id: keys::key_id(id).unwrap(),
                digest: [0; 32],
                end: u32::MAX,
                shared: extras.shared.map_or(0, |_| u16::MAX),
                enabled: true,
                has_extras: true,
            };
            let other = extras.pepper.map_or(0, |version| version ^ 1);
            let key = PackedKey::of(row, extras, other).unwrap();
            key.write(other).1.unwrap()
        }
    }
}

/// A body, written again from what was read out of it.
fn body_again(body: &Body) -> Vec<u8> {
    let table = |table: Table| {
        let mut writer = TableWriter::default();
        for (id, record) in body.entries(table) {
            writer.put(table, (id, &record_again(table, id, record)));
        }
        writer
    };
    let Some(base) = body.base() else {
        let tables: Vec<TableWriter> = Table::ALL.into_iter().map(table).collect();
        return whole(body.pepper(), &tables);
    };
    let mut writer = Writer::default();
    writer.u8(1);
    writer.raw(base);
    writer.raw(&body.pepper().to_be_bytes());
    for one in Table::ALL {
        table(one).append_to(&mut writer);
        let mut gone = TableWriter::default();
        body.gone(one).for_each(|id| gone.put_id(one, id));
        gone.append_to(&mut writer);
    }
    writer.0
}

/// The content of a whole body: what it has is found by its ids, and is written as it was.
fn judge_content(content: &Content) -> String {
    let body = content.body();
    let all: Vec<PackedKey<'_>> = content.keys().collect();
    assert_eq!(all.len(), content.key_count(), "a key is passed over");
    let ids: Vec<KeyId> = all.iter().map(|key| key.id).collect();
    let found: Vec<PackedKey<'_>> = content.find(&ids).into_iter().flatten().collect();
    assert_eq!(found, all, "a key is another one by its id");
    let extras: HashMap<&[u8], &[u8]> = body.entries(Table::Extras).collect();
    for (key, (id, row)) in all.iter().zip(body.entries(Table::Keys)) {
        let (row_again, extras_again) = key.write(body.pepper());
        assert_eq!(row, row_again, "a second form of a row");
        let own = extras.get(id).copied();
        assert_eq!(own, extras_again.as_deref(), "a second form of extras");
        assert!(content.shared.contains_key(&key.shared));
    }
    let parents: HashMap<_, _> = (content.workspaces.iter())
        .map(|one| (one.uid, one.parent))
        .collect();
    for one in &content.workspaces {
        let mut path = BTreeSet::new();
        let mut above = Some(one.uid);
        while let Some(uid) = above {
            assert!(path.insert(uid), "a workspace is above itself");
            above = parents[&uid];
        }
    }
    // A key can be written for memory, whatever it has.
    for key in &all {
        let live = key.live(content.shared[&key.shared].clone().into(), 1);
        assert_eq!((live.id, live.enabled), (key.id, key.enabled));
    }
    let fields = extras
        .values()
        .map(|record| u16::from_be_bytes([record[0], record[1]]));
    let fields = fields.fold(0, |all, one| all | one);
    format!("{} keys, extras {fields:b}", all.len().min(2))
}

/// The differences between a body and the one of the test, in both directions.
fn judge_difference(base: &Body, body: &Body) {
    for (from, to) in [(base, body), (body, base)] {
        let delta = Body::read(from.difference(to)).unwrap();
        assert_eq!(body_again(&delta), delta.bytes());
        match from.apply(&delta) {
            Ok(result) => assert_eq!(result.bytes(), to.bytes()),
            Err(_) => assert_ne!(from.pepper(), to.pepper(), "a difference is refused"),
        }
    }
    assert!(body.apply(body).is_err(), "a whole body was applied");
}

/// The content after a difference is that of the whole result, although most of it is not looked at again.
fn judge_after(base: &Body, delta: &Body, result: Option<&Body>) {
    let read = |body: &Body| Body::read(body.bytes().to_vec()).and_then(Content::of);
    let quick = read(base).unwrap().after(delta);
    let slow = result.map(read).and_then(Result::ok);
    let Some(slow) = slow else {
        assert!(quick.is_err(), "what is refused as a whole was taken");
        return;
    };
    let quick = quick.unwrap();
    assert!(quick.keys().eq(slow.keys()), "other keys");
    assert!(quick.counted().eq(slow.counted()), "other counted keys");
    assert_eq!(quick.key_count(), slow.key_count());
    assert_eq!(quick.shared, slow.shared);
    assert_eq!(quick.policies, slow.policies);
    assert_eq!(quick.catalogs, slow.catalogs);
    assert_eq!(quick.workspaces, slow.workspaces);
    assert_eq!(quick.peppers, slow.peppers);
    let name = |content: &Content| -> Vec<String> {
        let users = content.users.iter();
        users.map(|user| user.user_name.clone()).collect()
    };
    assert_eq!(name(&quick), name(&slow));
    let ids: Vec<KeyId> = slow.keys().map(|key| key.id).collect();
    assert_eq!(quick.find(&ids), slow.find(&ids));
}

fn judge_body(base: &Body, input: &[u8]) -> String {
    let mut bytes = input.to_vec();
    // A difference is one from the base of the test.
    if let Some((1, hash)) = bytes.split_first_mut()
        && let Some(hash) = hash.first_chunk_mut::<32>()
    {
        *hash = sha256(base.bytes());
    }
    let body = match Body::read(bytes.clone()) {
        Ok(body) => body,
        Err(why) => return format!("refused: {why}"),
    };
    assert_eq!(body_again(&body), bytes, "a second encoding");
    let counts = |count: fn(&Body, Table) -> usize| {
        Table::ALL.map(|table| char::from(b'0' + count(&body, table).min(2) as u8))
    };
    let put = String::from_iter(counts(Body::count));
    if body.base().is_some() {
        let gone = String::from_iter(counts(Body::gone_count));
        let applied = base.apply(&body);
        judge_after(base, &body, applied.as_ref().ok());
        let Ok(result) = applied else {
            return format!("difference of another: {put} {gone}");
        };
        // The same result has a difference that is not larger.
        let least = base.difference(&result);
        assert!(least.len() <= bytes.len(), "a difference grows");
        let least = Body::read(least).unwrap();
        assert_eq!(base.apply(&least).unwrap().bytes(), result.bytes());
        let is_whole = Content::of(result).is_ok();
        return format!("difference: {put} {gone} {is_whole}");
    }
    judge_difference(base, &body);
    match Content::of(body) {
        Ok(content) => format!("whole: {put}, {}", judge_content(&content)),
        Err(why) => format!("whole: {put}, {}", why.code()),
    }
}

#[test]
fn mutated_bodies_have_one_encoding() {
    let base = Body::read(tests::sample_body()).unwrap();
    Target {
        name: "pack-body",
        words: &[
            "\0",
            "\u{1}",
            "\u{2}",
            "\u{1}\0",
            "\0\0\0\u{1}",
            "standard",
            "method",
            "operation",
            "workspace",
            "rooms",
            "owner",
            "10.0.0.0/8",
            "\u{4}root",
            "owner_and_workspace",
            "{\"a\":1}",
            "\0\u{1}\0\u{2}",
            "bearer",
            "latchkey",
        ],
        mutations: 6_000,
    }
    .run(|input| judge_body(&base, input));
}
