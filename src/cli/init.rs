//! `latchkey init` and `latchkey quickstart`: the first start, and the secrets that it displays once.

use super::failure;
use super::failure::Failure;
use super::output_file::Output;
use super::serve::{Doors, TIME, claim, say, setup_text};
use super::{InitArgs, RunArgs, print};
use crate::config::data_folder;
use crate::config::database::DatabaseArgs;
use crate::config::folder::{self, Contents, Folder, has_lost_database, lost_database};
use crate::config::systems;
use crate::dialects::PRESETS;
use crate::dialects::console::sections::SECTIONS;
use crate::domain::clock::{RELEASED, is_plausible};
use crate::domain::keys::secret::Secret;
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::files::Readers;
use crate::ops::policies::pages;
use crate::ops::setup::{self, OWNER, OwnerPassword, SAMPLE, SampleKey, Seeds};
use crate::ops::{App, nodes};
use crate::refusals::verbatim;
use crate::store::Location;
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

/// The output for scripts, on one line. Secrets are null on a later start.
#[derive(Serialize)]
struct StartBody<'a> {
    url: Option<&'a str>,
    /// All addresses that are listened on, the one above first; empty where nothing is served.
    urls: &'a [String],
    socket: Option<&'a str>,
    owner: OwnerBody<'a>,
    management_key: Option<&'a str>,
    key: Option<SampleBody>,
    secret: Option<&'a str>,
    /// The time at which the folder was created; null on a later start.
    now: Option<String>,
    /// Whether that date is plausible; if not, the server accepts the first plausible date later. Null on a later
    /// start.
    date_plausible: Option<bool>,
}

#[derive(Serialize)]
struct OwnerBody<'a> {
    user_name: &'a str,
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct SampleBody {
    id: String,
    name: &'static str,
    hint: String,
}

/// Creates a data folder and displays its secrets.
pub fn init(args: &InitArgs) -> failure::Result<()> {
    args.database.check(&args.data.data)?;
    let folder = Folder::create(&args.data.data)?;
    if folder.contents()? == Contents::Ready {
        let shown = args.data.data.display();
        return Err(Failure::refused(format!(
            "{shown} is initialised already; serve it with: latchkey serve --data {shown}"
        )));
    }
    if args.join {
        return join(&folder, &args.database);
    }
    // Opens the output before the database is created, so that an error is reported while there is nothing to lose.
    let secrets = match args.keys.zip(args.secrets.as_deref()) {
        Some((count, file)) => Some((count, file, Output::create(file, Readers::Owner)?)),
        None => None,
    };
    let pages = systems::policies(&args.systems)?;
    let owner = match args.setup {
        true => OwnerPassword::SetUp,
        false => OwnerPassword::Generated,
    };
    let new = New::make(&folder, &args.database, owner, SampleKey::None)?;
    if args.json {
        show(&json(&[], None, Some(&new.seeds)))?;
    } else {
        show(&format!(
            "{}\nServe it with:\n  {}",
            made_text(&folder, &new.seeds),
            data_folder::start_command(folder.path())
        ))?;
    }
    new.install()?;
    if let Some(on) = pages {
        let app = open(&folder)?;
        let all: Vec<&str> = SECTIONS.iter().map(|section| section.policy).collect();
        pages::put(&app, &all, &on)?;
        app.close();
    }
    if let Some((count, file, output)) = secrets {
        fill(&folder, count, file, output)?;
    }
    Ok(())
}

/// The sample key of `quickstart`. Tests, which move the clock, ask a debug build for one without an end.
fn sample_key() -> SampleKey {
    match cfg!(debug_assertions) && std::env::var_os("LATCHKEY_TEST_ENDLESS_SAMPLE").is_some() {
        true => SampleKey::Endless,
        false => SampleKey::ForADay,
    }
}

/// Creates a data folder if there is none, and serves it.
pub fn quickstart(args: &RunArgs) -> Result<()> {
    folder::make(&args.data.data)?;
    let folder = claim(args)?;
    let contents = folder.contents()?;
    let doors = Doors::open(args, &folder)?;
    let (urls, socket) = (doors.urls.clone(), doors.socket.clone());
    let url = urls[0].as_str();
    let console = doors.console()?;
    let new = match contents {
        Contents::Ready => None,
        Contents::Empty | Contents::PepperOnly => {
            let owner = OwnerPassword::Generated;
            Some(New::make(
                &folder,
                &args.serve.database,
                owner,
                sample_key(),
            )?)
        }
    };
    let seeds = new.as_ref().map(|new| &new.seeds);
    // Scripts receive one line; people receive the secrets first, and the last lines once requests are answered.
    let shown = seeds.map(|seeds| match args.serve.speaks_json() {
        true => json(&urls, Some(&socket), Some(seeds)),
        false => made_text(&folder, seeds) + &curl_text(url, console.as_deref(), seeds),
    });
    let said = {
        let (urls, socket) = (urls.clone(), socket.clone());
        let listening = doors.listening();
        let there = format!(
            "Serving what is in {}; its secrets were shown at the first start.\n\n",
            folder.path().display()
        );
        let (is_new, is_json) = (new.is_some(), args.serve.speaks_json());
        move |setup_code: Option<&str>| match (is_json, is_new) {
            (true, true) => None,
            (true, false) => Some(json(&urls, Some(&socket), None)),
            (false, true) => Some(listening),
            (false, false) => {
                Some(there + &setup_text(console.as_deref(), setup_code) + &listening)
            }
        }
    };
    if let Some(shown) = shown {
        show(&shown)?;
    }
    if let Some(new) = new {
        new.install()?;
    }
    doors.serve(said)
}

/// Makes the folder a node of a database that another node has created.
fn join(folder: &Folder, database: &DatabaseArgs) -> failure::Result<()> {
    let shown = folder.path().display();
    if database.database.is_none() {
        return Err(Failure::Usage("--join needs --database".to_owned()));
    }
    if folder.contents()? == Contents::Empty {
        return Err(Failure::refused(format!(
            "{shown} has no key files, and those of the other nodes are needed: save them there with latchkey secrets backup \
             FILE, and put them here with latchkey secrets restore FILE --data {shown}"
        )));
    }
    let node_id = folder.path().join(nodes::FILE);
    if node_id.exists() {
        return Err(Failure::refused(format!(
            "{} is there already, and each node has its own: if this folder is a copy of another one, begin with an empty folder \
             and only the key files; otherwise remove the file, and this folder becomes a new node",
            node_id.display()
        )));
    }
    let location = folder.location(Some(database))?;
    let app = setup::open(location, folder.read_key_files()?, PRESETS, TIME)?;
    app.close();
    folder.remember(database)?;
    print::print(&format!(
        "{shown} is a node of the database now.\nServe it with:\n  {}",
        data_folder::start_command(folder.path())
    ))
}

/// Opens the database of a folder as a server does.
fn open(folder: &Folder) -> Result<Arc<App>> {
    let location = folder.location(None)?;
    setup::open(location, folder.read_key_files()?, PRESETS, TIME)
}

/// A new database that is not in use yet. A file gets its name, and a database on a server its first node, once its secrets have
/// been displayed: a start that is interrupted before leaves no database with unknown secrets, and the next start creates a new
/// one.
struct New<'a> {
    folder: &'a Folder,
    settings: &'a DatabaseArgs,
    location: Location,
    seeds: Seeds,
}

impl New<'_> {
    fn make<'a>(
        folder: &'a Folder,
        settings: &'a DatabaseArgs,
        owner: OwnerPassword,
        sample: SampleKey,
    ) -> Result<New<'a>> {
        if has_lost_database(folder.path()) {
            return Err(lost_database(folder.path()));
        }
        let is_file = settings.database.is_none();
        let server = match is_file {
            true => None,
            false => Some(folder.location(Some(settings))?),
        };
        // Key files that were made for nothing would have to be replaced before the folder can join that database.
        server
            .as_ref()
            .map_or(Ok(()), |it| it.database.check_free())?;
        let files = folder.make_key_files()?;
        let location = match server {
            Some(location) => location,
            None => Location::from(&folder.new_database()?),
        };
        say_the_date();
        let seeds = setup::create(location.clone(), files, PRESETS, owner, sample, TIME)?;
        Ok(New {
            folder,
            settings,
            location,
            seeds,
        })
    }

    fn install(&self) -> Result<()> {
        if self.settings.database.is_none() {
            return self.folder.install_database(&self.location.path);
        }
        let files = self.folder.read_key_files()?;
        setup::open(self.location.clone(), files, PRESETS, TIME)?.close();
        self.folder.remember(self.settings)
    }
}

/// Prints the secrets, which are displayed only once.
fn show(text: &str) -> Result<()> {
    say(text).map_err(|err| {
        Error::Unavailable(verbatim(format!(
            "the secrets could not be shown ({err}), so nothing was made; try again with a standard output that works"
        )))
    })
}

/// Prints the date in use, and whether it is implausible. The folder is created in any case: an appliance may start
/// before it knows the time, and an implausible date is not recorded as a time that has passed.
fn say_the_date() {
    let wall = (TIME.wall)();
    match is_plausible(wall) {
        true => log::info!("clock: it is {wall} by this machine's clock"),
        false => log::warn!(
            "clock: this machine's date is {wall}, which cannot be right: this version was released on {RELEASED}. Correct the \
             date; the first one that can be right will be believed. If this one is right: latchkey clock accept --implausible"
        ),
    }
}

/// Creates keys in bulk and writes their secrets to a file that only its owner can read.
fn fill(folder: &Folder, count: u64, file: &Path, mut output: Output) -> failure::Result<()> {
    let mut lines = BufWriter::new(&mut output);
    let app = open(folder)?;
    let mut made: u64 = 0;
    setup::fill(&app, count, |secret| {
        made += 1;
        if made.is_multiple_of(100_000) {
            eprintln!("{made} of {}", counted(count, "key"));
        }
        writeln!(lines, "{}", secret.expose()).map_err(|err| {
            Error::Unavailable(verbatim(format!(
                "{} cannot be written: {err}",
                file.display()
            )))
        })
    })?;
    app.close();
    lines.flush().map_err(|err| {
        Error::Unavailable(verbatim(format!(
            "{} cannot be written: {err}",
            file.display()
        )))
    })?;
    drop(lines);
    output.put_in_place().map(drop)
}

fn json(urls: &[String], socket: Option<&str>, seeds: Option<&Seeds>) -> String {
    let sample = seeds.and_then(|seeds| seeds.sample.as_ref());
    let body = StartBody {
        url: urls.first().map(String::as_str),
        urls,
        socket,
        owner: OwnerBody {
            user_name: OWNER,
            password: seeds.and_then(|seeds| seeds.password.as_deref()),
        },
        management_key: seeds.map(|seeds| seeds.management.expose()),
        key: sample.map(|sample| SampleBody {
            id: sample.presented().id.to_string(),
            name: SAMPLE,
            hint: sample.hint(),
        }),
        secret: sample.map(Secret::expose),
        now: seeds.map(|seeds| seeds.now.to_string()),
        date_plausible: seeds.map(|seeds| is_plausible(seeds.now)),
    };
    serde_json::to_string(&body).unwrap_or_default()
}

fn made_text(folder: &Folder, seeds: &Seeds) -> String {
    let password = seeds.password.as_deref();
    let sample = seeds.sample.as_ref().map_or_else(String::new, |sample| {
        format!("  sample key      {}  (ends tomorrow)\n", sample.expose())
    });
    format!(
        "Made {}. Each of these is shown this once; keep them safe.\n\n  \
         owner           {OWNER}\n  \
         password        {}\n  \
         management key  {}\n{sample}",
        folder.path().display(),
        password.unwrap_or("to be set in the console, with the code that serve prints"),
        seeds.management.expose(),
    )
}

fn curl_text(url: &str, console: Option<&str>, seeds: &Seeds) -> String {
    let console = console.map_or_else(String::new, |console| {
        format!("Open the console in a browser, as owner with the password above:\n  {console}\n\n")
    });
    let Some(sample) = &seeds.sample else {
        return format!("\n{console}");
    };
    format!(
        "\n{console}\
         Verify the sample key:\n  \
         curl {url}/v1/verify -H 'Latchkey-Local: 1' -H 'Content-Type: application/json' -d '{{\"key\":\"{sample}\"}}'\n\n\
         Issue another key:\n  \
         curl {url}/v1/keys -H 'Authorization: Bearer {management}' \\\n    \
         -H 'Content-Type: application/json' -d '{{\"name\":\"my first key\"}}'\n\n\
         Ask as a reverse proxy does:\n  \
         curl -i '{url}/auth/nginx?workspace=root' -H 'X-API-Key: {sample}'\n",
        sample = sample.expose(),
        management = seeds.management.expose(),
    )
}
