//! What an error of PostgreSQL means, by its SQLSTATE (PostgreSQL's documentation, appendix A).

use super::link::Failure;
use crate::error::Error;
use crate::refusals;
use crate::store::connection::FaultKind;
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
        Some("XX") => {
            log::error!("store: {failure}");
            Error::Unavailable(refusals::server::database_damaged())
        }
        // The connection, the login, limits of the server, its end, a server that only reads.
        Some("08" | "28" | "3D" | "53" | "57" | "58") => unusable(),
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => unusable(),
        _ => Error::internal(failure.to_string()),
    }
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
