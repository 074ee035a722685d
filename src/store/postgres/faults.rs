//! What an error of PostgreSQL means, by its SQLSTATE (PostgreSQL's documentation, appendix A).

use super::link::Failure;
use crate::error::Error;
use crate::refusals;
use crate::store::connection::FaultKind;
use std::io;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Derives the kind of a failed BEGIN or COMMIT.
///
/// An answer of the severity ERROR means that the transaction was rolled back: from the moment at which the server
/// writes its end, a failure ends the whole server process. Still only errors that are known to come before that
/// moment count as such, and every other failure, a broken connection above all, leaves it unknown.
pub fn kind(failure: &Failure) -> FaultKind {
    let Some(err) = error_of(failure) else {
        return match failure {
            Failure::Over | Failure::Nested => FaultKind::Refused,
            Failure::Late(_) | Failure::Server(_) => FaultKind::Unknown,
        };
    };
    if err.parsed_severity() != Some(Severity::Error) {
        return FaultKind::Unknown;
    }
    match err.code().code().get(..2) {
        _ if *err.code() == SqlState::DISK_FULL => FaultKind::NoRoom,
        _ if *err.code() == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN => FaultKind::Unknown,
        // A constraint, a conflict with another transaction, a lock.
        Some("23" | "40" | "55") => FaultKind::Refused,
        _ => FaultKind::Unknown,
    }
}

/// Translates a failure into an error for the client.
pub fn error(failure: &Failure) -> Error {
    let unusable = || {
        log::error!("store: {failure}");
        Error::Unavailable(refusals::server::database_unusable())
    };
    let Some(err) = error_of(failure) else {
        return match failure {
            Failure::Nested => Error::internal(failure.to_string()),
            // A value that does not fit its column is a defect of the program.
            Failure::Server(err) if !is_of_connection(err) => Error::internal(failure.to_string()),
            Failure::Late(_) | Failure::Over | Failure::Server(_) => unusable(),
        };
    };
    let code = err.code();
    match code.code().get(..2) {
        _ if *code == SqlState::UNIQUE_VIOLATION => {
            Error::Conflict(refusals::server::constraint_exists())
        }
        _ if *code == SqlState::FOREIGN_KEY_VIOLATION => {
            Error::Conflict(refusals::server::constraint_referred())
        }
        Some("23") => Error::Conflict(refusals::server::constraint()),
        _ if *code == SqlState::DISK_FULL => Error::Unavailable(refusals::server::disk_full()),
        Some("40") => Error::Unavailable(refusals::server::database_locked()),
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => {
            Error::Unavailable(refusals::server::database_locked())
        }
        // The transaction was ended by an earlier failure.
        _ if *code == SqlState::IN_FAILED_SQL_TRANSACTION => {
            Error::Unavailable(refusals::server::database_ended())
        }
        _ if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) => {
            log::error!("store: {failure}");
            Error::Unavailable(refusals::server::database_damaged())
        }
        // The connection, the login, limits of the server, its end, its defects, a server that only reads.
        Some("08" | "28" | "3D" | "53" | "57" | "58" | "XX") => unusable(),
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => unusable(),
        _ => Error::internal(failure.to_string()),
    }
}

/// What an administrator can do about a connection that was not made.
pub fn advice(failure: &Failure) -> &'static str {
    let Some(err) = error_of(failure) else {
        // The crate does not say in another way what these failures are.
        let text = failure.to_string();
        let said = |part: &str| text.contains(part);
        return match () {
            () if said("password missing") => "it asks for a password; specify the one of the user",
            () if said("does not support TLS") => "switch TLS on there (ssl = on)",
            () if said("TLS handshake") => {
                "compare its certificate with the name of the host and with the file of authorities"
            }
            () if said("does not allow writes") => {
                "it only reads; name the server that takes changes"
            }
            () => "check the address, and whether a server runs there",
        };
    };
    match err.code().code().get(..2) {
        Some("28") => "check the user, the password and pg_hba.conf there",
        Some("3D") => "create the database there",
        Some("42") => "grant the user what is missing there",
        Some("53") => "allow more connections there (max_connections)",
        Some("57") => "wait until it has started",
        _ => "see its log",
    }
}

/// Whether the reason of a connection that was not made can pass without anyone's help: the server does not run yet, is just
/// starting, has too many connections, or only reads until another one takes its place.
pub fn can_pass(failure: &Failure) -> bool {
    match (error_of(failure), failure) {
        (Some(err), _) => matches!(err.code().code().get(..2), Some("53" | "57")),
        (None, Failure::Late(_)) => true,
        (None, Failure::Server(err)) => {
            is_of_connection(err) || failure.to_string().contains("does not allow writes")
        }
        (None, Failure::Nested | Failure::Over) => false,
    }
}

/// Whether a connection was not made because its host has answered so: the server there, or the machine, on which nothing listens.
/// Of a host that is silent nothing is known.
pub fn is_answer(failure: &Failure) -> bool {
    let Failure::Server(err) = failure else {
        return false;
    };
    let source = std::error::Error::source(err).and_then(|it| it.downcast_ref::<io::Error>());
    let nothing_listens = source.is_some_and(|source| {
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound].contains(&source.kind())
    });
    err.as_db_error().is_some()
        || nothing_listens
        || failure.to_string().contains("does not allow writes")
}

fn error_of(failure: &Failure) -> Option<&DbError> {
    match failure {
        Failure::Server(err) => err.as_db_error(),
        Failure::Late(_) | Failure::Nested | Failure::Over => None,
    }
}

/// Whether an error without an answer of the server is one of the connection.
fn is_of_connection(err: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(err);
    err.is_closed() || source.is_some_and(|source| source.is::<std::io::Error>())
}
