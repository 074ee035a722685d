//! Tests of whole packs: what is written is read back, and nothing else is read.

use super::body::{Body, sha256};
use super::builder::Builder;
use super::content::Content;
use super::file;
use super::head::Head;
use super::head::tests::sample as sample_head;
use super::keys::{PackedKey, PackedOlder};
use super::note::{PublicKey, SigningKey};
use super::table::Table;
use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::domain::keys::KeyId;
use crate::domain::keys::address::AddressList;
use crate::domain::keys::live::SharedPart;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{CredentialHeader, Policy, ReadOnlyBy, TiedTo};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::domain::workspaces::Workspace;

fn workspace(uid: u128, parent: Option<u128>) -> Workspace {
    Workspace {
        uid: Uid(uid),
        number: 0,
        slug: format!("w{uid}"),
        name: format!("Workspace {uid}"),
        parent: parent.map(Uid),
        enabled: uid != 9,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

fn user() -> User {
    User {
        uid: Uid(5),
        number: 0,
        user_name: "alice".to_owned(),
        email: None,
        home: Uid(0),
        enabled: true,
        generation: 0,
        created_at: Timestamp(0),
        deleted_at: None,
        has_second_factor: false,
        roles: vec![Binding {
            workspace: Uid(2),
            role: Role::KeyManager,
        }],
    }
}

fn policy() -> Policy {
    Policy {
        description: String::new(),
        headers: vec![
            CredentialHeader::Token,
            CredentialHeader::Named("x-key".to_owned()),
        ],
        read_only_by: ReadOnlyBy::Method,
        tied_to: TiedTo::Workspace,
        acts_for_owner: true,
        decoy: true,
        rate_limit_max: Some(RateLimit {
            limit: 500,
            window_s: 60,
            exact: false,
        }),
        roles: vec![RoleRule {
            role: Role::Auditor,
            scopes: vec!["a:read".into(), "b:read".into()],
            read_only: true,
        }],
        ..Policy::standard()
    }
}

fn catalog() -> Definition {
    let operation = |id: &str, requirement| Operation {
        id: id.to_owned(),
        method: "GET".to_owned(),
        path: "/rooms/{id}".to_owned(),
        host: Some("rooms.example".to_owned()),
        writes: false,
        preflight: true,
        requirement,
    };
    Definition {
        name: "rooms".to_owned(),
        case_sensitive: true,
        resource_metadata: Some("https://rooms.example/.well-known".to_owned()),
        scopes: vec![Scope {
            name: "rooms:write".to_owned(),
            label: "Write rooms".to_owned(),
            implies: vec!["rooms:read".to_owned()],
            root_only: true,
        }],
        operations: vec![
            operation("one", Requirement::AnyKey),
            operation("two", Requirement::Nobody),
            operation(
                "three",
                Requirement::Scopes {
                    all_of: vec!["rooms:write".to_owned()],
                    any_of: vec!["rooms:read".to_owned()],
                },
            ),
        ],
        source: String::new(),
    }
}

fn shared(scope: &str) -> SharedPart {
    SharedPart {
        workspace: Uid(2),
        owner: Some(Uid(5)),
        policy: "standard".into(),
        catalog: Some("rooms".into()),
        scopes: Box::new([scope.into()]),
        read_only: true,
        created_by: "".into(),
        source: "".into(),
        prefix: "lk".into(),
    }
}

fn key(id: u64) -> PackedKey<'static> {
    PackedKey {
        id: KeyId(id),
        digest: [id as u8; 32],
        pepper: 2,
        shared: 0,
        enabled: true,
        expires_at: None,
        not_before: None,
        addresses: None,
        rate_limit: None,
        lent: None,
        older: None,
        name: "",
        metadata: "",
        tail: [0; 4],
    }
}

/// A key with everything that a key can have.
fn full_key(id: u64) -> PackedKey<'static> {
    PackedKey {
        pepper: 1,
        enabled: false,
        expires_at: Some(Timestamp(1_764_367_200_123)),
        not_before: Some(Timestamp(1_764_367_200_000)),
        addresses: AddressList::parse("x", ["10.0.0.0/8", "2001:db8::1"]).ok(),
        rate_limit: Some(RateLimit {
            limit: 60,
            window_s: 60,
            exact: false,
        }),
        lent: Some(1_000),
        older: Some(PackedOlder {
            digest: [8; 32],
            pepper: 2,
            expires_at: Timestamp(1_764_972_000_000),
            until_first_use: true,
        }),
        name: "a key \u{1f511}",
        metadata: r#"{"team":"red"}"#,
        tail: *b"aB3d",
        ..key(id)
    }
}

/// The keys that [`build`] puts in.
fn keys() -> Vec<PackedKey<'static>> {
    let ends = PackedKey {
        expires_at: Some(Timestamp(1_764_367_200_000)),
        ..key(9)
    };
    let last = PackedKey {
        expires_at: Some(Timestamp(253_402_300_799_000)),
        shared: 1,
        ..key(u64::MAX)
    };
    vec![key(3), full_key(7), ends, last]
}

fn build(keys: &[PackedKey<'_>], base: Option<&Body>, minimal: bool) -> Vec<u8> {
    let mut builder = Builder::new(minimal, 2, base);
    builder.pepper(1, [1; 60]);
    builder.pepper(2, [2; 60]);
    builder.workspace(&workspace(1, None), false);
    builder.workspace(&workspace(2, Some(1)), true);
    builder.user(&user(), &user().roles);
    builder.policy(&policy());
    builder.catalog(&catalog());
    let numbers = ["rooms:read", "rooms:write"].map(|scope| builder.shared(&shared(scope)));
    for key in keys {
        let shared = numbers[key.shared as usize % 2];
        let key = PackedKey {
            shared,
            ..key.clone()
        };
        builder.key(&key).unwrap();
    }
    builder.finish()
}

/// The bytes of a whole body with everything that a body can have.
pub fn sample_body() -> Vec<u8> {
    build(&keys(), None, false)
}

fn signing_key() -> (SigningKey, Vec<PublicKey>) {
    let (key, _) = SigningKey::generate("server.example/packs").unwrap();
    let trusted = vec![key.public().clone()];
    (key, trusted)
}

fn signed(key: SigningKey, body: &[u8], base: u64) -> Vec<u8> {
    let head = Head {
        base,
        bytes: body.len() as u64,
        sha256: sha256(body),
        ..sample_head()
    };
    file::write(&head.sign(&[key]), body)
}

/// The bytes of a small pack, and the key that signs it.
pub fn small_pack() -> (Vec<u8>, Vec<PublicKey>) {
    let (key, trusted) = signing_key();
    let body = build(&keys(), None, false);
    (signed(key, &body, 0), trusted)
}

#[test]
fn a_pack_is_read_back() {
    let (bytes, trusted) = small_pack();
    let (signed, body) = file::open(&bytes, &trusted).unwrap();
    assert_eq!(signed.head.site, "plant-7");
    let content = Content::of(body).unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), keys());
    assert_eq!(content.key_count(), 4);
    assert_eq!(content.policies, [policy()]);
    assert_eq!(content.catalogs, [catalog()]);
    let above = Workspace {
        name: String::new(),
        ..workspace(1, None)
    };
    assert_eq!(content.workspaces, [above, workspace(2, Some(1))]);
    assert_eq!(content.users[0].user_name, "alice");
    assert_eq!(content.users[0].roles, user().roles);
    assert_eq!(content.shared[&1], shared("rooms:write"));
    assert_eq!(content.peppers, [(1, [1; 60]), (2, [2; 60])]);
    let live = content.keys().nth(1).unwrap().live(shared("x").into(), 999);
    let counters = live.optional.unwrap().counters.unwrap();
    assert_eq!(counters.lock().unwrap().uses.unwrap().stored, 1);
}

#[test]
fn a_minimal_pack_has_no_names_and_no_metadata() {
    let body = build(&keys(), None, true);
    let holds = |text: &[u8]| body.windows(text.len()).any(|window| window == text);
    for text in [
        "a key",
        "team",
        "alice",
        "Workspace 2",
        "Write rooms",
        "aB3d",
    ] {
        assert!(!holds(text.as_bytes()), "{text}");
    }
    assert!(holds(b"rooms:read"));
    let content = Content::of(Body::read(body).unwrap()).unwrap();
    assert_eq!(content.users[0].user_name, Uid(5).to_string());
}

#[test]
fn every_cut_is_refused() {
    let (bytes, trusted) = small_pack();
    for end in 0..bytes.len() {
        assert!(file::open(&bytes[..end], &trusted).is_err(), "{end}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(file::open(&longer, &trusted).is_err());
}

#[test]
fn every_flipped_bit_is_refused() {
    let (mut bytes, trusted) = small_pack();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            bytes[position] ^= 1 << bit;
            assert!(file::open(&bytes, &trusted).is_err(), "{position} {bit}");
            bytes[position] ^= 1 << bit;
        }
    }
    assert!(file::open(&bytes, &trusted).is_ok());
}

/// The content of a body with a damaged byte is never more than what its bytes can hold, even if it is signed.
#[test]
fn a_changed_body_is_refused_or_has_one_encoding() {
    let bytes = build(&keys(), None, false);
    for position in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, bytes[position] ^ 1] {
            let mut changed = bytes.clone();
            changed[position] = value;
            let Ok(content) = Body::read(changed.clone()).and_then(Content::of) else {
                continue;
            };
            // The difference from itself is empty, and the body is still the one that was read.
            assert_eq!(content.body().bytes(), changed);
            assert!(content.keys().count() <= 4);
        }
    }
    for end in 0..bytes.len() {
        assert!(Body::read(bytes[..end].to_vec()).is_err(), "{end}");
    }
}

#[test]
fn a_body_whose_parts_do_not_fit_is_refused() {
    let content = |keys: &[PackedKey<'_>], alter: fn(&mut Builder)| {
        let mut builder = Builder::new(false, 1, None);
        builder.pepper(1, [1; 60]);
        builder.workspace(&workspace(1, None), true);
        builder.policy(&policy());
        alter(&mut builder);
        keys.iter().for_each(|key| builder.key(key).unwrap());
        Body::read(builder.finish()).and_then(Content::of)
    };
    let plain = |builder: &mut Builder| {
        let part = SharedPart {
            workspace: Uid(1),
            owner: None,
            catalog: None,
            ..shared("x")
        };
        builder.shared(&part);
    };
    let key = PackedKey {
        pepper: 1,
        ..key(1)
    };
    assert!(content(std::slice::from_ref(&key), plain).is_ok());
    let other = PackedKey {
        shared: 1,
        ..key.clone()
    };
    assert!(content(&[other], plain).is_err());
    let other = PackedKey {
        pepper: 2,
        ..key.clone()
    };
    assert!(content(&[other], plain).is_err());
    let alterations: [fn(&mut Builder); 4] = [
        |builder| {
            builder.shared(&shared("x"));
        },
        |builder| builder.workspace(&workspace(2, Some(3)), true),
        |builder| builder.workspace(&workspace(2, None), true),
        |builder| builder.user(&user(), &user().roles),
    ];
    for alter in alterations {
        assert!(content(&[], alter).is_err());
    }
    let mut builder = Builder::new(false, 1, None);
    builder.key(&key).unwrap();
    assert!(builder.key(&key).is_err());
}

#[test]
fn a_difference_makes_the_new_body_of_its_base_alone() {
    let base = Body::read(build(&keys(), None, false)).unwrap();
    let mut later = keys();
    later.remove(0);
    later[0].enabled = true;
    later.insert(1, key(8));
    let new = Body::read(build(&later, Some(&base), false)).unwrap();
    let delta = base.difference(&new);
    assert!(delta.len() < 600, "{}", delta.len());
    let delta = Body::read(delta).unwrap();
    assert_eq!(
        (delta.count(Table::Keys), delta.gone_count(Table::Keys)),
        (2, 1)
    );
    assert_eq!(base.apply(&delta).unwrap().bytes(), new.bytes());
    let other = base.apply(&delta).unwrap();
    assert!(other.apply(&delta).is_err());
    assert!(base.apply(&base).is_err());
    let (key, trusted) = signing_key();
    let bytes = signed(key, delta.bytes(), 40);
    assert!(file::open(&bytes, &trusted).is_ok());
    // A difference whose head calls it whole.
    let (key, trusted) = signing_key();
    let bytes = signed(key, delta.bytes(), 0);
    assert!(file::open(&bytes, &trusted).is_err());

    let id = |id: u64| id.to_be_bytes();
    let ids = [id(3), id(4), id(9)];
    let ids: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
    let found = |table| base.find(table, &ids).into_iter().map(|one| one.is_some());
    assert!(found(Table::Keys).eq([true, false, true]));
    let extra = id(7);
    assert!(base.find(Table::Extras, &[&extra])[0].is_some());
    assert!(found(Table::Extras).eq([false; 3]));
}

#[test]
fn random_histories_end_where_they_would_end_without_packs() {
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for _ in 0..200 {
        let mut keys: Vec<PackedKey<'static>> = Vec::new();
        let mut base = Body::read(build(&keys, None, false)).unwrap();
        for round in 0..6 {
            for _ in 0..draw(8) {
                let id = draw(20);
                let new = if draw(2) == 0 { key(id) } else { full_key(id) };
                keys.retain(|key| key.id.0 != id);
                if draw(3) > 0 {
                    let shared = draw(2) as u32;
                    keys.push(PackedKey { shared, ..new });
                }
            }
            keys.sort_by_key(|key| key.id.0);
            let new = Body::read(build(&keys, Some(&base), false)).unwrap();
            let delta = Body::read(base.difference(&new)).unwrap();
            assert_eq!(base.apply(&delta).unwrap().bytes(), new.bytes());
            if round == 3 {
                base = new;
            }
        }
    }
}
