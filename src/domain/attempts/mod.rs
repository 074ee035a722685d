//! Attempts to sign in: which may begin, and the consequences of failures. There is no clock, no file and no lock
//! here.
//!
//! Failures are counted by account *and* network ([`tries`]), so that an attacker is slowed down and the user is not;
//! by network over all accounts ([`spraying`]); and by account over all networks. After [`LOCKED_AT`] consecutive
//! failures an account is *locked* (NIST SP 800-63B, 5.2.2): the password alone is then accepted only from networks
//! where the user has signed in before, and other networks need a one-time code as well. Unknown names are counted in
//! the same way, so that no answer reveals whether a name exists. Only a client in the same network as a user can
//! find out that the user has signed in from there.

mod account;
pub mod shared;
pub mod spraying;
pub mod throttle;
pub mod tries;

pub use account::{Account, LOCKED_AT, NOBODY};

use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use spraying::Spraying;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use tries::{Rules, Tries};

/// The number of networks that are remembered for one account: the most recent ones.
pub const NETWORKS_MAX: usize = 20;
/// The use of a network is recorded again after this time.
const USED_AGAIN_MS: i64 = 86_400_000;
/// The number of subjects of each kind that are remembered at the same time.
const REMEMBERED_MAX: usize = 20_000;

/// Passwords and codes of one account from one network, and confirmations of one session: at most about 106 a day.
const OF_NETWORK: Rules = Rules {
    free: 10,
    wait_s: 60,
    wait_s_max: 15 * 60,
    forgotten_s: 86_400,
};
/// One-time codes of one account from all networks where the user has not signed in before. Three of a million codes
/// are valid at a time, so with 200 attempts a day an attacker who has the password succeeds with a probability of
/// 0.06 %.
const CODES_OF_ACCOUNT: Rules = Rules {
    free: 200,
    wait_s: 86_400,
    wait_s_max: 86_400,
    forgotten_s: 86_400,
};

/// The network that an attempt comes from ([`throttle::network`]); `None` for the Unix socket.
pub type AttemptNetwork = Option<IpAddr>;

/// Why an attempt may not begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The account is locked, and the attempt comes without a code from a network where the user has not signed in
    /// before.
    Locked,
    /// Seconds until the next attempt may begin.
    Wait(u64),
}

/// An attempt that has begun; [`Attempts::end`] ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ticket {
    /// A one-time code after a correct password.
    Code {
        account: Account,
        place: AttemptNetwork,
    },
    /// A credential that cannot be guessed in practice.
    Other {
        account: Account,
        place: AttemptNetwork,
    },
    /// A password. `is_known`: the user has signed in from this network before. `with_code`: the account is locked,
    /// so only password and code together are accepted.
    Password {
        account: Account,
        place: AttemptNetwork,
        is_known: bool,
        with_code: bool,
    },
    /// The password again, within a session.
    Session(KeyId),
}

/// The failures of an account over all networks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// The number of consecutive failures since the last success.
    pub failures: u32,
    /// The time of the first of them.
    pub since: Option<Timestamp>,
}

/// A network from which a user has signed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    pub network: IpAddr,
    /// The last use, recorded at most a day late.
    pub used_at: Timestamp,
    /// The number of consecutive failures from this network. A network with too many no longer counts as known.
    pub failures: u32,
}

/// Everything that is remembered about attempts.
#[derive(Debug)]
pub struct Attempts {
    remembered_max: usize,
    passwords: Tries<(Account, AttemptNetwork)>,
    codes: Tries<(Account, AttemptNetwork)>,
    codes_of_account: Tries<Account>,
    sessions: Tries<KeyId>,
    spraying: Spraying,
    accounts: HashMap<Account, AccountAttempts>,
    networks: HashMap<Uid, Vec<Network>>,
    /// Accounts whose latest state is not in the store yet.
    unsaved: HashSet<Account>,
    /// Where several nodes share the database.
    pub others: shared::Others,
}

#[derive(Clone, Copy, Debug, Default)]
struct AccountAttempts {
    standing: Standing,
    /// The number of attempts whose outcome is not known yet.
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
    /// `remembered_max` is the number of subjects of each kind that are remembered at the same time.
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
            others: shared::Others::default(),
        }
    }

    /// Loads the state that the store contains.
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

    /// Begins an attempt with a password. `has_code`: a one-time code comes with it. The code is an attempt of its own
    /// ([`Attempts::begin_code`]), which begins when the password was right: a client without the password must not
    /// use up the codes of an account.
    pub fn begin_password(
        &mut self,
        account: Account,
        place: AttemptNetwork,
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
        let check = self.passwords.check((account, place), steady_ms);
        check.map_err(Refusal::Wait)?;
        let ticket = Ticket::Password {
            account,
            place,
            is_known,
            with_code,
        };
        self.reserve(ticket, steady_ms);
        Ok(ticket)
    }

    /// Counts an attempt that has begun.
    fn reserve(&mut self, ticket: Ticket, steady_ms: u64) {
        match ticket {
            Ticket::Code { account, place } => self.take_code(account, place, steady_ms),
            Ticket::Other { account, place } => {
                self.passwords.begin((account, place), steady_ms);
                self.spraying.begin(place, account, steady_ms);
            }
            Ticket::Password { account, place, .. } => {
                self.passwords.begin((account, place), steady_ms);
                self.spraying.begin(place, account, steady_ms);
                self.whole(account).pending += 1;
            }
            Ticket::Session(session) => self.sessions.begin(session, steady_ms),
        }
    }

    /// Begins an attempt with a one-time code, after the password was correct.
    pub fn begin_code(
        &mut self,
        account: Account,
        place: AttemptNetwork,
        steady_ms: u64,
    ) -> Result<Ticket, Refusal> {
        self.check_code(account, place, steady_ms)?;
        let ticket = Ticket::Code { account, place };
        self.reserve(ticket, steady_ms);
        Ok(ticket)
    }

    /// Begins an attempt with a credential that cannot be guessed in practice. Failures count for the network, but
    /// not towards locking the account.
    pub fn begin_other(
        &mut self,
        account: Account,
        place: AttemptNetwork,
        steady_ms: u64,
    ) -> Result<Ticket, Refusal> {
        if !self.is_known(account, place) {
            let check = self.spraying.check(place, steady_ms);
            check.map_err(Refusal::Wait)?;
        }
        let check = self.passwords.check((account, place), steady_ms);
        check.map_err(Refusal::Wait)?;
        let ticket = Ticket::Other { account, place };
        self.reserve(ticket, steady_ms);
        Ok(ticket)
    }

    /// Begins an attempt to confirm the identity of a session's user. Attempts outside the session do not delay it.
    pub fn begin_session(&mut self, session: KeyId, steady_ms: u64) -> Result<Ticket, Refusal> {
        let check = self.sessions.check(session, steady_ms);
        check.map_err(Refusal::Wait)?;
        let ticket = Ticket::Session(session);
        self.reserve(ticket, steady_ms);
        Ok(ticket)
    }

    /// Ends an attempt. A successful attempt releases its reservation and changes nothing else, because it may be
    /// only a part of a sign-in: the caller reports a complete sign-in with [`Attempts::succeeded`]. Returns whether
    /// this failure locked the account.
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
            Ticket::Password { account, place, .. } => {
                self.passwords.end((account, place), failed, steady_ms);
                self.spraying.end(place, account, failed, steady_ms);
                self.end_whole(account, place, failed, now)
            }
        }
    }

    /// Records a complete sign-in of a user. Returns whether the store must be updated. `unlocks`: the sign-in used
    /// more than the password alone, or came from the machine itself.
    pub fn succeeded(
        &mut self,
        user: Uid,
        place: AttemptNetwork,
        unlocks: bool,
        now: Timestamp,
    ) -> bool {
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

    /// Forgets all failures of an account, because an authorised user has unlocked it or it has a new password.
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

    /// Does the same as [`Attempts::forget`], and also forgets the networks of the user, because another person may
    /// have signed in from them.
    pub fn forget_networks(&mut self, user: Uid) {
        self.forget(Account::User(user));
        self.networks.remove(&user);
    }

    /// Whether [`Attempts::forget`] would change anything.
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

    /// The locked users.
    pub fn locked(&self) -> Vec<Uid> {
        let all = self.accounts.iter();
        all.filter(|(_, whole)| whole.standing.is_locked())
            .filter_map(|(account, _)| match account {
                Account::User(uid) => Some(*uid),
                Account::Unknown(_) => None,
            })
            .collect()
    }

    /// The state of an account that the store is to contain.
    pub fn saved(&self, account: Account) -> (Standing, Vec<Network>) {
        let networks = match account {
            Account::User(user) => self.networks.get(&user).cloned().unwrap_or_default(),
            Account::Unknown(_) => Vec::new(),
        };
        (self.standing(account), networks)
    }

    /// Takes the accounts whose latest state is not in the store.
    pub fn take_unsaved(&mut self) -> Vec<Account> {
        std::mem::take(&mut self.unsaved).into_iter().collect()
    }

    /// Puts back the accounts that could not be saved.
    pub fn put_back_unsaved(&mut self, accounts: &[Account]) {
        self.unsaved.extend(accounts);
    }

    /// Whether the user has signed in from this network before. Too many consecutive failures from the network end
    /// this, because another client in the same network may be guessing.
    fn is_known(&self, account: Account, place: AttemptNetwork) -> bool {
        let (Account::User(user), Some(network)) = (account, place) else {
            return false;
        };
        let networks = self.networks.get(&user).map_or(&[][..], Vec::as_slice);
        let mut known = networks.iter();
        known.any(|known| known.network == network && known.failures < LOCKED_AT)
    }

    fn check_code(
        &self,
        account: Account,
        place: AttemptNetwork,
        steady_ms: u64,
    ) -> Result<(), Refusal> {
        let check = self.codes.check((account, place), steady_ms);
        check.map_err(Refusal::Wait)?;
        if self.is_known(account, place) {
            return Ok(());
        }
        let check = self.codes_of_account.check(account, steady_ms);
        check.map_err(Refusal::Wait)
    }

    fn take_code(&mut self, account: Account, place: AttemptNetwork, steady_ms: u64) {
        self.codes.begin((account, place), steady_ms);
        self.codes_of_account.begin(account, steady_ms);
    }

    fn end_code(&mut self, account: Account, place: AttemptNetwork, failed: bool, steady_ms: u64) {
        self.codes.end((account, place), failed, steady_ms);
        let counts = failed && !self.is_known(account, place);
        self.codes_of_account.end(account, counts, steady_ms);
    }

    fn end_whole(
        &mut self,
        account: Account,
        place: AttemptNetwork,
        failed: bool,
        now: Timestamp,
    ) -> bool {
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

    /// The failures of an account over all networks. Users always have an entry; for unknown names the number is
    /// limited, and the one with the fewest failures is removed.
    fn whole(&mut self, account: Account) -> &mut AccountAttempts {
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
