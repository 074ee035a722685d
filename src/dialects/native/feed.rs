//! The live link to sites: `POST /v1/feed`.

use super::problem;
use crate::domain::packs::question::{QUESTION_BYTES_MAX, Question};
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::feed::ask;
use crate::refusals;
use serde_json::json;

/// The media type of an answer.
const WORD: &str = "application/octet-stream";
/// The media type of a question.
const QUESTION: &str = "text/plain";
/// The maximum body: the lines of a question and a report.
pub const BYTES_MAX: usize = QUESTION_BYTES_MAX;

/// Adds the operation of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("post /v1/feed", "askFeed", "Ask what has happened, as a linked site does")
        .about(
            "The question is authenticated with the key of the site, so it needs no credential. The answer comes when something \
             has happened to what the site is given, or after a second; it is signed as packs are, and repeats the nonce of the \
             question. docs/pack-format.md describes both. Of two questions of one site, only the newer one is answered \
             with a word; the older one gets 409, even if it arrives later.",
        )
        .security(json!([]))
        .text(QUESTION, "latchkey.question/v1 keys.example.com\n…")
        .content_of(
            200,
            "A word, with a step or packs.",
            WORD,
            json!({ "type": "string", "format": "binary" }),
            json!("LKWORD1\n…"),
        )
        .ends(204, "The question gave up the lease of the site (`lease 0`), so there is no word.")
        .refuses(401, "unauthenticated")
        .refuses(429, "too-many-requests")
        .conflicts();
}

/// `POST /v1/feed`
pub fn answer(call: &Call<'_>) -> Result<Option<Reply>> {
    let media_type = call.request.header("content-type").ok().flatten();
    let media_type = media_type.unwrap_or_default().split(';').next();
    let media_type = media_type.unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(QUESTION) {
        return Err(Error::UnsupportedMediaType(QUESTION));
    }
    let no_question = || Error::Malformed(refusals::packs::no_question());
    let text = std::str::from_utf8(&call.request.body).map_err(|_| no_question())?;
    if Question::site_of(text).is_none() {
        return Err(no_question());
    }
    let Some(asked) = ask::read(call.app, text, call.may_wait)? else {
        return Ok(None);
    };
    let (later, pledge) = Reply::later();
    let head = call.request.head.without_headers();
    let give = move |answer: Result<Vec<u8>>| {
        pledge.fulfil(match answer {
            // The lease of the site is given up.
            Ok(bytes) if bytes.is_empty() => Reply::new(204),
            Ok(bytes) => Reply::new(200).body(WORD, bytes).repeatable(),
            Err(err) => problem::render(&err, &head),
        });
    };
    asked.enter(call.app, Box::new(give))?;
    Ok(Some(later))
}
