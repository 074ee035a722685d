//! `latchkey cluster`: checks of the PostgreSQL server that several nodes share, and nodes that are lost.

use crate::cli::failure::{End, Result};
use crate::cli::print::Common;
use crate::config::DataArgs;
use crate::config::database::DatabaseArgs;
use clap::Subcommand;

#[cfg(feature = "postgres")]
mod check;
mod forget;
#[cfg(feature = "postgres")]
mod patroni;
mod upgrade;

/// Check the PostgreSQL server that several nodes share, and give up nodes that are lost.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// Check whether the server keeps what was acknowledged, and whether its tables are Latchkey's; exits 1 if something is wrong
    #[command(
        after_help = "Without --database, the database of the data folder is checked. Before the first start, check the address that \
                      you are going to use. \
                      With --patroni, the time of a failover is compared with database-refuse-after; name the one of the nodes, if it is \
                      not the default.\n\n\
                      Examples:\n  latchkey cluster check\n  latchkey cluster check --patroni http://db1:8008 --patroni http://db2:8008\n  \
                      latchkey cluster check --database postgres://latchkey@db.example/latchkey --database-ca db-ca.pem --json"
    )]
    Check(CheckArgs),
    /// Give up a node that is lost, and that changes wait for since the database was replaced by an older copy
    ///
    /// What only that node knew to have ended can be open again. Only the administrator of a machine can do this, and it is recorded
    /// in the audit log.
    #[command(
        after_help = "Examples:\n  latchkey cluster forget 00112233445566778899aabbccddeeff\n  \
                      latchkey cluster forget 00112233445566778899aabbccddeeff --yes --data /var/lib/latchkey"
    )]
    Forget(ForgetArgs),
    /// Bring the schema of the database to that of this program, when every node runs it
    ///
    /// It adds what the program needs, in one transaction, and takes nothing away. Changes wait meanwhile, and verification goes on.
    /// Older programs cannot be started afterwards. If it was interrupted, run it again: the database has the older schema or the
    /// newer one.
    #[command(
        after_help = "Examples:\n  latchkey cluster upgrade\n  latchkey cluster upgrade --yes --data /var/lib/latchkey"
    )]
    Upgrade(UpgradeArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct UpgradeArgs {
    #[command(flatten)]
    common: Common,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ForgetArgs {
    /// The id of the node, as `latchkey doctor` and the refusals of changes name it
    node: String,
    #[command(flatten)]
    common: Common,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// The address of the REST API of a Patroni, whose version and settings are checked too; can be repeated
    #[arg(long, value_name = "URL")]
    patroni: Vec<String>,
    #[cfg(feature = "postgres")]
    #[command(flatten)]
    cluster: crate::config::cluster::ClusterArgs,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(command: &ClusterCommand) -> Result<End> {
    match command {
        ClusterCommand::Check(args) => check(args),
        ClusterCommand::Forget(args) => forget::run(args),
        ClusterCommand::Upgrade(args) => upgrade::run(args),
    }
}

fn check(args: &CheckArgs) -> Result<End> {
    #[cfg(feature = "postgres")]
    return check::run(args);
    #[cfg(not(feature = "postgres"))]
    Err(crate::cli::failure::Failure::refused(format!(
        "{} is not checked{}: {}",
        match &args.database.database {
            Some(database) => format!("the database {database}"),
            None => format!("the database of {}", args.data.data.display()),
        },
        match (args.patroni.is_empty(), args.json) {
            (true, _) => "",
            (false, _) => ", nor is Patroni",
        },
        crate::config::database::NO_POSTGRES
    )))
}
