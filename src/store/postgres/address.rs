//! Where a server is, as a setting names it, and how connections to it are opened.

use super::link::{Failure, Link};
use super::primary::{Primary, Unusable, joined};
use super::pulse::Pulse;
use super::tls::{ClientCertificate, Tls};
use crate::error::{Error, Result};
use crate::refusals::verbatim;
use crate::store::Known;
use crate::store::migrations::rolling::Schemas;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

/// How long one address of a host may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_millis(1_500);
/// How long one host may take until the login is complete, and then until the session has its settings.
const HOST_MAX: Duration = Duration::from_secs(3);
/// How long a commit may take. It waits for the standbys.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// How long a statement may take until its first rows, and then the next ones.
pub const STATEMENT_MAX: Duration = Duration::from_secs(30);
/// The same for all rows of a database, which are sorted before the first one comes, and for adding references to them.
const WHOLE_STATEMENT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long the commit of all rows of a database may take.
const WHOLE_COMMIT_MAX: Duration = Duration::from_secs(600);
/// How long callers wait at most to learn whether a commit without an answer has saved their changes.
const RESOLVE_MAX: Duration = Duration::from_secs(15);
/// How long sent bytes may stay without an acknowledgement, and how a dead peer is noticed.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 2;

/// The settings of every session. The administrator of the server may have set others for the role or the database;
/// without `client_min_messages` a commit that did not wait for the standbys would look like any other. With the keepalives the
/// server soon notices that a node was cut off, and ends its transaction, for which all other nodes wait. The last two are
/// unknown to servers that are too old, which a later check refuses by name.
const SESSION: &str = "SET client_min_messages = warning; SET synchronous_commit = on; SET statement_timeout = 0;
    SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'; SET search_path = latchkey, pg_temp;
    SET TimeZone = 'UTC'; SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off;
    SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2;
    SELECT pg_catalog.set_config(name, CASE name WHEN 'idle_session_timeout' THEN '0' ELSE '2s' END, false)
    FROM pg_catalog.pg_settings WHERE name IN ('client_connection_check_interval', 'idle_session_timeout')";

/// The address of a database, its user, how that user logs in, and whom connections trust.
#[derive(Clone)]
pub struct Address {
    /// A configuration for each host, in the order of the text; see [`each_host`].
    pub(super) hosts: Vec<Config>,
    /// What all connections of a node have in common.
    pub(super) primary: Arc<Primary>,
    /// How long a commit may take.
    pub commit_max: Duration,
    /// How long a statement may take until its first rows, and then the next ones.
    pub(super) statement_max: Duration,
    /// How long callers wait at most for the outcome of a commit without an answer.
    pub resolve_max: Duration,
    /// Whether a commit with new events notifies the other nodes, which would otherwise find it when they look next.
    pub notifies: bool,
    /// Which schemas are used there.
    pub schemas: Schemas,
    /// `None` for connections that do not leave this machine.
    tls: Option<Tls>,
    /// Whether connections leave this machine without TLS.
    pub is_open: bool,
    pub pulse: Arc<Pulse>,
}

/// What connections need besides the address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// What the user logs in with, if the server asks for a password.
    pub password: Option<&'a [u8]>,
    /// A file of certificate authorities in PEM.
    pub authorities: Option<&'a Path>,
    /// What the user logs in with, if the server asks for a certificate.
    pub client: Option<ClientCertificate<'a>>,
    /// Whether connections without TLS may leave this machine.
    pub allows_plain: bool,
}

impl Address {
    /// As [`Address::of`], without plain connections that leave this machine.
    #[cfg(test)]
    pub fn parse(
        text: &str,
        password: Option<&[u8]>,
        authorities: Option<&Path>,
    ) -> Result<Address> {
        let access = Access {
            password,
            authorities,
            ..Access::default()
        };
        Address::of(text, access)
    }

    /// Reads a connection string (PostgreSQL's documentation, section 34.1.1), in one of its two forms:
    /// `postgres://user@host/name` or `host=… user=… dbname=…`. With a file of authorities, all connections are encrypted,
    /// and the certificate of the server is checked against them and against the name of the host.
    ///
    /// # Errors
    /// The text cannot be read, it contains a password, or a connection would leave this machine without TLS and may not.
    pub fn of(text: &str, access: Access<'_>) -> Result<Address> {
        let Access {
            password,
            authorities,
            client,
            allows_plain,
        } = access;
        if client.is_some() && authorities.is_none() {
            return Err(refused(
                "is used without TLS, over which no certificate is sent",
            ));
        }
        // The text itself may have a password in it and is not repeated.
        let parsed: std::result::Result<Config, _> = text.parse();
        let config = parsed.map_err(|_| {
            refused("is neither postgres://USER@HOST/NAME nor host=HOST user=USER dbname=NAME")
        })?;
        if config.get_password().is_some() {
            return Err(refused(
                "contains a password; every user who lists processes reads it",
            ));
        }
        if config.get_user().is_none() || config.get_dbname().is_none() {
            return Err(refused("does not name the user and the database"));
        }
        if config.get_hosts().is_empty() {
            return Err(refused("does not name a host or the folder of a socket"));
        }
        let is_open = match (authorities, check_local(&config)) {
            (Some(_), _) => {
                check_named(&config)?;
                false
            }
            (None, Ok(())) => false,
            (None, Err(_)) if allows_plain && config.get_ssl_mode() != SslMode::Require => true,
            (None, Err(err)) => return Err(err),
        };
        let tls = authorities.map(|it| Tls::read(it, client)).transpose()?;
        let mut hosts = each_host(&config)?;
        for host in &mut hosts {
            if let Some(password) = password {
                host.password(password);
            }
            host.ssl_mode(match tls {
                None => SslMode::Disable,
                Some(_) => SslMode::Require,
            })
            .application_name("latchkey")
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Address {
            hosts,
            primary: Arc::default(),
            commit_max: COMMIT_MAX,
            statement_max: STATEMENT_MAX,
            resolve_max: RESOLVE_MAX,
            notifies: true,
            schemas: Schemas::OURS,
            tls,
            is_open,
            pulse: Arc::default(),
        })
    }

    /// Gives the connections of one node what they have in common.
    pub fn begin_node(&mut self, known: Known) {
        self.primary = Arc::new(Primary::of_a_node(known));
    }

    /// Lets the next connection ask all hosts which of them takes changes.
    pub fn reconsider(&self) {
        self.primary.reconsider();
    }

    /// Ends the wait of the connection that learns of commits.
    pub fn wake_listener(&self) {
        self.primary.wake.call();
    }

    /// The same, whose answers are waited for at most so long.
    pub fn within(&self, limit: Duration) -> Address {
        Address {
            commit_max: limit,
            statement_max: limit,
            ..self.clone()
        }
    }

    /// The same for work on all rows: nothing is late before such work would be done.
    pub fn patient(&self) -> Address {
        Address {
            commit_max: WHOLE_COMMIT_MAX,
            statement_max: WHOLE_STATEMENT_MAX,
            ..self.clone()
        }
    }

    /// Why no host can be used now, if all reasons can pass without anyone's help.
    pub fn out_of_reach(&self) -> Option<String> {
        let ask = |host| match self.connect_to(host) {
            Ok(Err(failure)) => Some(Unusable::of(self, host, &failure)),
            Ok(Ok(_)) | Err(_) => None,
        };
        let hosts: Option<Vec<Unusable>> = (0..self.hosts.len()).map(ask).collect();
        let unusable = hosts.filter(|hosts| hosts.iter().all(|host| host.can_pass))?;
        Some(joined(&unusable))
    }

    /// The socket of the first host, if it is in a folder.
    #[cfg(test)]
    pub fn socket(&self) -> Option<std::path::PathBuf> {
        let config = self.hosts.first()?;
        let Host::Unix(folder) = config.get_hosts().first()? else {
            return None;
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        Some(folder.join(format!(".s.PGSQL.{port}")))
    }

    /// The same database, with the socket of its server in another folder.
    #[cfg(test)]
    pub fn at(&self, folder: &Path) -> Address {
        let config = &self.hosts[0];
        let text = format!(
            "host={} port={} user={} dbname={}",
            folder.display(),
            config.get_ports().first().copied().unwrap_or(5432),
            config.get_user().unwrap(),
            config.get_dbname().unwrap()
        );
        let Address { hosts, primary, .. } = Address::parse(&text, None, None).unwrap();
        Address {
            hosts,
            pulse: Arc::default(),
            primary,
            ..self.clone()
        }
    }

    /// The same database, at this host and then at another one.
    #[cfg(test)]
    pub fn or_at(&self, other: &Address) -> Address {
        let mut both = self.at(&self.socket().unwrap().with_file_name(""));
        both.hosts.extend(other.hosts.iter().cloned());
        both
    }

    /// The host at a position, for messages.
    pub(super) fn host_name(&self, host: usize) -> String {
        self.hosts.get(host).map(name).unwrap_or_default()
    }

    /// Opens a connection to the host at a position, with the settings of a session.
    pub(super) fn connect_to(&self, host: usize) -> Result<std::result::Result<Link, Failure>> {
        let host = self
            .hosts
            .get(host)
            .ok_or_else(|| Error::internal("there is no such host"))?;
        let opened = match &self.tls {
            None => Link::open(host, NoTls, HOST_MAX, &self.pulse),
            Some(tls) => Link::open(host, tls.clone(), HOST_MAX, &self.pulse),
        };
        let mut link = match opened? {
            Ok(link) => link,
            Err(failure) => return Ok(Err(failure)),
        };
        let client = link.client();
        let set = link.run(HOST_MAX, async {
            Ok(client?.batch_execute(SESSION).await?)
        });
        drop(link.take_warnings());
        Ok(set.map(|()| link))
    }
}

/// A configuration for each host. One host that accepts connections and is then silent must not use up the time of the
/// others, and the crate limits only the acceptance for each of them.
fn each_host(config: &Config) -> Result<Vec<Config>> {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() && addresses.len() != hosts.len() {
        return Err(refused("does not have one hostaddr for each host"));
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(refused("has neither one port nor one for each host"));
    }
    if config.get_load_balance_hosts() != LoadBalanceHosts::Disable {
        return Err(refused(
            "asks for a random order of its hosts; leave out load_balance_hosts, they are tried in their order",
        ));
    }
    let each = hosts.iter().enumerate().map(|(position, host)| {
        let mut one = Config::new();
        match host {
            Host::Tcp(name) => one.host(name),
            Host::Unix(folder) => one.host_path(folder),
        };
        if let Some(address) = addresses.get(position) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(position).or_else(|| ports.first()) {
            one.port(*port);
        }
        if let Some(user) = config.get_user() {
            one.user(user);
        }
        if let Some(database) = config.get_dbname() {
            one.dbname(database);
        }
        if let Some(options) = config.get_options() {
            one.options(options);
        }
        one.ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding());
        one
    });
    Ok(each.collect())
}

/// The host of a configuration, for the log.
fn name(one: &Config) -> String {
    let port = one.get_ports().first().copied().unwrap_or(5432);
    match one.get_hosts().first() {
        Some(Host::Tcp(name)) => format!("{name}:{port}"),
        Some(Host::Unix(folder)) => format!("{}:{port}", folder.display()),
        None => String::new(),
    }
}

/// Refuses an address to which connections without TLS would leave this machine.
fn check_local(config: &Config) -> Result<()> {
    const WHY: &str = "without a file of authorities, connections are not encrypted, and the server must be on this \
                       machine (localhost, 127.0.0.1, ::1, or the folder of its socket); name that file with --database-ca";
    if config.get_ssl_mode() == SslMode::Require {
        return Err(refused(
            "asks for TLS; name the file of authorities that the server's certificate is checked against",
        ));
    }
    for host in config.get_hosts() {
        if let Host::Tcp(name) = host
            && !is_this_machine(name)
        {
            return Err(refused(&format!("names {name:?}: {WHY}")));
        }
    }
    match config.get_hostaddrs().iter().find(|it| !it.is_loopback()) {
        Some(address) => Err(refused(&format!("names {address}: {WHY}"))),
        None => Ok(()),
    }
}

/// Refuses an address to which no connection with TLS is possible.
fn check_named(config: &Config) -> Result<()> {
    let mut hosts = config.get_hosts().iter();
    match hosts.all(|host| matches!(host, Host::Tcp(_))) {
        true => Ok(()),
        false => Err(refused(
            "names the folder of a socket, over which there is no TLS; leave out the file of authorities",
        )),
    }
}

fn refused(why: &str) -> Error {
    Error::Unavailable(verbatim(format!("the database address {why}")))
}

fn is_this_machine(host: &str) -> bool {
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, refused: Option<&str>) {
        match (Address::parse(text, None, None), refused) {
            (Ok(_), None) => {}
            (Err(err), Some(why)) => {
                let err = err.to_string();
                assert!(err.contains(why), "{text}: {err}");
                assert!(!err.contains("hunter2"), "{text}: {err}");
            }
            (Ok(_), Some(_)) => panic!("{text} was accepted"),
            (Err(err), None) => panic!("{text}: {err}"),
        }
    }

    #[test]
    fn only_servers_of_this_machine_are_asked_and_no_address_has_a_password() {
        for good in [
            "postgres://lk@localhost/latchkey",
            "postgresql://lk@127.0.0.1:5433/latchkey",
            "host=::1 user=lk dbname=latchkey",
            "host=/run/postgresql user=lk dbname=latchkey",
            "postgres://lk@%2Frun%2Fpostgresql/latchkey",
            "host=localhost,127.0.0.1 port=5432,5433 user=lk dbname=latchkey",
            "host=localhost,127.0.0.1 hostaddr=::1,127.0.0.1 port=5433 user=lk dbname=latchkey",
        ] {
            check(good, None);
        }
        for (bad, why) in [
            ("postgres://lk@db.example/latchkey", "names \"db.example\""),
            (
                "host=localhost,192.0.2.1 user=lk dbname=latchkey",
                "names \"192.0.2.1\"",
            ),
            (
                "host=localhost hostaddr=192.0.2.1 user=lk dbname=latchkey",
                "names 192.0.2.1",
            ),
            (
                "host=localhost.example user=lk dbname=latchkey",
                "not encrypted",
            ),
            (
                "postgres://lk:hunter2@localhost/latchkey",
                "contains a password",
            ),
            (
                "host=localhost user=lk dbname=latchkey password=hunter2",
                "contains a password",
            ),
            (
                "host=localhost user=lk password=hunter2 nonsense",
                "is neither",
            ),
            (
                "host=localhost user=lk",
                "does not name the user and the database",
            ),
            (
                "postgres://localhost/latchkey",
                "does not name the user and the database",
            ),
            ("user=lk dbname=latchkey", "does not name a host"),
            (
                "hostaddr=127.0.0.1 user=lk dbname=latchkey",
                "does not name a host",
            ),
            (
                "host=localhost user=lk dbname=latchkey sslmode=require",
                "asks for TLS",
            ),
            (
                "host=localhost,::1 hostaddr=127.0.0.1 user=lk dbname=latchkey",
                "one hostaddr for each host",
            ),
            (
                "host=localhost,::1 port=1,2,3 user=lk dbname=latchkey",
                "neither one port nor one for each host",
            ),
            (
                "host=localhost user=lk dbname=latchkey load_balance_hosts=random",
                "leave out load_balance_hosts",
            ),
            ("latchkey.db", "is neither"),
            ("", "does not name the user and the database"),
        ] {
            check(bad, Some(why));
        }
    }
}
