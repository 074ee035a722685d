//! Writing the words of this server.

use crate::domain::clock::State;
use crate::domain::packs::body::sha256;
use crate::domain::packs::question::{Events, Question};
use crate::domain::packs::word::{Word, WordKind};
use crate::domain::time::Timestamp;
use crate::ops::App;
use crate::ops::packs::identity::Signer;

/// The content of a word that is not in its question.
pub struct Said<'a> {
    pub kind: WordKind,
    pub to: Events,
    pub made: Timestamp,
    pub lease_s: u64,
    pub report: u64,
    pub body: &'a [u8],
    /// Of the body, if it is known.
    pub sha256: Option<[u8; 32]>,
}

/// The time of a word. A date that this server does not believe yet would go on to count at the sites after it was corrected.
pub fn time(app: &App) -> Timestamp {
    let clock = app.clock.reading();
    match clock.state {
        State::Ahead => clock.mark,
        State::Behind | State::InStep => clock.now,
    }
}

/// The bytes of the answer to a question.
pub fn write(signer: &Signer, question: &Question, said: &Said<'_>) -> Vec<u8> {
    let word = Word {
        origin: signer.server.name.clone(),
        site: question.site.clone(),
        server: signer.server.uid,
        reign: signer.server.reign,
        nonce: question.nonce,
        kind: said.kind,
        from: question.events,
        to: said.to,
        made: said.made.whole_second(),
        lease_s: said.lease_s,
        report: said.report,
        bytes: said.body.len() as u64,
        sha256: said.sha256.unwrap_or_else(|| sha256(said.body)),
        signers: signer.introductions.clone(),
    };
    word.write(&signer.key, said.body)
}
