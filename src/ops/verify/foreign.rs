//! The look-up of secrets that other systems have made.
//!
//! Each fast digest of the text is made once and leads to candidates, which are compared in full. Only if none matches, the
//! start of the text can lead to slow digests. A slow comparison needs a turn of the gate for passwords and a budget of the
//! key, and its success is remembered, so that the next use is as fast as any other (`ops::keys::upgrade`).

use super::{Matched, Step, matching_by};
use crate::domain::keys::live::{Live, StoredSecret};
use crate::domain::keys::seal_key::same;
use crate::domain::keys::verdict::Question;
use crate::domain::time::Moment;
use crate::error::Result;
use crate::index::foreign::TEXT_BYTES_MAX;
use crate::ops::keys::upgrade::Guess;
use crate::ops::{App, index_updates};
use crate::store::foreign;

/// How often a look-up is repeated because a change has crossed it.
const ROUNDS_MAX: u32 = 64;

/// The result of a look-up.
pub enum Found<R> {
    Step(Step<R>),
    /// No fast digest matches, but the start of the text is known.
    MaybeSlow,
    Nothing,
}

/// The texts of a request that can be the secret of another system.
pub fn texts<'a>(secret: &'a str, question: &Question<'a>) -> impl Iterator<Item = &'a str> {
    let texts = [Some(secret), question.basic].into_iter().flatten();
    texts.filter(|text| text.len() <= TEXT_BYTES_MAX)
}

/// Hashes a wrong secret of an existing key as often as a text that is looked up, so that the duration does not reveal
/// which ids exist.
pub fn spend(app: &App, secret: &str, question: &Question<'_>) {
    if app.index.foreign.has_any() && !question.own_secrets_only {
        for text in texts(secret, question) {
            for method in app.index.foreign.methods().iter() {
                std::hint::black_box(method.digest(&app.peppers, text));
            }
        }
    }
}

/// Finds the key of a text, and decides on it.
pub fn find<R>(
    app: &App,
    text: &str,
    now: Moment,
    decide: impl Fn(&Live, Option<Matched>, &str) -> Step<R>,
) -> Found<R> {
    let table = &app.index.foreign;
    for _ in 0..ROUNDS_MAX {
        let changes = table.changes();
        if let Some(step) = find_fast(app, text, now, &decide) {
            return Found::Step(step);
        }
        if !table.is_crossed(changes) {
            break;
        }
    }
    let slow = table.slow_candidates(text);
    for (id, given) in &slow {
        let old = StoredSecret::given(given, true);
        if !app.upgrades.is_proven(&app.peppers, *id, &old, text) {
            continue;
        }
        let look = |key: &Live| {
            let matched = matching_by(key, now, |secret| *secret == old);
            let matched = matched.filter(|matched| !matched.has_ended);
            matched.map(|matched| decide(key, Some(matched), text))
        };
        if let Some(step) = app.index.with_key(*id, look).flatten() {
            return Found::Step(step);
        }
    }
    match slow.is_empty() {
        true => Found::Nothing,
        false => Found::MaybeSlow,
    }
}

/// Looks a text up by its fast digests.
fn find_fast<R>(
    app: &App,
    text: &str,
    now: Moment,
    decide: impl Fn(&Live, Option<Matched>, &str) -> Step<R>,
) -> Option<Step<R>> {
    let table = &app.index.foreign;
    for method in table.methods().iter() {
        let Some(digest) = method.digest(&app.peppers, text) else {
            continue;
        };
        // The key may have been upgraded since the look-up, and then the text is hashed once more.
        let fits = |secret: &StoredSecret| {
            secret.is_foreign
                && match method.makes(secret) {
                    true => same(&digest.0, &secret.digest.0),
                    false => secret.matches(&app.peppers, text),
                }
        };
        for id in table.candidates(&digest) {
            let look = |key: &Live| {
                // Another key may have the same secret, and there it works.
                let matched = matching_by(key, now, fits).filter(|matched| !matched.has_ended);
                matched.map(|matched| decide(key, Some(matched), text))
            };
            if let Some(step) = app.index.with_key(id, look).flatten() {
                return Some(step);
            }
        }
    }
    None
}

/// Loads the keys that may have this text as their secret, while the index is being filled.
pub fn load(app: &App, text: &str) -> Result<()> {
    app.read(|read| {
        let mut ids = foreign::list_found_by(read, text)?;
        for method in app.index.foreign.methods().iter() {
            if let Some(digest) = method.digest(&app.peppers, text) {
                ids.extend(foreign::list(read, method.method(), &digest)?);
            }
        }
        ids.into_iter()
            .try_for_each(|id| index_updates::fault_in(&app.index, &app.seal_keys, read, id))
    })
}

/// Compares a text with each slow digest that its start leads to, and remembers which one it matches.
///
/// # Errors
/// `TooMany` if too many comparisons wait, or if a key was tried with too many wrong texts. The other keys are tried in any
/// case.
pub fn match_slowly(app: &App, text: &str, guess: Guess) -> Result<()> {
    let mut refused = None;
    for (id, given) in app.index.foreign.slow_candidates(text) {
        if let Err(err) = app.upgrades.charge(id, guess, app.now().steady_ms) {
            refused = Some(err);
            continue;
        }
        if app.passwords.slowly(|| given.matches_slowly(text))? {
            let old = StoredSecret::given(&given, true);
            app.upgrades.prove(&app.peppers, id, &old, text);
            return Ok(());
        }
    }
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use crate::domain::audit::{Event, Kind, Target};
    use crate::domain::hex::hex;
    use crate::domain::keys::keyfile::HmacKeys;
    use crate::domain::keys::scheme::{GivenDigest, Scheme};
    use crate::domain::keys::secret::{Secret, generate_id};
    use crate::domain::keys::verdict::{Code, Question};
    use crate::domain::keys::{Key, KeyId};
    use crate::error::Error;
    use crate::index::Index;
    use crate::ops::keys::upgrade;
    use crate::ops::setup::fixture::{Fixture, NOW};
    use crate::ops::verify::{Outcome, verify, verify_blocking};
    use crate::store::keys::{self, NewSecret};
    use crate::store::{Durability, audit, foreign, numbers};
    use std::sync::Arc;

    /// Written by `htpasswd -nbBC 4 alice password`.
    const BCRYPT: &str = "$2y$04$.k9hecJyFHrgfJDEuwjaIOWAIJmindjmVjv5/0y2fDIJzsBwawFlO";

    /// Stores a key whose secret has this digest.
    fn import(fixture: &Fixture, digest: &str, found_by: Option<&str>) -> KeyId {
        let id = generate_id().unwrap();
        import_as(fixture, id, digest, found_by, true)
    }

    fn import_as(
        fixture: &Fixture,
        id: KeyId,
        digest: &str,
        found_by: Option<&str>,
        is_foreign: bool,
    ) -> KeyId {
        let given = GivenDigest::parse(digest, found_by).unwrap();
        let workspace = fixture.app.index.directory().root().unwrap().workspace.uid;
        let seal_keys = fixture.app.seal_keys.clone();
        let insert = move |tx: &crate::store::Write<'_>| {
            let key = Key {
                id,
                number: numbers::next_of_keys(tx)?,
                name: format!("imported {id}"),
                workspace,
                created_by: "system".to_owned(),
                created_at: NOW,
                weak: is_foreign,
                ..Key::blank()
            };
            let secret = NewSecret::Given {
                digest: &given,
                is_foreign,
            };
            keys::insert(tx, &seal_keys, &key, &secret, NOW)?;
            let target = Target::new(Kind::Key, id);
            audit::append(tx, &seal_keys, Event::of_system("key.issue", target, NOW))
        };
        fixture.app.store.write(Durability::Full, insert).unwrap();
        id
    }

    fn sha256(text: &str) -> String {
        format!("sha256:{}", hex(&Scheme::Sha256.digest(text).unwrap()))
    }

    fn question() -> Question<'static> {
        Question {
            cost: 1,
            ..Question::default()
        }
    }

    fn code(fixture: &Fixture, text: &str) -> Code {
        verify_blocking(&fixture.app, text, &question(), None, |it| it.code).unwrap()
    }

    fn stored(fixture: &Fixture, id: KeyId) -> Scheme {
        let secrets = fixture.app.read(|read| keys::list_secrets(read, id));
        secrets.unwrap()[0].secret.scheme
    }

    #[test]
    fn every_fast_scheme_opens_with_its_secret_alone_and_is_replaced_at_the_first_good_use() {
        let fixture = Fixture::new();
        let secret = "sk-abcdefghijklmnop";
        let hmac = hex(&Scheme::HmacSha512.hmac(b"key", "four").unwrap());
        let keys = HmacKeys::of([("old".to_owned(), b"key".to_vec())]);
        fixture.app.index.foreign.set_hmac_keys(Arc::new(keys));
        assert_eq!(code(&fixture, secret), Code::Malformed);
        for (digest, text) in [
            (sha256(secret), secret),
            (
                format!("sha512:{}", hex(&Scheme::Sha512.digest("two").unwrap())),
                "two",
            ),
            (
                format!("talos:{}", hex(&Scheme::Talos.digest("three").unwrap())),
                "three",
            ),
            (format!("hmac-sha512:old:{hmac}"), "four"),
        ] {
            let id = import(&fixture, &digest, None);
            let other = GivenDigest::parse(&digest, None).unwrap();
            assert_eq!(stored(&fixture, id), other.scheme);
            for wrong in [
                "",
                "x",
                &digest,
                &hex(&other.bytes),
                &text.to_uppercase(),
                &format!("{text} "),
            ] {
                assert_eq!(code(&fixture, wrong), Code::NotFound, "{digest}: {wrong}");
            }
            assert_eq!(fixture.app.upgrades.waiting(), 0);
            assert_eq!(code(&fixture, text), Code::Valid, "{digest}");
            assert_eq!(fixture.app.upgrades.waiting(), 1);
            assert_eq!(code(&fixture, text), Code::Valid, "{digest}");
            upgrade::write_all(&fixture.app);
            assert_eq!(fixture.app.upgrades.waiting(), 0);
            assert_eq!(stored(&fixture, id), Scheme::Pepper);
            assert_eq!(code(&fixture, text), Code::Valid, "{digest}");
            assert_eq!(code(&fixture, &digest), Code::NotFound);
        }
        let methods = fixture.app.index.foreign.methods();
        assert_eq!(methods.len(), 1);
    }

    #[test]
    fn a_slow_digest_is_compared_once_and_a_wrong_text_ten_times_a_minute() {
        let fixture = Fixture::new();
        let id = import(&fixture, BCRYPT, Some("alice:"));
        let quick = || {
            verify(&fixture.app, "alice:password", &question(), None, |it| {
                it.code
            })
        };
        assert!(matches!(quick(), Outcome::MustWait));
        assert_eq!(code(&fixture, "alice:password"), Code::Valid);
        assert!(matches!(quick(), Outcome::Done(Code::Valid)));
        for _ in 0..9 {
            assert_eq!(code(&fixture, "alice:wrong"), Code::NotFound);
        }
        let refused = verify_blocking(&fixture.app, "alice:wrong", &question(), None, |_| ());
        assert!(matches!(refused, Err(Error::TooMany { .. })));
        assert!(matches!(quick(), Outcome::Done(Code::Valid)));
        // Other starts cost no comparison.
        assert_eq!(code(&fixture, "bob:password"), Code::NotFound);
        upgrade::write_all(&fixture.app);
        assert_eq!(stored(&fixture, id), Scheme::Pepper);
        assert!(matches!(quick(), Outcome::Done(Code::Valid)));
        assert_eq!(code(&fixture, "alice:wrong"), Code::NotFound);
        // In Authorization: Basic, the secret itself is the password.
        let basic = Question {
            basic: Some("alice:password"),
            ..question()
        };
        let told = verify_blocking(&fixture.app, "password", &basic, None, |it| it.code);
        assert_eq!(told.unwrap(), Code::Valid);
        assert_eq!(code(&fixture, "password"), Code::NotFound);
    }

    #[test]
    fn a_secret_of_our_shape_with_a_given_digest_is_found_by_its_id() {
        let fixture = Fixture::new();
        let id = generate_id().unwrap();
        let secret = Secret::generate("lk", id).unwrap();
        import_as(&fixture, id, &sha256(secret.expose()), None, false);
        assert!(!fixture.app.index.foreign.has_any());
        let other = Secret::generate("lk", id).unwrap();
        assert_eq!(code(&fixture, other.expose()), Code::NotFound);
        assert_eq!(code(&fixture, secret.expose()), Code::Valid);
        upgrade::write_all(&fixture.app);
        assert_eq!(stored(&fixture, id), Scheme::Pepper);
        assert_eq!(code(&fixture, secret.expose()), Code::Valid);
    }

    #[test]
    fn a_secret_of_the_shape_of_ours_with_another_id_is_found_by_its_digest_and_manages_nothing() {
        let fixture = Fixture::new();
        let foreign = Secret::generate("lk", generate_id().unwrap()).unwrap();
        import(&fixture, &sha256(foreign.expose()), None);
        assert_eq!(code(&fixture, foreign.expose()), Code::Valid);
        let managing = Question {
            own_secrets_only: true,
            ..question()
        };
        let told = verify_blocking(&fixture.app, foreign.expose(), &managing, None, |it| {
            it.code
        });
        assert_eq!(told.unwrap(), Code::NotFound);
    }

    /// A key whose digest is not in the index yet must not be reported as not found.
    #[test]
    fn while_the_index_is_filled_a_foreign_secret_is_looked_up_in_the_store() {
        let mut fixture = Fixture::new();
        import(&fixture, &sha256("first"), None);
        import(&fixture, BCRYPT, Some("alice:"));
        assert_eq!(code(&fixture, "first"), Code::Valid);
        upgrade::write_all(&fixture.app);
        import(&fixture, &sha256("second"), None);
        fixture.reopen(&[]);
        let empty = Index::new(Default::default(), Vec::new());
        let (methods, has_slow) = fixture.app.read(foreign::list_methods).unwrap();
        assert_eq!((methods.len(), has_slow), (2, true));
        empty.foreign.expect(methods, has_slow);
        assert!(empty.foreign.has_any());
        for text in ["first", "second", "alice:password"] {
            let methods = empty.foreign.methods();
            let found = fixture.app.read(|read| {
                let mut ids = foreign::list_found_by(read, text)?;
                for method in methods.iter() {
                    let digest = method.digest(&fixture.app.peppers, text).unwrap();
                    ids.extend(foreign::list(read, method.method(), &digest)?);
                }
                Ok(ids)
            });
            assert_eq!(found.unwrap().len(), 1, "{text}");
            assert_eq!(code(&fixture, text), Code::Valid);
        }
        empty.foreign.settle();
        assert!(!empty.foreign.has_any());
    }
}
