//! A site with a real database, and packs for it that are made here, for the tests of this folder.

use super::*;
use crate::authz::caller::Origin;
use crate::domain::clock::Uptime;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::live::SharedPart;
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::secret::Secret;
use crate::domain::keys::verdict::Question;
use crate::domain::packs::body::{Body, sha256};
use crate::domain::packs::builder::Builder;
use crate::domain::packs::enrolment::Enrolment;
use crate::domain::packs::file;
use crate::domain::packs::keys::{PackedKey, PackedOlder};
use crate::domain::packs::note::SigningKey;
use crate::domain::packs::past::Point;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::step::{self, Gone};
use crate::domain::policies::Policy;
use crate::domain::uid::Uid;
use crate::domain::workspaces::Workspace;
use crate::ops::clock::Sources;
use crate::ops::{setup, verify};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

/// The fixed time: 2026-11-21T10:00:00Z.
pub const NOW: Timestamp = Timestamp(1_795_255_200_000);
const DAY_MS: i64 = 86_400_000;

/// A server as far as a site sees it: what it signs.
pub struct Packer {
    signer: SigningKey,
    peppers: Peppers,
    pepper: [u8; 32],
    pub keys: BTreeMap<u64, Issued>,
    pub head: Head,
    pub base: Option<(u64, Vec<u8>)>,
    /// What the packs so far have included, the newest first.
    pub points: Vec<Point>,
}

/// A key at the server.
pub struct Issued {
    pub secret: Secret,
    pub older: Option<(Secret, bool)>,
    pub enabled: bool,
    pub lent: Option<u64>,
}

pub fn signing_key() -> SigningKey {
    SigningKey::of_seed("server.example/packs", &[7; 32]).unwrap()
}

impl Packer {
    pub fn new() -> Packer {
        let pepper = [9; 32];
        let text = format!("1 {}\n", "09".repeat(32));
        Packer {
            signer: signing_key(),
            peppers: Peppers::parse(&text).unwrap(),
            pepper,
            keys: BTreeMap::new(),
            head: Head {
                origin: "server.example".to_owned(),
                pack: 0,
                base: 0,
                site: "plant-7".to_owned(),
                server: Uid(7),
                reign: 1,
                events: 100,
                events_hash: [1; 32],
                made: Timestamp(NOW.0 - 60_000),
                until: Timestamp(NOW.0 + 7 * DAY_MS),
                keys: 0,
                bytes: 0,
                sha256: [0; 32],
                lent: None,
                past: Some(Vec::new()),
                signers: Vec::new(),
            },
            base: None,
            points: Vec::new(),
        }
    }

    pub fn enrolment(&self) -> Enrolment {
        Enrolment {
            site: "plant-7".to_owned(),
            origin: "server.example".to_owned(),
            server: Uid(7),
            reign: 1,
            keys: vec![self.signer.public().clone()],
            site_key: SiteKey::of([3; 32]),
            is_used: false,
            peppers: vec![(1, self.pepper)],
        }
    }

    pub fn issue(&mut self, id: u64) -> String {
        let secret = Secret::generate("lk", KeyId(id)).unwrap();
        let text = secret.expose().to_owned();
        let issued = Issued {
            secret,
            older: None,
            enabled: true,
            lent: None,
        };
        self.keys.insert(id, issued);
        text
    }

    /// Gives a key a new secret; the old one works until the first use of the new one.
    pub fn rotate(&mut self, id: u64) -> String {
        let new = Secret::generate("lk", KeyId(id)).unwrap();
        let text = new.expose().to_owned();
        let key = self.keys.get_mut(&id).unwrap();
        key.older = Some((std::mem::replace(&mut key.secret, new), true));
        text
    }

    /// A key as it is now, with the same secret.
    pub fn copy_of(&self, id: u64) -> Issued {
        let issued = &self.keys[&id];
        Issued {
            secret: Secret::read_back(issued.secret.expose()).unwrap(),
            older: None,
            enabled: issued.enabled,
            lent: issued.lent,
        }
    }

    pub fn digest(&self, secret: &str) -> [u8; 32] {
        self.peppers.digest(secret).1.0
    }

    pub fn body(&self, base: Option<&Body>) -> Vec<u8> {
        let mut builder = Builder::new(false, 1, base);
        let key = SiteKey::of([3; 32]);
        let sealed = key.seal_pepper(Uid(7), "plant-7", 1, &self.pepper).unwrap();
        builder.pepper(1, sealed);
        self.put(&mut builder, 1, |_| true);
        builder.finish()
    }

    /// The body of a step that touches these keys; its secrets are under this version of the pepper.
    pub fn step(&self, ids: &[u64], pepper: u16) -> Vec<u8> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut builder = Builder::new(false, 1, None);
        self.put(&mut builder, pepper, |id| ids.contains(id));
        let gone = ids.iter().filter(|id| !self.keys.contains_key(id));
        let gone = Gone {
            keys: gone.map(|id| KeyId(*id)).collect(),
            ..Gone::default()
        };
        match ids.is_empty() {
            true => Vec::new(),
            false => step::write(&gone, Some(&builder.finish())),
        }
    }

    fn put(&self, builder: &mut Builder, pepper: u16, has: impl Fn(&u64) -> bool) {
        builder.workspace(
            &Workspace {
                uid: Uid(1),
                number: 1,
                slug: "root".to_owned(),
                name: "Root".to_owned(),
                parent: None,
                enabled: true,
                created_at: NOW,
                updated_at: NOW,
            },
            true,
        );
        builder.policy(&Policy::standard());
        for (id, issued) in self.keys.iter().filter(|(id, _)| has(id)) {
            // Keys of some ids have a part that no other has, so that its number changes from delta to delta.
            let shared = builder.shared(&SharedPart {
                workspace: Uid(1),
                owner: None,
                policy: "standard".into(),
                catalog: None,
                scopes: Box::new([format!("s{}", id % 3).into()]),
                read_only: false,
                created_by: "".into(),
                source: "".into(),
                prefix: "lk".into(),
            });
            let digest = |secret: &Secret| self.peppers.digest(secret.expose()).1.0;
            let older = issued.older.as_ref().map(|(secret, until)| PackedOlder {
                digest: digest(secret),
                pepper: 1,
                expires_at: Timestamp(NOW.0 + DAY_MS),
                until_first_use: *until,
            });
            builder
                .key(&PackedKey {
                    id: KeyId(*id),
                    digest: digest(&issued.secret),
                    pepper,
                    shared,
                    enabled: issued.enabled,
                    expires_at: None,
                    not_before: None,
                    addresses: None,
                    rate_limit: None,
                    lent: issued.lent,
                    older,
                    name: "k",
                    metadata: "",
                    tail: [0; 4],
                })
                .unwrap();
        }
    }

    /// The next pack, whole or as what has changed since the last whole one.
    pub fn make(&mut self, whole: bool) -> Vec<u8> {
        let base = self.base.as_ref().filter(|_| !whole);
        let base = base.map(|(number, bytes)| (*number, Body::read(bytes.clone()).unwrap()));
        let new = self.body(base.as_ref().map(|(_, body)| body));
        let content = match &base {
            None => new.clone(),
            Some((_, base)) => base.difference(&Body::read(new.clone()).unwrap()),
        };
        self.head.pack += 1;
        self.head.events += 1;
        self.head.made = self.head.made.plus_s(1);
        self.head.base = base.map_or(0, |(number, _)| number);
        if self.head.base == 0 {
            self.base = Some((self.head.pack, new));
        }
        self.head.past = Some(self.points.clone());
        let point = Point::of(self.head.events, &self.head.events_hash);
        self.points.insert(0, point);
        self.signed(&content)
    }

    pub fn signed(&self, content: &[u8]) -> Vec<u8> {
        let head = Head {
            keys: self.keys.len() as u64,
            bytes: content.len() as u64,
            sha256: sha256(content),
            ..self.head.clone()
        };
        file::write(&head.sign(&[signing_key()]), content)
    }
}

/// A site in a folder of its own.
pub struct Plant {
    pub app: Arc<App>,
    pub folder: PathBuf,
    pub files: KeyFiles,
}

pub fn sources() -> Sources {
    Sources {
        wall: || NOW,
        uptime: || Uptime { boot: None, ms: 0 },
    }
}

impl Plant {
    pub fn new(packer: &Packer) -> Plant {
        Plant::of(&packer.enrolment())
    }

    pub fn of(enrolment: &Enrolment) -> Plant {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("latchkey-site-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = KeyFiles::generate();
        files
            .peppers
            .replace(Peppers::parse(&format!("1 {}\n", "09".repeat(32))).unwrap());
        let path = folder.join("db");
        enrol::create(&path, &files, enrolment, sources()).unwrap();
        let app = setup::open(&path, files.clone(), &[], sources()).unwrap();
        Plant { app, folder, files }
    }

    pub fn restart(&mut self) {
        self.app.close();
        self.app =
            setup::open(&self.folder.join("db"), self.files.clone(), &[], sources()).unwrap();
    }

    pub fn local(&self) -> Caller {
        Caller::local(&self.app.index.directory(), 0, Origin::default()).unwrap()
    }

    pub fn apply(&self, bytes: &[u8]) -> Result<Applied> {
        apply::apply(&self.app, &self.local(), bytes)
    }

    /// The code of the refusal.
    #[track_caller]
    pub fn refused(&self, bytes: &[u8]) -> &'static str {
        match self.apply(bytes) {
            Err(Error::Conflict(why)) => why.code(),
            other => panic!("{other:?}"),
        }
    }

    pub fn verdict(&self, secret: &str) -> String {
        let question = Question {
            cost: 1,
            ..Question::default()
        };
        let told = |verdict: &verify::Verdict<'_>| verdict.code.as_str().to_owned();
        match verify::verify_blocking(&self.app, secret, &question, None, told) {
            Ok(code) => code,
            Err(err) => err.refusal().code().to_owned(),
        }
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.app.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
