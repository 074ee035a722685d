//! The server in a year: its changes, its packs, and what goes wrong with it.

use super::*;

impl World {
    pub(super) fn keep(&mut self, issued: Issued) -> usize {
        self.secrets
            .push(issued.secret.unwrap().expose().to_owned());
        self.secrets.len() - 1
    }

    /// One change at the server.
    pub(super) fn change(&mut self) {
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
    pub(super) fn accepted(&self) -> Secrets {
        let valid = |(place, text): (usize, &String)| {
            (self.server.code(text) == Some(Code::Valid)).then_some(place)
        };
        self.secrets.iter().enumerate().filter_map(valid).collect()
    }

    /// A week of the server.
    pub(super) fn serve(&mut self) {
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
    pub(super) fn remember(&mut self, bytes: &[u8], accepted: &Secrets) -> usize {
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
    pub(super) fn send(&mut self, number: usize, pack: (usize, Vec<u8>)) {
        let mail = &mut self.sites[number].mail;
        match self.random.below(8) {
            0 | 1 => {}
            2 => mail.extend([pack.clone(), pack]),
            3 => mail.insert(self.random.below(mail.len() + 1), pack),
            _ => mail.push(pack),
        }
    }

    /// Restores the server from a backup, as `latchkey restore` does.
    pub(super) fn restore(&mut self) {
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
        super::super::replace_database(&folder, &staged);
        fs::remove_dir_all(staged).unwrap();
        restore::settle(&folder.join(TOMBSTONES), &tombstones, &restored).unwrap();
        self.server.reopen();
        self.forget_lost();
    }

    /// Forgets the keys that the server has lost with its newer database.
    pub(super) fn forget_lost(&mut self) {
        let (app, local) = (self.server.app.clone(), self.server.local());
        self.keys.retain(|key| {
            keys::find(&app, &local, key.id).is_ok_and(|view| view.key.deleted_at.is_none())
        });
        for site in &mut self.sites {
            site.is_narrow = true;
        }
    }
}
