//! `latchkey pack`: makes packs for sites, and shows what a pack is.

mod codes;
mod make;
mod png;
mod show;

use crate::cli::at_site;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::print;
use crate::cli::print::Common;
use clap::Subcommand;
use serde::Deserialize;

/// Make packs for sites, and show them.
#[derive(Debug, Subcommand)]
pub enum PackCommand {
    /// Make a pack for a site or for all, or revocations as QR codes
    #[command(
        after_help = "A pack is whole, or the difference from the latest whole one, which is written too where the site is not known to \
                      have it. For a diode: --every makes new packs again and again, and --repeat writes each file so many times.\n\n\
                      Examples:\n  latchkey pack make --site plant-7 --out /media/stick\n  latchkey pack make --all --out ./packs\n  \
                      latchkey pack make --all --out /srv/diode --every 5m --repeat 3\n  \
                      latchkey pack make --revocations --qr -\n  latchkey pack make --revocations --site plant-7 --qr codes.svg"
    )]
    Make(make::MakeArgs),
    /// Show the head of a pack, who signed it, and whether it is good; exits 1 if it is not
    #[command(
        after_help = "Examples:\n  latchkey pack show 000043-of-40.lkpack --data /var/lib/latchkey\n  \
                      latchkey pack show 000040.lkpack --key keys.example.com/packs+1a2b3c4d+AZ... --json"
    )]
    Show(show::ShowArgs),
    /// Give the server a new key that signs packs; the one before introduces it, so sites accept it
    #[command(after_help = "Example:\n  latchkey pack rotate-key")]
    RotateKey(Common),
    /// At a site: take the newest good pack of files and folders; exits 1 if one is refused, which changes nothing
    #[command(after_help = "Works while the site runs and while it does not.\n\n\
                      Examples:\n  latchkey pack apply /media/stick\n  latchkey pack apply 000043-of-40.lkpack --data /var/lib/latchkey-site\n  \
                      zbarcam --raw | latchkey pack apply --qr-text -")]
    Apply(at_site::ApplyArgs),
    /// At a site: apply the packs that arrive in a folder, until the command is ended
    #[command(
        after_help = "Examples:\n  latchkey pack watch /var/spool/diode\n  latchkey pack watch /var/spool/diode --every 30s --data /var/lib/latchkey-site"
    )]
    Watch(at_site::WatchArgs),
}

pub fn run(command: &PackCommand) -> Result<End> {
    match command {
        PackCommand::Make(args) => make::run(args),
        PackCommand::Show(args) => show::run(args),
        PackCommand::RotateKey(common) => rotate_key(common),
        PackCommand::Apply(args) => at_site::apply(args),
        PackCommand::Watch(args) => at_site::watch(args),
    }
}

fn rotate_key(common: &Common) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let answer = server.ask("POST", &Target::of(&["packs", "signing-keys"]), None)?;
    let rotated: Rotated = answer.json()?;
    match common.json {
        true => print::print(&answer.text())?,
        false => {
            let mut shown: print::Object = answer.json()?;
            shown.remove("far_sites");
            print::print(&shown.written())?;
        }
    }
    for site in &rotated.far_sites {
        eprintln!(
            "latchkey: site {} is only known to trust a key that {} others have followed, and a pack leads over {} of them at most: bring it \
             a pack, and its report back, before the next rotation",
            site.name, site.followed_by, site.leads_max
        );
    }
    Ok(End::Done)
}

#[derive(Deserialize)]
struct Rotated {
    far_sites: Vec<FarSite>,
}

/// A site that may soon take no pack any more.
#[derive(Deserialize)]
struct FarSite {
    name: String,
    followed_by: u64,
    leads_max: u64,
}
