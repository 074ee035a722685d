//! The body of a step: what has changed at the server since the state of a site. It has the ids that the site has no longer, and
//! then a whole body ([`super::body`]) with the records that were touched, as they are now, and what they name, but for peppers.

use super::Checked;
use super::body::{BODY_BYTES_MAX, Body};
use super::content::Content;
use super::directory::NAME_BYTES_MAX;
use super::record::{Reader, Writer};
use crate::domain::keys::KeyId;
use crate::domain::uid::Uid;
use crate::refusals;

/// The number of things that one step may touch. More are a reason for a pack.
pub const TOUCHED_MAX: usize = 10_000;

/// What the site does not have any more, or has never had; each list is in ascending order, without doubles.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Gone {
    /// Keys that were deleted, or are not given to the site.
    pub keys: Vec<KeyId>,
    /// Owners that were deleted.
    pub users: Vec<Uid>,
    pub policies: Vec<String>,
    pub catalogs: Vec<String>,
}

impl Gone {
    pub fn is_empty(&self) -> bool {
        *self == Gone::default()
    }
}

/// A step that was read.
pub struct Step {
    pub gone: Gone,
    /// The records that were touched; `None` if there are none. A record that the site has takes its new content, one that it
    /// does not have is added. The numbers of shared parts count in this content alone, and it has no peppers: keys name versions
    /// that the site has, or the step cannot be applied.
    pub content: Option<Content>,
}

/// The bytes of a step; `body` is what [`super::builder::Builder::finish`] returns. If nothing was touched, there are none.
pub fn write(gone: &Gone, body: Option<&[u8]>) -> Vec<u8> {
    let body = body.unwrap_or_default();
    if gone.is_empty() && body.is_empty() {
        return Vec::new();
    }
    let mut writer = Writer::default();
    writer.list(gone.keys.iter(), |writer, id| {
        writer.raw(&id.0.to_be_bytes());
    });
    writer.list(gone.users.iter(), |writer, uid| {
        writer.raw(&uid.0.to_be_bytes());
    });
    writer.texts(&gone.policies);
    writer.texts(&gone.catalogs);
    writer.raw(body);
    writer.0
}

impl Step {
    /// Reads the bytes of a step.
    pub fn read(bytes: &[u8]) -> Checked<Step> {
        if bytes.is_empty() {
            return Ok(Step {
                gone: Gone::default(),
                content: None,
            });
        }
        let mut reader = Reader::new(bytes);
        let gone = gone(&mut reader).ok_or_else(|| refusals::packs::body("gone"))?;
        let left = reader.left();
        let rest = reader
            .take(left)
            .filter(|rest| rest.len() <= BODY_BYTES_MAX);
        let rest = rest.ok_or_else(|| refusals::packs::body("length"))?;
        let content = match rest {
            [] if gone.is_empty() => return Err(refusals::packs::body("beginning")),
            [] => None,
            rest => Some(Content::of_step(Body::read(rest.to_vec())?)?),
        };
        let step = Step { gone, content };
        match step.is_consistent() {
            true => Ok(step),
            false => Err(refusals::packs::body("gone")),
        }
    }

    /// Whether nothing is gone that is also there.
    fn is_consistent(&self) -> bool {
        let Some(content) = &self.content else {
            return true;
        };
        let gone = &self.gone;
        let keys = content.find(&gone.keys);
        keys.iter().all(Option::is_none)
            && !(content.users.iter()).any(|user| gone.users.contains(&user.uid))
            && !(content.policies.iter()).any(|policy| gone.policies.contains(&policy.name))
            && !(content.catalogs.iter()).any(|catalog| gone.catalogs.contains(&catalog.name))
    }
}

fn gone(reader: &mut Reader<'_>) -> Option<Gone> {
    let names = |reader: &mut Reader<'_>| {
        let names = reader.texts(TOUCHED_MAX, NAME_BYTES_MAX)?;
        Some(names.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let gone = Gone {
        keys: reader.list(TOUCHED_MAX, |reader| {
            Some(KeyId(u64::from_be_bytes(reader.array()?)))
        })?,
        users: reader.list(TOUCHED_MAX, |reader| reader.u128().map(Uid))?,
        policies: names(reader)?,
        catalogs: names(reader)?,
    };
    let ordered =
        rises(&gone.keys) && rises(&gone.users) && rises(&gone.policies) && rises(&gone.catalogs);
    ordered.then_some(gone)
}

fn rises<T: Ord>(list: &[T]) -> bool {
    list.is_sorted_by(|one, next| one < next)
}

#[cfg(test)]
mod tests {
    use super::super::builder::Builder;
    use super::*;
    use crate::domain::policies::Policy;

    fn sample() -> Gone {
        Gone {
            keys: vec![KeyId(3), KeyId(7)],
            users: vec![Uid(1)],
            policies: vec!["a".to_owned(), "b".to_owned()],
            catalogs: vec!["c".to_owned()],
        }
    }

    fn body() -> Vec<u8> {
        let mut builder = Builder::new(false, 1, None);
        builder.policy(&Policy::standard());
        builder.finish()
    }

    #[test]
    fn a_step_is_read_back_whole_or_not_at_all() {
        for (gone, with_body) in [
            (sample(), true),
            (sample(), false),
            (Gone::default(), true),
            (Gone::default(), false),
        ] {
            let body = with_body.then(body);
            let bytes = write(&gone, body.as_deref());
            let step = Step::read(&bytes).unwrap();
            assert_eq!(step.gone, gone);
            let read = step.content.as_ref().map(|content| content.body().bytes());
            assert_eq!(read, body.as_deref());
            let without_body = write(&gone, None).len();
            for end in (1..bytes.len()).filter(|end| *end != without_body) {
                assert!(Step::read(&bytes[..end]).is_err(), "{end}");
            }
            if with_body {
                assert!(Step::read(&[&bytes[..], &[0]].concat()).is_err());
            }
        }
        assert!(write(&Gone::default(), None).is_empty());
        assert!(Step::read(&[0, 0, 0, 0]).is_err());
    }

    #[test]
    fn what_is_gone_rises_and_is_not_there() {
        let twice = Gone {
            keys: vec![KeyId(3), KeyId(3)],
            ..sample()
        };
        assert!(Step::read(&write(&twice, None)).is_err());
        let back = Gone {
            policies: vec!["b".to_owned(), "a".to_owned()],
            ..sample()
        };
        assert!(Step::read(&write(&back, None)).is_err());
        let there = Gone {
            policies: vec![Policy::standard().name],
            ..Gone::default()
        };
        assert!(Step::read(&write(&there, Some(&body()))).is_err());
        assert!(Step::read(&write(&there, None)).is_ok());
    }
}
