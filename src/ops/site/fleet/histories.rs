//! Random histories of a server, each seen by eight sites that are given different parts of it. After every pack that a site
//! applies, it answers as the server did when the pack was made, for every secret that there ever was.

use super::{Answer, Machine, Random, bytes_of, new_site};
use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::domain::clock::Uptime;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{CredentialHeader, IssuedBy, Presence, TiedTo};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::roles::Role;
use crate::fuzz::Draw;
use crate::ops::clock::Sources;
use crate::ops::keys::edit::{edit, switch};
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate::{end_previous, rotate};
use crate::ops::keys::{self, Issued};
use crate::ops::packs::rotate_key;
use crate::ops::packs::sites::NewSite;
use crate::ops::policies::PolicyEdit;
use crate::ops::setup::fixture::NOW;
use crate::ops::users::{NewUser, UserEdit};
use crate::ops::workspaces::{NewWorkspace, WorkspaceEdit};
use crate::ops::{catalogs, policies, secrets, users, workspaces};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of histories, unless `LATCHKEY_TEST_HISTORIES` sets another one. Each site has its own.
const HISTORIES: u64 = 1_000;
const SITES: usize = 8;
/// The number of packs of a site.
const ROUNDS: usize = 5;

const SOURCES: Sources = Sources {
    wall: || NOW,
    uptime: || Uptime { boot: None, ms: 0 },
};

/// What each site is given: workspaces, a catalog if only the keys of one, and whether without names.
const GIVEN: [(&[&str], Option<&str>, bool); SITES] = [
    (&["root"], None, false),
    (&["root"], None, true),
    (&["emea"], None, false),
    (&["plants"], None, false),
    (&["plants", "ships"], None, true),
    (&["root"], Some("rooms"), false),
    (&["emea"], Some("rooms"), false),
    (&["ships"], None, false),
];

/// A secret, and what decides whether a site is given its key.
struct Known {
    key: KeyId,
    text: String,
    workspace: Uid,
    catalog: Option<String>,
    is_counted: bool,
}

/// The answers of the server to every question on a secret, and the workspaces from its own to the root.
type Row = (Vec<Option<Answer>>, Vec<Uid>);

struct History {
    random: Random,
    server: Machine,
    sites: Vec<Machine>,
    /// Keys that are not deleted.
    keys: Vec<KeyId>,
    secrets: Vec<Known>,
    /// For each pack, a row for each secret of that time.
    truth: Vec<Vec<Row>>,
    /// What travels to each site: packs, by number of the round.
    mail: Vec<Vec<(usize, Vec<u8>)>>,
    compared: u64,
}

fn questions(plants: Uid) -> Vec<Question<'static>> {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    vec![
        Question::default(),
        Question {
            scopes: vec!["rooms:read"],
            address: address("192.0.2.7"),
            ..Question::default()
        },
        Question {
            catalog: Some("rooms"),
            method: Some("POST"),
            path: Some("/rooms/7"),
            address: address("198.51.100.1"),
            header: Some(CredentialHeader::Bearer),
            ..Question::default()
        },
        Question {
            workspace: Some(plants),
            method: Some("GET"),
            path: Some("/rooms/7"),
            header: Some(CredentialHeader::Token),
            ..Question::default()
        },
    ]
}

fn rooms(random: &mut Random) -> Definition {
    let scope = |name: &str, implies: &[&str]| Scope {
        name: name.to_owned(),
        label: "Rooms".to_owned(),
        implies: implies.iter().map(|name| (*name).to_owned()).collect(),
        root_only: false,
    };
    let operation = |method: &str, scope: &str| Operation {
        id: method.to_lowercase(),
        method: method.to_owned(),
        path: "/rooms/{id}".to_owned(),
        host: None,
        writes: method == "POST",
        preflight: false,
        requirement: Requirement::Scopes {
            all_of: Vec::new(),
            any_of: vec![scope.to_owned()],
        },
    };
    let implied: &[&str] = if random.once_in(2) {
        &["rooms:read"]
    } else {
        &[]
    };
    let needed = if random.once_in(3) {
        "rooms:read"
    } else {
        "rooms:write"
    };
    Definition {
        name: "rooms".to_owned(),
        case_sensitive: random.once_in(2),
        resource_metadata: None,
        scopes: vec![scope("rooms:read", &[]), scope("rooms:write", implied)],
        operations: vec![operation("GET", "rooms:read"), operation("POST", needed)],
        source: String::new(),
    }
}

impl History {
    fn begin(seed: u64) -> History {
        let mut random = Random(Draw(seed));
        let server = Machine::server(SOURCES);
        let (app, local) = (&server.app, server.local());
        for (slug, parent) in [("emea", "root"), ("plants", "emea"), ("ships", "root")] {
            let new = NewWorkspace {
                slug: Some(slug.to_owned()),
                name: slug.to_uppercase(),
                parent: Some(parent.to_owned()),
            };
            workspaces::create(app, &local, new, None).unwrap();
        }
        for (name, role) in [("alice", Role::Auditor), ("bob", Role::KeyManager)] {
            let new = NewUser {
                user_name: name.to_owned(),
                email: None,
                workspace: Some("root".to_owned()),
                password: None,
                roles: vec![("emea".to_owned(), role)],
            };
            users::create(app, &local, new, None).unwrap();
        }
        catalogs::put(app, &local, rooms(&mut random)).unwrap();
        let acts = PolicyEdit {
            acts_for_owner: Some(true),
            issued_by: Some(IssuedBy::Owner),
            owner: Some(Presence::Required),
            roles: Some(vec![RoleRule {
                role: Role::KeyManager,
                scopes: vec!["rooms:read".into()],
                read_only: false,
            }]),
            ..PolicyEdit::default()
        };
        policies::create(app, &local, "acts".to_owned(), acts, None).unwrap();
        let site = |(number, given): (usize, &(&[&str], Option<&str>, bool))| {
            let new = NewSite {
                catalogs: given.1.iter().map(|name| (*name).to_owned()).collect(),
                minimal: given.2,
                ..new_site(&format!("site-{number}"), given.0)
            };
            Machine::site(&server.enrol(new), SOURCES)
        };
        let sites: Vec<Machine> = GIVEN.iter().enumerate().map(site).collect();
        History {
            random,
            mail: sites.iter().map(|_| Vec::new()).collect(),
            sites,
            server,
            keys: Vec::new(),
            secrets: Vec::new(),
            truth: Vec::new(),
            compared: 0,
        }
    }

    /// Notes the secret of an answer.
    fn keep(&mut self, issued: Issued) {
        let key = issued.view.key;
        let (workspace, catalog) = (key.workspace, key.catalog.clone());
        let text = issued.secret.unwrap().expose().to_owned();
        self.secrets.push(Known {
            key: key.id,
            text,
            workspace,
            catalog,
            is_counted: key.uses_left.is_some(),
        });
    }

    fn members(&mut self) -> KeyMembers {
        let random = &mut self.random;
        let mut members = KeyMembers::default();
        let number = random.below(100);
        match random.below(9) {
            0 => {
                members.rate_limit = Some(Some(RateLimit {
                    limit: (number % 2) as u64 * 9,
                    window_s: 60,
                    exact: false,
                }))
            }
            1 => {
                members.allowed_ips = Some(Some(vec![
                    ["192.0.2.0/24", "198.51.100.1", "2001:db8::/32"][number % 3].to_owned(),
                ]))
            }
            2 => members.scopes = Some(vec![["rooms:read", "rooms:write"][number % 2].to_owned()]),
            3 => {
                members.owner = Some(
                    [Some("alice".to_owned()), Some("bob".to_owned()), None][number % 3].clone(),
                )
            }
            // Times that are further away than a test takes.
            4 => {
                members.expires_at = Some(Some(Timestamp(NOW.0 + 3_600_000 + number as i64 * 500)))
            }
            5 => {
                members.not_before =
                    Some((number.is_multiple_of(2)).then_some(Timestamp(NOW.0 + 3_600_700)))
            }
            6 => members.metadata = Some(format!(r#"{{"team":"t{number}"}}"#)),
            7 => members.read_only = Some(number.is_multiple_of(2)),
            _ => members.name = Some(format!("name {number}")),
        }
        members
    }

    /// One change at the server. One that the server refuses is none.
    fn change(&mut self) {
        let (app, local) = (self.server.app.clone(), self.server.local());
        let is_few = self.keys.len() < 2;
        if is_few || self.random.once_in(3) {
            let mut members = self.members();
            members.name = Some(format!("key {}", self.secrets.len()));
            if self.random.once_in(6) {
                members.uses_left = Some(Some(self.random.below(30) as u64));
            }
            let new = NewKey {
                members,
                workspace: Some(
                    ["root", "emea", "plants", "ships"][self.random.below(4)].to_owned(),
                ),
                policy: self.random.once_in(4).then(|| "acts".to_owned()),
                catalog: self.random.once_in(2).then(|| "rooms".to_owned()),
                prefix: None,
            };
            if let Ok(issued) = issue(&app, &local, new, None) {
                self.keys.push(issued.view.key.id);
                self.keep(issued);
            }
            return;
        }
        let place = self.random.below(self.keys.len());
        let (id, choice) = (self.keys[place], self.random.below(40));
        let slug = ["emea", "plants", "ships"][choice % 3];
        match self.random.below(16) {
            0 => {
                keys::delete(&app, &local, id, None).unwrap();
                self.keys.remove(place);
            }
            1 => drop(switch(&app, &local, id, false)),
            2 => drop(switch(&app, &local, id, true)),
            3 | 4 => {
                let grace =
                    [Grace::AtOnce, Grace::Seconds(60), Grace::UntilFirstUse(60)][choice % 3];
                if let Ok(issued) = rotate(&app, &local, id, grace) {
                    self.keep(issued);
                }
            }
            5 => drop(end_previous(&app, &local, id)),
            6 => {
                let change = WorkspaceEdit {
                    enabled: Some(choice % 4 > 0),
                    ..WorkspaceEdit::default()
                };
                drop(workspaces::edit(&app, &local, slug, change));
            }
            7 => {
                let change = WorkspaceEdit {
                    parent: Some(["root", "emea", "ships"][choice % 3].to_owned()),
                    ..WorkspaceEdit::default()
                };
                drop(workspaces::edit(&app, &local, "plants", change));
            }
            8 => {
                let change = UserEdit {
                    enabled: Some(choice % 3 > 0),
                    ..UserEdit::default()
                };
                drop(users::edit(
                    &app,
                    &local,
                    ["alice", "bob"][choice % 2],
                    change,
                ));
            }
            9 => {
                let role = [Role::Auditor, Role::KeyManager, Role::Member][choice % 3];
                let roles = vec![(slug.to_owned(), role)];
                drop(users::set_roles(&app, &local, "bob", roles));
            }
            10 => drop(catalogs::put(&app, &local, rooms(&mut self.random))),
            11 => {
                let change = PolicyEdit {
                    headers: Some(vec![
                        [CredentialHeader::Bearer, CredentialHeader::Token][choice % 2].clone(),
                    ]),
                    tied_to: Some([TiedTo::Workspace, TiedTo::OwnerAndWorkspace][choice % 2]),
                    decoy: Some(choice == 0),
                    ..PolicyEdit::default()
                };
                drop(policies::edit(
                    &app,
                    &local,
                    ["acts", "standard"][choice % 2],
                    change,
                ));
            }
            12 if choice == 0 => {
                let rotated = secrets::rotate::rotate(&app, &local, KeyKind::Pepper).unwrap();
                assert!(rotated.version > 1);
            }
            12 if choice == 1 => drop(rotate_key::rotate(&app, &local).unwrap()),
            _ => {
                let members = self.members();
                drop(edit(&app, &local, id, members));
            }
        }
    }

    /// Makes a pack for every site, and notes what the server answers now.
    fn make(&mut self) {
        let whole = self.random.once_in(6);
        let made = self.server.make(None, whole).unwrap();
        let round = self.truth.len();
        assert_eq!(made.len(), SITES);
        for (mail, made) in self.mail.iter_mut().zip(&made) {
            // With the whole pack that it follows, or without.
            let bytes = match self.random.once_in(2) {
                true => bytes_of(made),
                false => std::fs::read(&made.path).unwrap(),
            };
            mail.push((round, bytes));
        }
        let plants = self.plants();
        let row = |known: &Known| {
            let directory = self.server.app.index.directory();
            let path = directory.path(known.workspace).to_vec();
            drop(directory);
            let answers = questions(plants);
            let answers = answers
                .iter()
                .map(|question| self.server.ask(&known.text, question));
            (answers.collect(), path)
        };
        self.truth.push(self.secrets.iter().map(row).collect());
    }

    fn uid_of(&self, slug: &str) -> Uid {
        let directory = self.server.app.index.directory();
        let mut places = directory.places();
        places
            .find(|place| place.workspace.slug == slug)
            .unwrap()
            .workspace
            .uid
    }

    fn plants(&self) -> Uid {
        self.uid_of("plants")
    }

    /// Lets one thing happen on the way to a site or at it, and compares if it has applied a pack.
    fn travel(&mut self, number: usize) {
        let random = &mut self.random;
        let mail = &mut self.mail[number];
        match random.below(8) {
            // Lost, or late.
            0 => drop(mail.pop()),
            1 => return,
            _ => {}
        }
        if mail.is_empty() {
            return;
        }
        // The newest one, or another that is still on its way.
        let place = match random.below(5) {
            0 => random.below(mail.len()),
            _ => mail.len() - 1,
        };
        let (round, bytes) = match random.once_in(8) {
            true => mail[place].clone(),
            false => mail.remove(place),
        };
        let site = &mut self.sites[number];
        let before = super::super::view(&site.app).unwrap().pack;
        match site.apply(&bytes) {
            Ok(applied) => assert_eq!(
                (applied.pack, applied.pack > before),
                (round as u64 + 1, true)
            ),
            // An older one, or a difference from a whole pack that was lost.
            Err(_) => assert_eq!(super::super::view(&site.app).unwrap().pack, before),
        }
        if self.random.once_in(12) {
            self.sites[number].reopen();
        }
        let applied = super::super::view(&self.sites[number].app).unwrap().pack;
        if let Some(round) = applied.checked_sub(1) {
            self.compare(number, round as usize);
        }
    }

    /// Compares every answer of a site with that of the server in a round.
    fn compare(&mut self, number: usize, round: usize) {
        let (slugs, catalog, minimal) = GIVEN[number];
        let given: Vec<Uid> = slugs.iter().map(|slug| self.uid_of(slug)).collect();
        let (plants, site) = (self.plants(), &self.sites[number]);
        let questions = questions(plants);
        for (place, known) in self.secrets.iter().enumerate() {
            let row = self.truth[round].get(place);
            let is_given = row.is_some_and(|(_, path)| path.iter().any(|uid| given.contains(uid)))
                && catalog.is_none_or(|name| known.catalog.as_deref() == Some(name));
            for (asked, question) in questions.iter().enumerate() {
                let found = site.ask(&known.text, question).unwrap();
                let Some((answers, _)) = row.filter(|_| is_given) else {
                    assert_eq!(
                        found.code,
                        Code::NotFound,
                        "site {number}, secret {place}, a key that it was not given"
                    );
                    continue;
                };
                let mut expected = answers[asked].clone().unwrap();
                if minimal {
                    (expected.name, expected.owner, expected.metadata) = (
                        found.name.clone(),
                        found.owner.clone(),
                        found.metadata.clone(),
                    );
                }
                // Rule 5: a site spends what it was lent, and the server the rest.
                let spends = [Code::Valid, Code::UsageExceeded];
                if known.is_counted
                    && spends.contains(&expected.code)
                    && spends.contains(&found.code)
                {
                    expected.code = found.code;
                }
                assert_eq!(
                    found,
                    expected,
                    "site {number}, pack {}, secret {place} of key {}, question {asked}",
                    round + 1,
                    known.key
                );
                self.compared += 1;
            }
        }
    }

    fn run(seed: u64) -> u64 {
        let mut history = History::begin(seed);
        for _ in 0..ROUNDS {
            for _ in 0..4 + history.random.below(10) {
                history.change();
            }
            history.make();
            for number in 0..SITES {
                history.travel(number);
            }
        }
        // At the end all are brought up to date.
        history.make();
        for number in 0..SITES {
            let (round, newest) = history.mail[number].pop().unwrap();
            if history.sites[number].apply(&newest).is_err() {
                // The whole pack before it was lost.
                let name = format!("site-{number}");
                let made = history.server.make(Some(&[&name]), true).unwrap();
                history.sites[number].apply(&bytes_of(&made[0])).unwrap();
            }
            history.compare(number, round);
        }
        history.compared
    }
}

#[test]
fn a_thousand_histories_end_at_every_site_as_at_the_server() {
    let wanted = std::env::var("LATCHKEY_TEST_HISTORIES").ok();
    let wanted = wanted.map_or(HISTORIES, |text| text.parse().unwrap());
    let (next, compared) = (AtomicU64::new(0), AtomicU64::new(0));
    let groups = wanted.div_ceil(SITES as u64);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= groups {
                        return;
                    }
                    // The seed of a history that fails.
                    let failed = std::panic::catch_unwind(|| History::run(seed));
                    let count = failed.unwrap_or_else(|why| {
                        println!("the history of seed {seed}");
                        std::panic::resume_unwind(why)
                    });
                    compared.fetch_add(count, Ordering::Relaxed);
                }
            });
        }
    });
    let compared = compared.into_inner();
    assert!(compared > wanted * 50, "{compared} answers were compared");
}
