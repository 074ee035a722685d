//! A year of a server and forty sites, in steps of a week, with a clock of the test. Files are lost, doubled and reordered;
//! clocks are at 1970 or in the future; the server is restored and killed, and so are sites.
//!
//! What holds at any time: no site accepts a secret that was ended by a pack which it has applied; none goes back; none gives
//! a verdict after the end of its pack; and all of them together never spend more uses than the server has given.

mod server;
mod visits;

use super::{Machine, Random, bytes_of, fresh_folder, new_site};
use crate::domain::clock::Uptime;
use crate::domain::keys::KeyId;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::packs::file::head_of;
use crate::domain::packs::state::Fork;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::Tombstones;
use crate::error::Error;
use crate::fuzz::Draw;
use crate::ops::backups;
use crate::ops::clock::Sources;
use crate::ops::keys::edit::switch;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate::rotate;
use crate::ops::keys::{self, Issued};
use crate::ops::packs::sites::NewSite;
use crate::ops::packs::{collect, sites};
use crate::ops::restore::{self, RestoreOptions};
use crate::ops::setup::TOMBSTONES;
use crate::ops::site::fresh::Age;
use crate::ops::site::reset::accept_fork;
use crate::ops::site::{View, ended, report, view};
use crate::ops::verify;
use crate::ops::workspaces::{self, NewWorkspace};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

const SITES: usize = 40;
const WEEKS: usize = 52;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The date at which the year begins: 2026-11-21T10:00:00Z.
const BEGIN: i64 = 1_795_255_200_000;
/// The uses of the one counted key.
const USES: u64 = 400;
/// How long packs count, by the number of the site.
const UNTIL_S: [u64; 3] = [10 * 86_400, 40 * 86_400, 400 * 86_400];

/// What the clocks of the machine that is being asked show. Background threads read them, too, so they are for all threads.
static WALL: AtomicI64 = AtomicI64::new(BEGIN);
static UP: AtomicI64 = AtomicI64::new(0);

const SOURCES: Sources = Sources {
    wall: || Timestamp(WALL.load(SeqCst)),
    uptime: || Uptime {
        boot: Some("the only one".to_owned()),
        ms: UP.load(SeqCst),
    },
};

/// How the clock of a machine is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Date {
    Right,
    At1970,
    /// So many days off.
    Off(i64),
}

/// Secrets by their place in the list of all.
type Secrets = BTreeSet<usize>;

/// The number of a pack with the reign in which it was made.
type Number = (u64, u64);

struct Site {
    name: String,
    machine: Machine,
    date: Date,
    /// Packs on their way, by their place in the list of all.
    mail: Vec<(usize, Vec<u8>)>,
    /// The pack in force; `None` if there is none, or if an older database has forgotten it.
    applied: Option<usize>,
    /// The newest pack that was ever applied.
    newest: Option<usize>,
    /// Secrets that are deleted for good according to a pack that was applied.
    buried: Secrets,
    /// An older copy, from which its database may be put back.
    copy: Option<PathBuf>,
    /// What it accepts may be less than what the server accepts: it was restored, or its server was.
    is_narrow: bool,
    /// It takes no pack before a wrong date that it believed.
    is_locked: bool,
    /// Its operator has accepted what the server signs since it was restored, or since an older copy of it was put back.
    is_reset: bool,
}

/// What is known about a pack.
struct Pack {
    number: Number,
    made: Timestamp,
    /// What the server accepted when it was made, and what was gone for good.
    accepted: Secrets,
    gone: Secrets,
}

struct Key {
    id: KeyId,
    /// The place of its newest secret.
    newest: usize,
}

struct World {
    random: Random,
    /// The right time.
    now: i64,
    server: Machine,
    sites: Vec<Site>,
    keys: Vec<Key>,
    secrets: Vec<String>,
    /// Secrets that ended for good: of deleted keys, and those that were replaced at once.
    gone: Secrets,
    packs: Vec<Pack>,
    counted: String,
    spent: u64,
    backup: Option<PathBuf>,
    copy: Option<PathBuf>,
    folder: PathBuf,
    seen: BTreeMap<&'static str, u64>,
}

impl World {
    fn begin(seed: u64) -> World {
        let now = BEGIN;
        WALL.store(now, SeqCst);
        UP.store(0, SeqCst);
        let server = Machine::server(SOURCES);
        let (app, local) = (server.app.clone(), server.local());
        for (slug, parent) in [("emea", "root"), ("plants", "emea")] {
            let new = NewWorkspace {
                slug: Some(slug.to_owned()),
                name: slug.to_owned(),
                parent: Some(parent.to_owned()),
            };
            workspaces::create(&app, &local, new, None).unwrap();
        }
        let site = |number: usize| {
            let name = format!("site-{number}");
            let new = NewSite {
                until_s: Some(UNTIL_S[number % UNTIL_S.len()]),
                minimal: number.is_multiple_of(5),
                ..new_site(&name, &["root"])
            };
            Site {
                machine: Machine::site(&server.enrol(new), SOURCES),
                name,
                date: Date::Right,
                mail: Vec::new(),
                applied: None,
                newest: None,
                buried: Secrets::new(),
                copy: None,
                is_narrow: false,
                is_locked: false,
                is_reset: false,
            }
        };
        let sites = (0..SITES).map(site).collect();
        let counted = NewKey {
            members: KeyMembers {
                uses_left: Some(Some(USES)),
                ..KeyMembers::named("counted")
            },
            ..NewKey::default()
        };
        let counted = issue(&app, &local, counted, None).unwrap();
        World {
            random: Random(Draw(seed)),
            now,
            sites,
            keys: Vec::new(),
            secrets: Vec::new(),
            gone: Secrets::new(),
            packs: Vec::new(),
            counted: counted.secret.unwrap().expose().to_owned(),
            spent: 0,
            backup: None,
            copy: None,
            folder: fresh_folder(),
            server,
            seen: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Lets the clocks show the time of a machine.
    fn at(&self, date: Date) {
        let passed = self.now - BEGIN;
        UP.store(passed, SeqCst);
        WALL.store(
            match date {
                Date::Right => self.now,
                Date::At1970 => passed,
                Date::Off(days) => self.now + days * DAY_MS,
            },
            SeqCst,
        );
    }

    /// At the end every clock is right and every pack arrives.
    fn end(&mut self) {
        self.now += DAY_MS;
        self.at(Date::Right);
        self.server.pass_time();
        let accepted = self.accepted();
        for number in 0..SITES {
            if self.sites[number].is_locked {
                continue;
            }
            self.sites[number].date = Date::Right;
            self.at(Date::Right);
            self.sites[number].machine.pass_time();
            self.bring_the_newest(number, &accepted);
            self.check(number);
            let site = &self.sites[number];
            let mut missing = 0;
            for place in &accepted {
                let code = site.machine.code(&self.secrets[*place]);
                missing += u32::from(code != Some(Code::Valid));
            }
            assert!(
                site.is_narrow || missing == 0,
                "{} lacks {missing}",
                site.name
            );
        }
        let shown = sites::list(&self.server.app, &self.server.local()).unwrap();
        assert_eq!(shown.len(), SITES);
    }

    /// Makes whole packs until a site takes one. After an older copy of the server's database, numbers are given again.
    fn bring_the_newest(&mut self, number: usize, accepted: &Secrets) {
        for _ in 0..WEEKS {
            let name = self.sites[number].name.clone();
            let made = self.server.make(Some(&[&name]), true).unwrap();
            let bytes = fs::read(&made[0].path).unwrap();
            let pack = self.remember(&bytes, accepted);
            let site = &self.sites[number].machine;
            if site.apply(&bytes).is_ok() {
                self.follow(number, pack);
                return;
            }
            if view(&site.app).unwrap().fork == Fork::Seen {
                accept_fork(&site.app, &site.local()).unwrap();
                self.sites[number].is_reset = true;
            }
        }
        panic!("site {number} takes no pack");
    }

    fn run(seed: u64) -> BTreeMap<&'static str, u64> {
        let mut world = World::begin(seed);
        for _ in 0..WEEKS {
            world.now += 7 * DAY_MS;
            world.serve();
            for number in 0..SITES {
                // Sites are visited at different hours.
                world.now += HOUR_MS / 20;
                world.visit(number);
            }
        }
        world.end();
        world.seen.clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let copies = self.sites.iter_mut().filter_map(|site| site.copy.take());
        for folder in copies.chain(self.copy.take()).chain([self.folder.clone()]) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// With `LATCHKEY_TEST_YEARS` so many years, each of another seed.
#[test]
fn in_a_year_no_site_accepts_what_has_ended_and_none_goes_back() {
    let years = std::env::var("LATCHKEY_TEST_YEARS").ok();
    let years = years.map_or(1, |text| text.parse().unwrap());
    for seed in 1..=years {
        println!("the year of seed {seed}");
        let seen = World::run(seed);
        println!("{seen:?}");
        if seed == 1 {
            for what in [
                "applied",
                "refused",
                "fork",
                "killed while applying",
                "site killed",
                "site restarted",
                "site's database put back",
                "site's packs lost",
                "server killed",
                "server restored",
                "reports",
            ] {
                assert!(seen.contains_key(what), "{what} did not happen: {seen:?}");
            }
        }
    }
}
