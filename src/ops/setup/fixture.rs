//! A server without sockets, for the tests of this folder: with a real database in a folder of its own and a fixed
//! clock.

use crate::authz::caller::{Caller, Origin};
use crate::domain::clock::Uptime;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::ops::clock::{Sources, Wall};
use crate::ops::policies::presets::Preset;
use crate::ops::setup::{OwnerPassword, SampleKey};
use crate::ops::{App, setup};
use crate::store::{self, Durability, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The fixed time: 2026-11-21T10:00:00Z.
pub const NOW: Timestamp = Timestamp(1_795_255_200_000);

/// A test server; see the heading.
pub struct Fixture {
    pub app: Arc<App>,
    pub folder: PathBuf,
    files: KeyFiles,
    wall: Wall,
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with_presets(&[])
    }

    pub fn with_presets(presets: &'static [Preset]) -> Fixture {
        Fixture::with_clock(presets, || NOW)
    }

    /// A test server with a clock of the test, which must begin at [`NOW`].
    pub fn with_clock(presets: &'static [Preset], wall: Wall) -> Fixture {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "latchkey-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let files = KeyFiles::generate();
        let path = folder.join("db");
        let sources = Sources {
            wall: || NOW,
            uptime: || Uptime { boot: None, ms: 0 },
        };
        setup::create(
            &path,
            files.clone(),
            presets,
            OwnerPassword::Generated,
            SampleKey::Endless,
            sources,
        )
        .unwrap();
        lower_the_mark(&path, &files);
        let app = open(&path, &files, presets, wall);
        Fixture {
            app,
            folder,
            files,
            wall,
        }
    }

    /// A test server that shares its database by what it does, without others: it is refused until it has proved to be up to date.
    pub fn behind_a_fence() -> Fixture {
        let mut fixture = Fixture::new();
        let app = Arc::get_mut(&mut fixture.app).unwrap();
        app.fence = Some(Arc::default());
        fixture
    }

    /// Stops the server and starts it again.
    pub fn reopen(&mut self, presets: &'static [Preset]) {
        self.app.close();
        self.app = open(&self.folder.join("db"), &self.files, presets, self.wall);
    }

    /// Stops the server, copies its database, and starts it again.
    pub fn keep_copy(&mut self) {
        self.app.close();
        std::fs::copy(self.folder.join("db"), self.folder.join("copy")).unwrap();
        self.reopen(&[]);
    }

    /// Stops the server, puts the copy of its database in place, and starts it again.
    pub fn put_copy_back(&mut self) {
        self.app.close();
        std::fs::copy(self.folder.join("copy"), self.folder.join("db")).unwrap();
        self.reopen(&[]);
    }

    /// The number of the newest event in the audit log.
    pub fn last_event(&self) -> i64 {
        let ends = self.app.store.read(store::audit::ends).unwrap();
        ends.map_or(0, |(_, last)| last)
    }

    /// The caller who may do everything.
    pub fn local(&self) -> Caller {
        Caller::local(&self.app.index.directory(), 0, Origin::default()).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.app.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sets the mark half a day back, so that "now" is the fixed clock of the test. Otherwise "now" would advance with
/// the mark.
fn lower_the_mark(path: &std::path::Path, files: &KeyFiles) {
    let store = Store::open(path, files, NOW, Box::new(|_, _| Ok(Box::new(|| {})))).unwrap();
    let lower = |tx: &store::Write<'_>| {
        let recorded = store::clock::find_latest(tx)?.unwrap();
        let mark = Timestamp(NOW.0 - 12 * 3_600_000);
        store::clock::replace_all(tx, &crate::domain::clock::StoredClock { mark, ..recorded })
    };
    store.write(Durability::Full, lower).unwrap();
    store.close();
}

fn open(
    path: &std::path::Path,
    files: &KeyFiles,
    presets: &'static [Preset],
    wall: Wall,
) -> Arc<App> {
    let sources = Sources {
        wall,
        uptime: || Uptime { boot: None, ms: 0 },
    };
    let app = setup::open(path, files.clone(), presets, sources).unwrap();
    setup::load_keys(&app).unwrap();
    app
}
