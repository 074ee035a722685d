//! `latchkey move`: moves the database of a stopped server to PostgreSQL, or back into a data folder.

use crate::cli::failure::{End, Result};
use crate::config::DataArgs;
use std::path::PathBuf;

#[cfg(feature = "postgres")]
mod carried_out;

#[derive(clap::Args, Clone, Debug)]
pub struct MoveArgs {
    /// Where the data go: the address of a PostgreSQL database, such as postgres://latchkey@db.example/latchkey, or a folder,
    /// which can be the data folder itself
    #[arg(long, value_name = "ADDRESS|DIR")]
    to: String,
    #[command(flatten)]
    data: DataArgs,
    /// A file whose first line is the password for that database [default: database-password in the data folder, if it is there]
    #[arg(long, value_name = "FILE")]
    database_password_file: Option<PathBuf>,
    /// The certificate authorities, in PEM, of the server of that database
    #[arg(long, value_name = "FILE")]
    database_ca: Option<PathBuf>,
    /// A certificate to log in there with, in PEM
    #[arg(long, value_name = "FILE")]
    database_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM
    #[arg(long, value_name = "FILE")]
    database_key: Option<PathBuf>,
    /// Allow connections without TLS to a database on another machine
    #[arg(long)]
    allow_plain_database: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &MoveArgs) -> Result<End> {
    #[cfg(feature = "postgres")]
    return carried_out::run(args);
    #[cfg(not(feature = "postgres"))]
    Err(crate::cli::failure::Failure::refused(format!(
        "nothing is moved to {}, and {} stays as it is: {}",
        args.to,
        args.data.data.display(),
        crate::config::database::NO_POSTGRES
    )))
}
