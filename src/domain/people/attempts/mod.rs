//! Attempts to sign in: which may begin, and what failures lead to. No clock, no file, no lock is in here.
//!
//! Failures are counted by account *and* network ([`tries`]), so that whoever guesses holds up themselves and not the
//! user; by network over all accounts ([`spraying`]); and by account as a whole. After [`LOCKED_AT`] failures in a
//! row an account is *locked* (NIST SP 800-63B, 5.2.2): its password alone signs in only from networks where the user
//! has signed in before; from elsewhere it takes a one-time code as well. Names that are nobody's are counted in the
//! same way, so that no answer tells whether a name exists; only who shares a network with a user can find out that the
//! user has signed in from there.

mod account;
pub mod spraying;
pub mod tries;

pub use account::{Account, NOBODY};

use crate::domain::key::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use spraying::Spraying;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use tries::{Rules, Tries};

/// Failures in a row of an account after which it is locked.
pub const LOCKED_AT: u32 = 100;
/// Networks of one account that are remembered: the latest ones.
pub const NETWORKS_MAX: usize = 20;
/// The use of a network is noted again after so long.
const USED_AGAIN_MS: i64 = 86_400_000;
/// Subjects of each kind that are remembered at once.
const REMEMBERED_MAX: usize = 20_000;

/// Passwords and codes of one account from one network, and confirmations of one session: at most about 106 a day.
const OF_NETWORK: Rules = Rules {
    free: 10,
    wait_s: 60,
    wait_s_max: 15 * 60,
    forgotten_s: 86_400,
};
/// One-time codes of one account from all networks that it is not known from. Three of a million codes are right at
/// a time, so 200 in a day leave whoever has the password a chance of 0.06 %.
const CODES_OF_ACCOUNT: Rules = Rules {
    free: 200,
    wait_s: 86_400,
    wait_s_max: 86_400,
    forgotten_s: 86_400,
};

/// The network that an attempt comes from ([`super::throttle::network`]); `None` for the Unix socket.
pub type Place = Option<IpAddr>;

/// Why an attempt may not begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The account is locked, and the attempt comes from a network that it is not known from, without a code.
    Locked,
    /// Seconds until the next attempt may begin.
    Wait(u64),
}

/// An attempt that has begun; [`Attempts::end`] ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ticket {
    /// A one-time code after a password that was right.
    Code { account: Account, place: Place },
    /// Something that cannot be guessed in practice.
    Other { account: Account, place: Place },
    /// A password. `is_known`: from a network that the user has signed in from. `with_code`: the account is locked, so
    /// nothing but password and code together is right.
    Password {
        account: Account,
        place: Place,
        is_known: bool,
        with_code: bool,
    },
    /// The password again, within a session.
    Session(KeyId),
}

/// How an account as a whole stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// In a row, since the last success.
    pub failures: u32,
    /// When the first of them was.
    pub since: Option<Timestamp>,
}

/// A network that a user has signed in from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    pub network: IpAddr,
    /// At most a day behind.
    pub used_at: Timestamp,
    /// In a row, from this network. A network with too many is not known any more.
    pub failures: u32,
}

/// All that is remembered of attempts.
#[derive(Debug)]
pub struct Attempts {
    remembered_max: usize,
    passwords: Tries<(Account, Place)>,
    codes: Tries<(Account, Place)>,
    codes_of_account: Tries<Account>,
    sessions: Tries<KeyId>,
    spraying: Spraying,
    accounts: HashMap<Account, Whole>,
    networks: HashMap<Uid, Vec<Network>>,
    /// What the store does not have yet.
    unsaved: HashSet<Account>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Whole {
    standing: Standing,
    /// Attempts whose outcome is not known yet.
    pending: u32,
}

impl Standing {
    pub fn is_locked(self) -> bool {
        self.failures >= LOCKED_AT
    }
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts::new(REMEMBERED_MAX)
    }
}

impl Attempts {
    /// `remembered_max`: how many subjects of each kind are remembered at once.
    fn new(remembered_max: usize) -> Attempts {
        Attempts {
            remembered_max,
            passwords: Tries::new(OF_NETWORK, remembered_max),
            codes: Tries::new(OF_NETWORK, remembered_max),
            codes_of_account: Tries::new(CODES_OF_ACCOUNT, remembered_max),
            sessions: Tries::new(OF_NETWORK, remembered_max),
            spraying: Spraying::new(remembered_max),
            accounts: HashMap::new(),
            networks: HashMap::new(),
            unsaved: HashSet::new(),
        }
    }

    /// Takes over what the store has.
    pub fn load(
        &mut self,
        accounts: Vec<(Account, Standing)>,
        networks: HashMap<Uid, Vec<Network>>,
    ) {
        for (account, standing) in accounts {
            self.accounts.entry(account).or_default().standing = standing;
        }
        self.networks = networks;
    }

    /// Begins an attempt with a password, and with a one-time code if there is one.
    pub fn begin_password(
        &mut self,
        account: Account,
        place: Place,
        has_code: bool,
        steady_ms: u64,
    ) -> Result<Ticket, Refusal> {
        let is_known = self.is_known(account, place);
        let mut with_code = false;
        if !is_known {
            let whole = self.accounts.get(&account).copied().unwrap_or_default();
            with_code = whole.standing.is_locked();
            if with_code && !has_code {
                return Err(Refusal::Locked);
            }
            if !with_code && whole.standing.failures + whole.pending >= LOCKED_AT {
                return Err(Refusal::Wait(1));
            }
            let check = self.spraying.check(place, steady_ms);
            check.map_err(Refusal::Wait)?;
        }
        let pair = (account, place);
        let check = self.passwords.check(pair, steady_ms);
        check.map_err(Refusal::Wait)?;
        if with_code {
            self.check_code(account, place, steady_ms)?;
            self.take_code(account, place, steady_ms);
        }
        self.passwords.begin(pair, steady_ms);
        self.spraying.begin(place, account, steady_ms);
        self.whole(account).pending += 1;
        Ok(Ticket::Password {
            account,
            place,
            is_known,
            with_code,
        })
    }

    /// Begins an attempt with a one-time code, after the password was right.
    pub fn begin_code(
        &mut self,
        account: Account,
        place: Place,
        steady_ms: u64,
    ) -> Result<Ticket, Refusal> {
        self.check_code(account, place, steady_ms)?;
        self.take_code(account, place, steady_ms);
        Ok(Ticket::Code { account, place })
    }

    /// Begins an attempt with something that cannot be guessed in practice: failures cost the network alone.
    pub fn begin_other(
        &mut self,
        account: Account,
        place: Place,
        steady_ms: u64,
    ) -> Result<Ticket, Refusal> {
        if !self.is_known(account, place) {
            let check = self.spraying.check(place, steady_ms);
            check.map_err(Refusal::Wait)?;
        }
        let check = self.passwords.check((account, place), steady_ms);
        check.map_err(Refusal::Wait)?;
        self.passwords.begin((account, place), steady_ms);
        self.spraying.begin(place, account, steady_ms);
        Ok(Ticket::Other { account, place })
    }

    /// Begins an attempt to confirm who has a session. What others do elsewhere does not hold it up.
    pub fn begin_session(&mut self, session: KeyId, steady_ms: u64) -> Result<Ticket, Refusal> {
        let check = self.sessions.check(session, steady_ms);
        check.map_err(Refusal::Wait)?;
        self.sessions.begin(session, steady_ms);
        Ok(Ticket::Session(session))
    }

    /// Ends an attempt. One that has not failed gives back what it has reserved, and changes nothing else: whether
    /// it was all that a sign-in takes, [`Attempts::succeeded`] says. Returns whether this failure locked the account.
    pub fn end(&mut self, ticket: Ticket, failed: bool, steady_ms: u64, now: Timestamp) -> bool {
        match ticket {
            Ticket::Code { account, place } => {
                self.end_code(account, place, failed, steady_ms);
                false
            }
            Ticket::Other { account, place } => {
                self.passwords.end((account, place), failed, steady_ms);
                self.spraying.end(place, account, failed, steady_ms);
                false
            }
            Ticket::Session(session) => {
                self.sessions.end(session, failed, steady_ms);
                false
            }
            Ticket::Password {
                account,
                place,
                with_code,
                ..
            } => {
                if with_code {
                    self.end_code(account, place, failed, steady_ms);
                }
                self.passwords.end((account, place), failed, steady_ms);
                self.spraying.end(place, account, failed, steady_ms);
                self.end_whole(account, place, failed, now)
            }
        }
    }

    /// Notes that a user has signed in with all that it takes. Returns whether the store has to hear of it.
    /// `unlocks`: not with the password alone, or on the machine itself.
    pub fn succeeded(&mut self, user: Uid, place: Place, unlocks: bool, now: Timestamp) -> bool {
        let account = Account::User(user);
        self.passwords.forget((account, place));
        if unlocks {
            self.codes.forget((account, place));
            self.codes_of_account.forget(account);
        }
        let mut news = false;
        if let Some(whole) = self.accounts.get_mut(&account)
            && whole.standing.failures > 0
            && (unlocks || !whole.standing.is_locked())
        {
            whole.standing = Standing::default();
            news = true;
        }
        if let Some(network) = place {
            news |= self.note_network(user, network, now);
        }
        if news {
            self.unsaved.insert(account);
        }
        news
    }

    /// Forgets all failures of an account: somebody who may has unlocked it, or it has a new password.
    pub fn forget(&mut self, account: Account) {
        self.passwords.forget_where(|(whose, _)| *whose == account);
        self.codes.forget_where(|(whose, _)| *whose == account);
        self.codes_of_account.forget(account);
        if let Some(whole) = self.accounts.get_mut(&account) {
            whole.standing = Standing::default();
            if whole.pending == 0 {
                self.accounts.remove(&account);
            }
        }
        if let Account::User(user) = account
            && let Some(networks) = self.networks.get_mut(&user)
        {
            networks.iter_mut().for_each(|known| known.failures = 0);
        }
        self.unsaved.insert(account);
    }

    /// As [`Attempts::forget`], and forgets from where the user has signed in: somebody else may have, too.
    pub fn forget_networks(&mut self, user: Uid) {
        self.forget(Account::User(user));
        self.networks.remove(&user);
    }

    /// Whether there is anything for [`Attempts::forget`] to forget.
    pub fn has_failures(&self, account: Account) -> bool {
        let networks = match account {
            Account::User(user) => self.networks.get(&user).map_or(&[][..], Vec::as_slice),
            Account::Unknown(_) => &[],
        };
        self.standing(account) != Standing::default()
            || networks.iter().any(|known| known.failures > 0)
            || self.passwords.has_where(|(whose, _)| *whose == account)
            || self.codes.has_where(|(whose, _)| *whose == account)
            || self.codes_of_account.has_where(|whose| *whose == account)
    }

    pub fn standing(&self, account: Account) -> Standing {
        let whole = self.accounts.get(&account);
        whole.map_or_else(Standing::default, |whole| whole.standing)
    }

    /// Users who are locked.
    pub fn locked(&self) -> Vec<Uid> {
        let all = self.accounts.iter();
        all.filter(|(_, whole)| whole.standing.is_locked())
            .filter_map(|(account, _)| match account {
                Account::User(uid) => Some(*uid),
                Account::Unknown(_) => None,
            })
            .collect()
    }

    /// What the store is to have of an account.
    pub fn saved(&self, account: Account) -> (Standing, Vec<Network>) {
        let networks = match account {
            Account::User(user) => self.networks.get(&user).cloned().unwrap_or_default(),
            Account::Unknown(_) => Vec::new(),
        };
        (self.standing(account), networks)
    }

    /// Takes the accounts of which the store does not have the latest.
    pub fn take_unsaved(&mut self) -> Vec<Account> {
        std::mem::take(&mut self.unsaved).into_iter().collect()
    }

    /// Gives back what could not be saved.
    pub fn put_back_unsaved(&mut self, accounts: &[Account]) {
        self.unsaved.extend(accounts);
    }

    /// Whether the user has signed in from this network before. Too many failures in a row from the network itself
    /// end that: they are too many for whoever may have come to share it.
    fn is_known(&self, account: Account, place: Place) -> bool {
        let (Account::User(user), Some(network)) = (account, place) else {
            return false;
        };
        let networks = self.networks.get(&user).map_or(&[][..], Vec::as_slice);
        let mut known = networks.iter();
        known.any(|known| known.network == network && known.failures < LOCKED_AT)
    }

    fn check_code(&self, account: Account, place: Place, steady_ms: u64) -> Result<(), Refusal> {
        let check = self.codes.check((account, place), steady_ms);
        check.map_err(Refusal::Wait)?;
        if self.is_known(account, place) {
            return Ok(());
        }
        let check = self.codes_of_account.check(account, steady_ms);
        check.map_err(Refusal::Wait)
    }

    fn take_code(&mut self, account: Account, place: Place, steady_ms: u64) {
        self.codes.begin((account, place), steady_ms);
        self.codes_of_account.begin(account, steady_ms);
    }

    fn end_code(&mut self, account: Account, place: Place, failed: bool, steady_ms: u64) {
        self.codes.end((account, place), failed, steady_ms);
        let counts = failed && !self.is_known(account, place);
        self.codes_of_account.end(account, counts, steady_ms);
    }

    fn end_whole(&mut self, account: Account, place: Place, failed: bool, now: Timestamp) -> bool {
        let whole = self.whole(account);
        whole.pending = whole.pending.saturating_sub(1);
        if !failed {
            if whole.pending == 0 && whole.standing == Standing::default() {
                self.accounts.remove(&account);
            }
            return false;
        }
        let was_locked = whole.standing.is_locked();
        whole.standing.failures = whole.standing.failures.saturating_add(1);
        whole.standing.since.get_or_insert(now);
        let locks = !was_locked && whole.standing.is_locked();
        if let (Account::User(user), Some(network)) = (account, place)
            && let Some(networks) = self.networks.get_mut(&user)
        {
            let mut known = networks.iter_mut();
            if let Some(known) = known.find(|known| known.network == network) {
                known.failures = known.failures.saturating_add(1);
            }
        }
        self.unsaved.insert(account);
        locks
    }

    /// An account as a whole. Users always have their place; of names that are nobody's the one with the fewest
    /// failures makes room.
    fn whole(&mut self, account: Account) -> &mut Whole {
        let is_new = !self.accounts.contains_key(&account);
        if is_new
            && matches!(account, Account::Unknown(_))
            && self.accounts.len() >= self.remembered_max
        {
            let idle = self.accounts.iter().filter(|(known, whole)| {
                matches!(known, Account::Unknown(_)) && whole.pending == 0
            });
            let least =
                idle.min_by_key(|(_, whole)| (whole.standing.failures, whole.standing.since));
            if let Some(least) = least.map(|(known, _)| *known) {
                self.accounts.remove(&least);
                self.unsaved.insert(least);
            }
        }
        self.accounts.entry(account).or_default()
    }

    fn note_network(&mut self, user: Uid, network: IpAddr, now: Timestamp) -> bool {
        let networks = self.networks.entry(user).or_default();
        if let Some(known) = networks.iter_mut().find(|known| known.network == network) {
            let news = known.failures > 0 || now.0 - known.used_at.0 >= USED_AGAIN_MS;
            if news {
                *known = Network {
                    network,
                    used_at: now,
                    failures: 0,
                };
            }
            return news;
        }
        if networks.len() >= NETWORKS_MAX {
            let oldest = networks.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, known)| known.used_at);
            if let Some(position) = oldest.map(|(position, _)| position) {
                networks.remove(position);
            }
        }
        networks.push(Network {
            network,
            used_at: now,
            failures: 0,
        });
        true
    }
}

#[cfg(test)]
mod tests;
