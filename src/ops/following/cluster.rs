//! For tests: several nodes in one process, each with a folder of its own, on one PostgreSQL database.

use crate::authz::caller::{Caller, Origin};
use crate::domain::clock::Uptime;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::policies::CredentialHeader;
use crate::error::Result;
use crate::files::private;
use crate::ops::clock::Sources;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::setup::{self, OwnerPassword, SampleKey};
use crate::ops::users::{self, NewUser};
use crate::ops::{App, authenticate, sessions, verify};
use crate::store::heads::{self, Head};
use crate::store::postgres::Address;
use crate::store::postgres::server::{self, Database, wait_for};
use crate::store::{Location, audit};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The password of all users.
pub const PASSWORD: &str = "seven lanterns over the harbour";

/// Nodes on one database.
pub struct Cluster {
    pub nodes: Vec<Arc<App>>,
    pub address: Address,
    files: KeyFiles,
    folder: PathBuf,
    /// Removed after the nodes are closed.
    pub database: Option<Database>,
}

impl Cluster {
    /// So many nodes on a database of the server that the tests of this process share; `None` without PostgreSQL.
    pub fn start(count: usize) -> Option<Cluster> {
        Cluster::start_with(count, |_| ())
    }

    /// The same, with another address than the usual one.
    pub fn start_with(count: usize, change: impl FnOnce(&mut Address)) -> Option<Cluster> {
        let (database, mut address) = server::empty_database()?;
        change(&mut address);
        let mut cluster = Cluster::create(address);
        cluster.database = Some(database);
        (0..count).for_each(|_| cluster.add());
        Some(cluster)
    }

    /// The database at an address, without a node yet.
    pub fn create(address: Address) -> Cluster {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("following-{}", COUNT.fetch_add(1, Relaxed));
        let folder = private::tests::folder(&name);
        let files = KeyFiles::generate();
        let seeding = folder.join("seeding");
        std::fs::create_dir(&seeding).unwrap();
        setup::create(
            Location::on_a_server(&seeding.join("db"), address.clone()),
            files.clone(),
            &[],
            OwnerPassword::Generated,
            SampleKey::Endless,
            sources(),
        )
        .unwrap();
        Cluster {
            nodes: Vec::new(),
            address,
            files,
            folder,
            database: None,
        }
    }

    /// Adds a node.
    pub fn add(&mut self) {
        let address = self.address.clone();
        self.add_at(address);
    }

    /// Adds a node that reaches the database at another address.
    pub fn add_at(&mut self, address: Address) {
        let folder = self.folder_of(self.nodes.len());
        std::fs::create_dir(&folder).unwrap();
        let node = self.open(&folder, address).unwrap();
        self.nodes.push(node);
    }

    /// Ends a node, whose folder stays.
    pub fn stop(&self, node: usize) {
        self.nodes[node].close();
    }

    /// Starts a node again that was stopped.
    pub fn start_again(&mut self, node: usize) {
        self.nodes[node] = self.try_to_start(node).unwrap();
    }

    /// Starts the node in a folder that is there.
    pub fn try_to_start(&self, node: usize) -> Result<Arc<App>> {
        self.open(&self.folder_of(node), self.address.clone())
    }

    fn open(&self, folder: &Path, address: Address) -> Result<Arc<App>> {
        let location = Location::on_a_server(&folder.join("db"), address);
        let app = setup::open(location, self.files.clone(), &[], sources())?;
        setup::load_keys(&app)?;
        Ok(app)
    }

    /// Opens the folder of a node that was stopped, as a command does.
    pub fn open_for_a_command(&self, node: usize) -> Arc<App> {
        let location =
            Location::on_a_server(&self.folder_of(node).join("db"), self.address.clone());
        setup::open_for_a_command(location, self.files.clone(), &[], sources()).unwrap()
    }

    /// Ends all nodes, copies the database, and starts the nodes again: a database that is in use cannot be copied.
    pub fn copy(&mut self) -> Database {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.copy_while(&all)
    }

    /// The same while only these nodes run.
    pub fn copy_while(&mut self, running: &[usize]) -> Database {
        running.iter().for_each(|node| self.stop(*node));
        let name = self.database.as_ref().unwrap().name();
        let (copy, _) = server::new_copy_of(name).unwrap();
        running.iter().for_each(|node| self.start_again(*node));
        copy
    }

    /// Ends the node that was added last.
    pub fn remove_last(&mut self) {
        if let Some(node) = self.nodes.pop() {
            node.close();
            // Its threads end a little later, and may write a file until then.
            let folder = self.folder_of(self.nodes.len());
            wait_for("the folder of a node is still in use", || {
                std::fs::remove_dir_all(&folder).ok()
            });
        }
    }

    /// Puts another database in the place of this one.
    pub fn exchange_with(&self, other: &Database) {
        self.database.as_ref().unwrap().exchange_with(other);
    }

    /// The folder of a node.
    pub fn folder_of(&self, node: usize) -> PathBuf {
        self.folder.join(format!("node-{node}"))
    }

    /// The newest event in the database, as a node reads it.
    pub fn head(&self, node: usize) -> Head {
        self.nodes[node].read(heads::newest).unwrap()
    }

    /// Waits until every node has followed everything that is committed, and compares what they have with what a new one loads.
    pub fn check_equal(&mut self) {
        let head = self.head(0);
        for node in &self.nodes {
            wait_for("a node does not follow", || {
                (node.applier.applied() == head.seq).then_some(())
            });
        }
        self.add();
        let expected = content(&self.nodes[self.nodes.len() - 1]);
        self.remove_last();
        for node in &self.nodes {
            assert_eq!(content(node), expected);
            let chain = node.read(|read| audit::verify(read, &node.seal_keys));
            assert!(matches!(chain.unwrap(), Ok(count) if count <= head.seq));
        }
    }

    pub fn close(&self) {
        self.nodes.iter().for_each(|node| node.close());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn sources() -> Sources {
    Sources {
        wall: server::date,
        uptime: || Uptime { boot: None, ms: 0 },
    }
}

/// The administrator of a node.
pub fn local(app: &App) -> Caller {
    Caller::local(&app.index.directory(), 0, Origin::default()).unwrap()
}

/// Issues a key of this name as the administrator.
pub fn issued(app: &App, name: &str) -> Result<(KeyId, String)> {
    issued_as(app, &local(app), name)
}

/// Issues a key of this name.
pub fn issued_as(app: &App, caller: &Caller, name: &str) -> Result<(KeyId, String)> {
    let members = KeyMembers {
        name: Some(name.to_owned()),
        ..KeyMembers::default()
    };
    issued_with(app, caller, members, None)
}

/// Issues a key with these members.
pub fn issued_with(
    app: &App,
    caller: &Caller,
    members: KeyMembers,
    catalog: Option<&str>,
) -> Result<(KeyId, String)> {
    let new = NewKey {
        members,
        catalog: catalog.map(str::to_owned),
        ..NewKey::default()
    };
    let issued = issue(app, caller, new, None)?;
    Ok((
        issued.view.key.id,
        issued.secret.unwrap().expose().to_owned(),
    ))
}

/// Creates a user with [`PASSWORD`].
pub fn user(app: &App, name: &str) {
    let new = NewUser {
        user_name: name.to_owned(),
        password: Some(PASSWORD.to_owned()),
        email: None,
        workspace: None,
        roles: Vec::new(),
    };
    users::create(app, &local(app), new, None).unwrap();
}

/// The access token of a new session of a user.
pub fn user_session(app: &App, name: &str) -> String {
    let begun = sessions::sign_in(app, name, PASSWORD, None, Origin::default()).unwrap();
    begun.token.expose().to_owned()
}

/// The verdict on a secret, which is not counted as a use.
pub fn verdict(app: &App, secret: &str) -> Code {
    verify::verify_blocking(app, secret, &Question::default(), None, |it| it.code).unwrap()
}

/// The caller of a secret.
pub fn caller_of(app: &App, secret: &str) -> Result<Caller> {
    let header = CredentialHeader::Bearer;
    let found = authenticate::authenticate(app, secret, header, Origin::default(), true)?;
    Ok(found.unwrap())
}

/// What the index of a node has, in a form that can be compared.
pub fn content(app: &App) -> Vec<String> {
    let mut lines = Vec::new();
    app.index.each_key(|_, key| {
        lines.push(format!(
            "key {} {} {:?} {:?} {} {:?} {:?}",
            key.id, key.name, key.shared, key.secret, key.enabled, key.not_before, key.expires_at
        ));
    });
    let directory = app.index.directory();
    for user in directory.users() {
        lines.extend(
            app.index
                .sessions_of(user.uid)
                .iter()
                .map(|one| format!("{one:?}")),
        );
        lines.push(format!("{user:?}"));
    }
    let places = directory.places();
    lines.extend(places.map(|place| format!("{:?} {}", place.workspace, place.active)));
    lines.extend(directory.policies().map(|policy| format!("{policy:?}")));
    lines.extend(
        directory
            .catalogs()
            .map(|it| format!("catalog {}", it.name())),
    );
    lines.sort();
    lines
}
