//! A stolen site box: with all that is in its folder, nobody makes a pack, a key, a report of another site, or a row that the
//! server or another site takes.

use super::{Machine, bytes_of, copy_folder, fresh_folder, new_site};
use crate::domain::clock::Uptime;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::secret::Secret;
use crate::domain::keys::verdict::Code;
use crate::domain::packs::body::sha256;
use crate::domain::packs::file;
use crate::domain::packs::head::{Head, Introduction};
use crate::domain::packs::note::SigningKey;
use crate::domain::packs::report::Report;
use crate::domain::packs::revocations::Revocations;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::state::State;
use crate::ops::clock::Sources;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::packs::collect;
use crate::ops::setup;
use crate::ops::setup::fixture::NOW;
use crate::ops::site::{find_state, report, revoke, view};
use crate::store::{Durability, Write, seals};
use std::fs;

const SOURCES: Sources = Sources {
    wall: || NOW,
    uptime: || Uptime { boot: None, ms: 0 },
};

/// A server with two sites, of which the first is stolen, and a key that both have.
struct Theft {
    server: Machine,
    stolen: Machine,
    other: Machine,
    secret: String,
    /// What the thief reads in the folder with the key files that are in it.
    state: State,
}

fn theft() -> Theft {
    let server = Machine::server(SOURCES);
    let new = NewKey {
        members: KeyMembers::named("k"),
        ..NewKey::default()
    };
    let issued = issue(&server.app, &server.local(), new, None).unwrap();
    let sites = ["plant-7", "ship-2"]
        .map(|name| Machine::site(&server.enrol(new_site(name, &["root"])), SOURCES));
    for (site, made) in sites.iter().zip(&server.make(None, true).unwrap()) {
        site.apply(&bytes_of(made)).unwrap();
    }
    let [stolen, other] = sites;
    let read = stolen
        .app
        .read(|read| find_state(read, &stolen.files.sealing));
    Theft {
        state: read.unwrap().unwrap(),
        secret: issued.secret.unwrap().expose().to_owned(),
        server,
        stolen,
        other,
    }
}

impl Theft {
    /// The newest pack of the stolen site.
    fn pack(&self) -> Vec<u8> {
        let held = self.state.base.unwrap();
        fs::read(self.stolen.folder.join("packs").join(held.name(None))).unwrap()
    }

    /// A pack with the content of the stolen one and another head.
    fn forged(&self, keys: &[SigningKey], change: impl Fn(&mut Head)) -> Vec<u8> {
        let bytes = self.pack();
        let parts = file::split(&bytes).unwrap();
        let mut head = Head::peek(parts.head).unwrap().1;
        head.pack += 1;
        change(&mut head);
        head.bytes = parts.body.len() as u64;
        head.sha256 = sha256(parts.body);
        file::write(&head.sign(keys), parts.body)
    }
}

#[test]
fn a_thief_of_a_site_makes_no_pack_that_it_or_another_site_takes() {
    let theft = theft();
    let name = &theft.state.trusted[0].name;
    // Keys of the thief: any, and those that could be derived from what is in the folder.
    let seeds = [
        [9; 32],
        theft.state.key,
        theft.stolen.files.peppers.expose()[0].1,
    ];
    for site in [&theft.other, &theft.stolen] {
        let own = view(&site.app).unwrap().site;
        for seed in seeds {
            let key = || [SigningKey::of_seed(name, &seed).unwrap()];
            let for_own = |head: &mut Head| head.site.clone_from(&own);
            let introduced = |head: &mut Head| {
                for_own(head);
                let [older] = key();
                let made = Introduction::make(&older, &head.origin, head.server, older.public());
                head.signers.push(made);
            };
            assert!(site.apply(&theft.forged(&key(), for_own)).is_err());
            assert!(site.apply(&theft.forged(&key(), introduced)).is_err());
        }
        // Without a signature, and with that of the pack that was stolen.
        assert!(
            site.apply(&theft.forged(&[], |head| head.site.clone_from(&own)))
                .is_err()
        );
        assert!(site.apply(&theft.pack()).is_err());
        assert_eq!(view(&site.app).unwrap().pack, 1);
        assert_eq!(site.code(&theft.secret), Some(Code::Valid));
    }
    // A list of revocations neither.
    let list = Revocations {
        server: theft.state.server,
        reign: 1,
        events: 1_000,
        made: NOW,
        part: 1,
        parts: 1,
        ids: vec![crate::domain::keys::KeyId(1)],
        secrets: Vec::new(),
    };
    for seed in seeds {
        let text = list.sign(&[SigningKey::of_seed(name, &seed).unwrap()]);
        assert!(revoke::apply(&theft.other.app, &theft.other.local(), &text).is_err());
    }
}

#[test]
fn a_thief_of_a_site_reports_for_that_site_alone() {
    let theft = theft();
    let (server, local) = (&theft.server.app, theft.server.local());
    let key = SiteKey::of(theft.state.key);
    let (_, own) = report::make(&theft.stolen.app, &theft.stolen.local()).unwrap();
    let own = Report::open(&own, &key).unwrap();
    for name in ["ship-2", "nowhere"] {
        let forged = Report {
            site: name.to_owned(),
            ..own.clone()
        };
        assert!(
            collect::collect(server, &local, &forged.write(&key)).is_err(),
            "{name}"
        );
    }
    assert!(
        collect::collect(server, &local, &own.write(&key))
            .unwrap()
            .is_new
    );
}

/// With the pepper a thief makes the digest of a secret of their own. It opens nothing anywhere, because a row has a seal.
#[test]
fn a_thief_of_a_site_makes_no_row_that_the_server_or_another_site_takes() {
    let theft = theft();
    let id = crate::domain::keys::KeyId::parse(&theft.secret[3..13]).unwrap();
    let forged = Secret::generate("lk", id).unwrap();
    let (version, digest) = theft.stolen.files.peppers.digest(forged.expose());
    assert_eq!(
        theft.server.app.peppers.digest(forged.expose()).1,
        digest,
        "the pepper is the server's"
    );
    // Somebody who can write to the database of the server, and has the key files of the site.
    let thief = theft.stolen.files.seal.clone();
    let write = move |tx: &Write<'_>| {
        tx.execute(
            "UPDATE secrets SET digest = $1, pepper = $2 WHERE key_id = $3",
            &[&digest.0, &version, &id],
        )?;
        seals::keys::put(tx, &thief, id, 1_000)
    };
    let mut server = theft.server;
    server.app.store.write(Durability::Full, write).unwrap();
    server.reopen();
    assert_ne!(server.code(forged.expose()), Some(Code::Valid));
    assert_ne!(
        server.code(&theft.secret),
        Some(Code::Valid),
        "a changed key is closed"
    );
    // It is closed in the next pack, too.
    for (site, made) in [&theft.stolen, &theft.other]
        .iter()
        .zip(&server.make(None, true).unwrap())
    {
        site.apply(&bytes_of(made)).unwrap();
        assert_ne!(site.code(forged.expose()), Some(Code::Valid));
    }
}

/// The databases of two sites, and of a site and its server, open only with their own key files.
#[test]
fn a_database_of_a_stolen_site_is_none_of_another_machine() {
    let theft = theft();
    let copy = fresh_folder();
    copy_folder(&theft.stolen.folder, &copy);
    let opens =
        |files: &KeyFiles| setup::open(&copy.join("db"), files.clone(), &[], SOURCES).is_ok();
    assert!(!opens(&theft.other.files), "the files of another site");
    assert!(!opens(&theft.server.files), "the files of the server");
    fs::remove_dir_all(&copy).unwrap();

    // The state of the stolen site, as it is and sealed again, in the database of the other one.
    let sealed = theft
        .stolen
        .app
        .read(crate::store::site::find_state)
        .unwrap()
        .unwrap();
    let again = theft
        .stolen
        .files
        .sealing
        .seal_bytes(crate::ops::site::PURPOSE, &theft.state.to_bytes());
    let mut other = theft.other;
    for sealed in [sealed, again.unwrap()] {
        let copy = other.copy();
        let put = move |tx: &Write<'_>| crate::store::site::put_state(tx, &sealed);
        other.app.store.write(Durability::Full, put).unwrap();
        other.app.close();
        let opened = setup::open(&other.folder.join("db"), other.files.clone(), &[], SOURCES);
        assert!(opened.is_err(), "a state of another site");
        other.go_on_with(copy);
        assert_eq!(other.code(&theft.secret), Some(Code::Valid));
    }
}
