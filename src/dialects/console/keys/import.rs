//! Imports keys that another system has issued: the user uploads a file, sees what would be taken and what not, and
//! confirms. Nothing is written before that.

use crate::dialects::console::auth::{Visit, page, submit_file};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::workspace_choice::{Option3, places, refused};
use crate::domain::keys::imported::sha256_hex;
use crate::domain::policies::STANDARD;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::bodies::imports::record::records;
use crate::http::bodies::imports::{self, LeftOut, Source};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::import::{Import, Problem, Report, import as import_keys};
use crate::ops::policies;
use askama::Template;

/// The maximum number of keys: the page with the preview carries all of them. The command line takes more.
const KEYS_MAX: usize = 10_000;
/// The maximum number of rows in a table of the page.
const SHOWN: usize = 500;

#[derive(Template)]
#[template(path = "console/key_import.html")]
struct ImportPage {
    s: Layout,
    sources: Vec<Option3>,
    workspaces: Vec<Option3>,
    policies: Vec<Option3>,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/key_import_preview.html")]
struct PreviewPage {
    s: Layout,
    /// Whether the keys are imported; otherwise they would be.
    is_done: bool,
    taken: String,
    present: String,
    /// Workspace, policy, kind of digest and number of keys.
    groups: Vec<(String, String, String, String)>,
    not_taken_title: String,
    /// The line, the key or its property, and the reason.
    not_taken: Vec<(String, String, String)>,
    more: String,
    /// Whether there is something to confirm.
    has_keys: bool,
    hidden: Vec<(&'static str, String)>,
    /// JSON lines, which contain digests and no secrets.
    lines: String,
}

/// What the user has chosen, on the way from one page to the next.
struct Choice {
    source: Source,
    workspace: String,
    policy: String,
    file_sha256: String,
}

/// `GET /console/import-keys`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_import(visit)?;
        asked(visit, 200, &Form::default(), Default::default())
    })
}

/// `POST /console/import-keys`: displays what would be imported and changes nothing.
pub fn preview(call: &Call<'_>) -> Result<Reply> {
    submit_file(call, &|visit, form| {
        visit.noting(require_import(visit))?;
        let text = form.text("file");
        let choice = Choice {
            file_sha256: sha256_hex(text.as_bytes()),
            ..Choice::of(form)?
        };
        let parsed = match imports::parse(choice.source, text.as_bytes()) {
            Ok(parsed) if parsed.keys.len() <= KEYS_MAX => parsed,
            Ok(_) => {
                let most = visit.texts.number(KEYS_MAX as u64);
                let why = visit.texts.with("key_import.too_many", &most);
                return asked(visit, 422, form, ("file".to_owned(), why));
            }
            Err(err @ (Error::Malformed(_) | Error::Invalid { .. } | Error::TooLarge { .. })) => {
                let why = visit.texts.error(&err);
                return asked(visit, 422, form, ("file".to_owned(), why));
            }
            Err(err) => return Err(err),
        };
        let lines: String = parsed.keys.iter().map(|key| key.to_line() + "\n").collect();
        let report = match lines.is_empty() {
            true => Report::default(),
            false => match choice.import(visit, &lines, true) {
                Ok(report) => report,
                Err(err) => return again(visit, form, err),
            },
        };
        shown(visit, &choice, report, &parsed.left_out, lines)
    })
}

/// `POST /console/import-keys/confirm`
pub fn confirm(call: &Call<'_>) -> Result<Reply> {
    submit_file(call, &|visit, form| {
        let choice = Choice::of(form)?;
        match choice.import(visit, form.text("lines"), false) {
            Ok(report) => shown(visit, &choice, report, &[], String::new()),
            Err(err) => again(visit, form, err),
        }
    })
}

/// Displays the first page again if the refusal belongs to it.
fn again(visit: &Visit<'_>, form: &Form, err: Error) -> Result<Reply> {
    match refused(visit, &err) {
        Some((status, field, why)) => asked(visit, status, form, (field, why)),
        None => Err(err),
    }
}

/// Whether the user may import keys into some workspace.
pub fn may_import(visit: &Visit<'_>) -> bool {
    require_import(visit).is_ok()
}

fn require_import(visit: &Visit<'_>) -> Result<()> {
    let directory = visit.call.app.index.directory();
    visit
        .caller
        .require_in_any(&directory, Permission::KeysWrite)
}

impl Choice {
    fn of(form: &Form) -> Result<Choice> {
        let source = Source::parse(form.text("source"));
        Ok(Choice {
            source: source.ok_or(Error::NotFound("source"))?,
            workspace: form.text("workspace").to_owned(),
            policy: form.text("policy").to_owned(),
            file_sha256: form.text("file_sha256").to_owned(),
        })
    }

    fn import(&self, visit: &Visit<'_>, lines: &str, dry_run: bool) -> Result<Report> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let import = Import {
            system: self.source.as_str().to_owned(),
            file_sha256: some(&self.file_sha256),
            dry_run,
            workspace: some(&self.workspace),
            policy: some(&self.policy),
            records: records(lines.as_bytes())?,
        };
        import_keys(visit.call.app, &visit.caller, import)
    }
}

fn asked(visit: &Visit<'_>, status: u16, form: &Form, refused: (String, String)) -> Result<Reply> {
    let chosen = form.text("source");
    let sources = Source::ALL.iter().map(|(_, word)| {
        let label = visit.texts.get(&format!("key_import.source_{word}"));
        ((*word).to_owned(), label.to_owned(), *word == chosen)
    });
    let policy = form.some("policy").unwrap_or_else(|| STANDARD.to_owned());
    let policies = match policies::list(visit.call.app, &visit.caller) {
        Err(Error::Forbidden(_)) => Vec::new(),
        other => other?,
    };
    let choice = |name: &str| (name.to_owned(), name.to_owned(), name == policy);
    let page = ImportPage {
        s: visit.shell(visit.texts.get("key_import.title"), Nav::Keys),
        sources: sources.collect(),
        workspaces: places(visit, Permission::KeysWrite, form.text("workspace"))?,
        policies: policies.iter().map(|it| choice(&it.name)).collect(),
        refused,
    };
    html(status, &page)
}

fn shown(
    visit: &Visit<'_>,
    choice: &Choice,
    report: Report,
    left_out: &[LeftOut],
    lines: String,
) -> Result<Reply> {
    let texts = visit.texts;
    let is_done = lines.is_empty() && report.keys > 0;
    let line = |number: usize| texts.number(number as u64);
    let problem = |it: &Problem| (it.line, it.name.clone(), texts.sentence(&it.why));
    let mut not_taken: Vec<(usize, String, String)> = left_out
        .iter()
        .map(|it| (it.line, it.what.clone(), texts.sentence(&it.why)))
        .chain(report.problems.iter().map(problem))
        .collect();
    not_taken.sort_by_key(|(line, ..)| *line);
    let unlisted = report.refused - report.problems.len();
    let all = not_taken.len() + unlisted;
    let more = all.saturating_sub(SHOWN.min(not_taken.len()));
    let title = match is_done {
        true => "key_import.done",
        false => "key_import.preview",
    };
    let taken = match is_done {
        true => "key_import.imported",
        false => "key_import.taken",
    };
    let groups = report.groups.iter().map(|(group, count)| {
        let (workspace, policy) = (group.workspace.clone(), group.policy.clone());
        let scheme = group.scheme.as_str().to_owned();
        (workspace, policy, scheme, line(*count))
    });
    let page = PreviewPage {
        s: visit.shell(texts.get(title), Nav::Keys),
        is_done,
        taken: texts.count(taken, report.taken as u64),
        present: match report.present {
            0 => String::new(),
            count => texts.count("key_import.present", count as u64),
        },
        groups: groups.collect(),
        not_taken_title: texts.count("key_import.not_taken", all as u64),
        not_taken: not_taken
            .into_iter()
            .take(SHOWN)
            .map(|(number, what, why)| (line(number), what, why))
            .collect(),
        more: match more {
            0 => String::new(),
            more => texts.count("key_import.more", more as u64),
        },
        has_keys: !is_done && report.taken > 0,
        hidden: vec![
            ("source", choice.source.as_str().to_owned()),
            ("workspace", choice.workspace.clone()),
            ("policy", choice.policy.clone()),
            ("file_sha256", choice.file_sha256.clone()),
        ],
        lines,
    };
    html(200, &page)
}
