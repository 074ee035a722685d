//! A year of a server and forty sites, in steps of a week, with a clock of the test. Files are lost, doubled and reordered;
//! clocks are at 1970 or in the future; the server is restored and killed, and so are sites.
//!
//! What holds at any time: no site accepts a secret that was ended by a pack which it has applied; none goes back; none gives
//! a verdict after the end of its pack; and all of them together never spend more uses than the server has given.

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
use crate::ops::site::{View, accept_fork, ended, report, view};
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
                minimal: number % 5 == 0,
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

    fn keep(&mut self, issued: Issued) -> usize {
        self.secrets
            .push(issued.secret.unwrap().expose().to_owned());
        self.secrets.len() - 1
    }

    /// One change at the server.
    fn change(&mut self) {
        let (app, local) = (self.server.app.clone(), self.server.local());
        if self.keys.len() < 6 || self.random.once_in(3) {
            let slug = ["root", "emea", "plants"][self.random.below(3)];
            let days = self.random.below(600) as u64;
            let new = NewKey {
                members: KeyMembers {
                    expires_in_s: self.random.once_in(3).then_some(86_400 * (days + 1)),
                    ..KeyMembers::named(&format!("key {}", self.secrets.len()))
                },
                workspace: Some(slug.to_owned()),
                ..NewKey::default()
            };
            let issued = issue(&app, &local, new, None).unwrap();
            let id = issued.view.key.id;
            let newest = self.keep(issued);
            self.keys.push(Key { id, newest });
            return;
        }
        let place = self.random.below(self.keys.len());
        let id = self.keys[place].id;
        match self.random.below(6) {
            0 | 1 => {
                // A restored server may have lost it.
                let _ = keys::delete(&app, &local, id, None);
                let key = self.keys.remove(place);
                self.gone.insert(key.newest);
            }
            2 => drop(switch(&app, &local, id, false)),
            3 => drop(switch(&app, &local, id, true)),
            choice => {
                let grace = [Grace::AtOnce, Grace::Seconds(20 * 86_400)][choice % 2];
                if let Ok(issued) = rotate(&app, &local, id, grace) {
                    if grace == Grace::AtOnce {
                        self.gone.insert(self.keys[place].newest);
                    }
                    let newest = self.keep(issued);
                    self.keys[place].newest = newest;
                }
            }
        }
    }

    /// What the server accepts now.
    fn accepted(&self) -> Secrets {
        let valid = |(place, text): (usize, &String)| {
            (self.server.code(text) == Some(Code::Valid)).then_some(place)
        };
        self.secrets.iter().enumerate().filter_map(valid).collect()
    }

    /// A week of the server.
    fn serve(&mut self) {
        self.at(Date::Right);
        self.server.pass_time();
        match self.random.below(30) {
            0 | 1 => {
                self.note("server killed");
                self.server.kill();
            }
            2 => self.restore(),
            3 => {
                if let Some(copy) = self.copy.take() {
                    self.note("server's database put back");
                    self.server.app.close();
                    self.server.put_database_back(&copy);
                    self.forget_lost();
                }
            }
            _ => {}
        }
        if self.random.once_in(5) {
            let path = self.folder.join(format!("{}.db", self.now));
            backups::create(&self.server.app, &self.server.local(), Some(path.clone())).unwrap();
            self.backup = Some(path);
        }
        if self.random.once_in(9) {
            self.copy = Some(self.server.copy());
        }
        for _ in 0..1 + self.random.below(6) {
            self.change();
        }
        let accepted = self.accepted();
        for secret in &accepted {
            assert!(
                !self.gone.contains(secret),
                "the server accepts what has ended"
            );
        }
        let made = match self.server.make(None, self.random.once_in(10)) {
            Ok(made) => made,
            Err(err) => panic!("week {}: {err}", (self.now - BEGIN) / (7 * DAY_MS)),
        };
        for one in &made {
            let number = self
                .sites
                .iter()
                .position(|site| site.name == one.pack.site)
                .unwrap();
            let alone = fs::read(&one.path).unwrap();
            let place = self.remember(&alone, &accepted);
            let bytes = if self.random.once_in(3) {
                alone
            } else {
                bytes_of(one)
            };
            self.send(number, (place, bytes));
        }
    }

    /// Notes what a pack has. Returns its place.
    fn remember(&mut self, bytes: &[u8], accepted: &Secrets) -> usize {
        let head = head_of(bytes).unwrap();
        self.packs.push(Pack {
            number: (head.reign, head.pack),
            made: head.made,
            accepted: accepted.clone(),
            gone: self.gone.clone(),
        });
        self.packs.len() - 1
    }

    /// Puts a pack on its way: it may be lost, doubled or overtaken.
    fn send(&mut self, number: usize, pack: (usize, Vec<u8>)) {
        let mail = &mut self.sites[number].mail;
        match self.random.below(8) {
            0 | 1 => {}
            2 => mail.extend([pack.clone(), pack]),
            3 => mail.insert(self.random.below(mail.len() + 1), pack),
            _ => mail.push(pack),
        }
    }

    /// Restores the server from a backup, as `latchkey restore` does.
    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        self.note("server restored");
        self.server.app.close();
        let folder = self.server.folder.clone();
        let tombstones = fs::read(folder.join(TOMBSTONES)).unwrap_or_default();
        let tombstones = Tombstones::parse(&tombstones);
        let options = RestoreOptions {
            tombstones: tombstones.clone(),
            keeps_uses: false,
            actor: "local:0".to_owned(),
            backup: "backup".to_owned(),
            now: Timestamp(self.now),
        };
        let restored = restore::prepare(&backup, &self.server.files, options).unwrap();
        let staged = self.folder.join("staged");
        fs::create_dir_all(&staged).unwrap();
        fs::rename(&backup, staged.join("db")).unwrap();
        super::replace_database(&folder, &staged);
        fs::remove_dir_all(staged).unwrap();
        restore::settle(&folder.join(TOMBSTONES), &tombstones, &restored).unwrap();
        self.server.reopen();
        self.forget_lost();
    }

    /// Forgets the keys that the server has lost with its newer database.
    fn forget_lost(&mut self) {
        let (app, local) = (self.server.app.clone(), self.server.local());
        self.keys.retain(|key| {
            keys::find(&app, &local, key.id).is_ok_and(|view| view.key.deleted_at.is_none())
        });
        for site in &mut self.sites {
            site.is_narrow = true;
        }
    }

    /// A week of a site.
    fn visit(&mut self, number: usize) {
        self.at(self.sites[number].date);
        self.sites[number].machine.pass_time();
        self.trouble(number);
        for _ in 0..self.random.below(4) {
            self.bring(number);
        }
        self.check(number);
        self.spend(number);
        if self.random.once_in(8) {
            self.report(number);
        }
    }

    /// What can happen to a machine.
    fn trouble(&mut self, number: usize) {
        let choice = self.random.below(60);
        let days = [-400, -1, 1, 40, 3_000][self.random.below(5)];
        let site = &mut self.sites[number];
        match choice {
            0..=2 => site.date = Date::At1970,
            3..=4 => site.date = Date::Off(days),
            5..=14 => site.date = Date::Right,
            _ => {}
        }
        self.at(self.sites[number].date);
        let site = &mut self.sites[number];
        let what = match choice {
            15..=18 => {
                site.machine.kill();
                "site killed"
            }
            19..=21 => {
                site.machine.reopen();
                "site restarted"
            }
            22..=24 => {
                if let Some(old) = site.copy.replace(site.machine.copy()) {
                    fs::remove_dir_all(old).unwrap();
                }
                // A copy is noticed to be older if the site has done more since than verify.
                report::make(&site.machine.app, &site.machine.local()).unwrap();
                return;
            }
            25 | 26 => {
                let Some(copy) = site.copy.take() else {
                    return;
                };
                site.machine.put_database_back(&copy);
                site.is_narrow = true;
                site.is_locked |= matches!(site.date, Date::Off(1..));
                fs::remove_dir_all(copy).unwrap();
                let seen = view(&site.machine.app).unwrap();
                assert_eq!(
                    seen.age,
                    Age::None,
                    "{}: a verdict from an older database",
                    site.name
                );
                let known = site.applied.map(|pack| self.packs[pack].number);
                if known != Some((seen.reign, seen.pack)) {
                    site.applied = None;
                }
                "site's database put back"
            }
            27 => {
                // The folder has lost its packs.
                let _ = fs::remove_dir_all(site.machine.folder.join("packs"));
                site.machine.reopen();
                "site's packs lost"
            }
            28 => {
                let keys: Vec<KeyId> = self.keys.iter().map(|key| key.id).collect();
                if let Some(id) = keys.first() {
                    site.is_narrow |=
                        ended::disable(&site.machine.app, &site.machine.local(), *id).is_ok();
                }
                return;
            }
            _ => return,
        };
        self.note(what);
        self.check(number);
    }

    /// Brings a site one file of its mail.
    fn bring(&mut self, number: usize) {
        let is_killed = self.random.once_in(15);
        let accepts = self.random.once_in(2);
        let site = &mut self.sites[number];
        if site.mail.is_empty() {
            return;
        }
        // A file that was not taken can come again.
        let place = self.random.below(site.mail.len());
        let (pack, bytes) = match self.random.once_in(6) {
            true => site.mail[place].clone(),
            false => site.mail.remove(place),
        };
        let before = is_killed.then(|| site.machine.copy());
        let result = site.machine.apply(&bytes);
        let is_applied = result.is_ok();
        let mut what = if is_applied { "applied" } else { "refused" };
        if let Err(Error::Conflict(why)) = &result
            && why.code() == "site.fork"
        {
            what = "fork";
            site.is_narrow = true;
            if accepts {
                accept_fork(&site.machine.app, &site.machine.local()).unwrap();
            }
        }
        if let Some(killed) = before {
            // Killed between the files and the commit: the packs of now, and the database of before.
            let packs = site.machine.folder.join("packs");
            if packs.exists() {
                fs::create_dir_all(killed.join("packs")).unwrap();
                for entry in fs::read_dir(&packs).unwrap() {
                    let path = entry.unwrap().path();
                    fs::copy(&path, killed.join("packs").join(path.file_name().unwrap())).unwrap();
                }
            }
            site.machine.go_on_with(killed);
            what = "killed while applying";
        }
        self.note(what);
        let seen: View = view(&self.sites[number].machine.app).unwrap();
        // After a kill it has the old pack or the new one.
        let is_there = (seen.reign, seen.pack) == self.packs[pack].number;
        assert!(is_there || is_killed || !is_applied);
        let has_new = is_applied && is_there;
        if has_new {
            self.follow(number, pack);
        }
    }

    /// Notes that a site has a pack in force now.
    fn follow(&mut self, number: usize, pack: usize) {
        let site = &mut self.sites[number];
        let new = &self.packs[pack];
        if let Some(before) = site.newest.map(|before| &self.packs[before]) {
            let (now, before_it) = (new.number, before.number);
            assert!(
                now >= before_it,
                "{}: {now:?} after {before_it:?}",
                site.name
            );
            let is_later = now.0 > before_it.0 || new.made >= before.made;
            assert!(is_later, "{}: made before", site.name);
        }
        site.buried.extend(&new.gone);
        (site.applied, site.newest) = (Some(pack), Some(pack));
    }

    /// Compares what a site accepts with what the pack in force had.
    fn check(&self, number: usize) {
        self.at(self.sites[number].date);
        let site = &self.sites[number];
        let seen = view(&site.machine.app).unwrap();
        let now = (seen.reign, seen.pack);
        let pack = site.applied.map(|pack| &self.packs[pack]);
        match pack {
            Some(pack) => assert_eq!(now, pack.number, "{}: it went back", site.name),
            None => assert_eq!(seen.age, Age::None, "{}: {seen:?}", site.name),
        }
        for (place, text) in self.secrets.iter().enumerate() {
            let code = site.machine.code(text);
            match seen.age {
                Age::Over | Age::None => assert_eq!(code, None, "{}: {seen:?}", site.name),
                Age::Aging | Age::Fresh => assert!(code.is_some()),
            }
            if code == Some(Code::Valid) {
                assert!(
                    pack.is_some_and(|pack| pack.accepted.contains(&place)),
                    "{} accepts secret {place}, which pack {now:?} has not: {:?}",
                    site.name,
                    self.server.ask(text, &Question::default())
                );
                assert!(
                    !site.buried.contains(&place),
                    "{}: {place} is back",
                    site.name
                );
            }
        }
    }

    /// Uses the counted key a few times.
    fn spend(&mut self, number: usize) {
        let question = Question {
            cost: 1,
            ..Question::default()
        };
        let site = &self.sites[number];
        for (machine, date) in [(&site.machine, site.date), (&self.server, Date::Right)] {
            self.at(date);
            let told = |verdict: &verify::Verdict<'_>| verdict.code;
            let code = verify::verify_blocking(&machine.app, &self.counted, &question, None, told);
            self.spent += u64::from(code.is_ok_and(|code| code == Code::Valid));
        }
        assert!(
            self.spent <= USES,
            "{} of {USES} uses were spent",
            self.spent
        );
    }

    fn report(&mut self, number: usize) {
        let site = &self.sites[number];
        let Ok((_, text)) = report::make(&site.machine.app, &site.machine.local()) else {
            return;
        };
        self.at(Date::Right);
        // A restored server may not know the newest reign of the site, and takes the report nevertheless.
        collect::collect(&self.server.app, &self.server.local(), &text).unwrap();
        let again = collect::collect(&self.server.app, &self.server.local(), &text).unwrap();
        assert!(!again.is_new, "a report counts twice");
        self.note("reports");
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
