//! The sites in a year: what is brought to them, what goes wrong with them, and what holds at any time.

use super::*;

impl World {
    /// A week of a site.
    pub(super) fn visit(&mut self, number: usize) {
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
    pub(super) fn trouble(&mut self, number: usize) {
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
    pub(super) fn bring(&mut self, number: usize) {
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
                site.is_reset = true;
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
    pub(super) fn follow(&mut self, number: usize, pack: usize) {
        let site = &mut self.sites[number];
        let new = &self.packs[pack];
        if let Some(before) = site.newest.map(|before| &self.packs[before]) {
            let (now, before_it) = (new.number, before.number);
            assert!(
                now >= before_it || site.is_reset,
                "{}: {now:?} after {before_it:?}",
                site.name
            );
            let is_later = now.0 > before_it.0 || new.made >= before.made;
            assert!(is_later, "{}: made before", site.name);
        }
        site.buried.extend(&new.gone);
        (site.applied, site.newest, site.is_reset) = (Some(pack), Some(pack), false);
    }

    /// Compares what a site accepts with what the pack in force had.
    pub(super) fn check(&self, number: usize) {
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
    pub(super) fn spend(&mut self, number: usize) {
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

    pub(super) fn report(&mut self, number: usize) {
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
}
