//! Mutated frames. A second, plain reading finds the same frames, and what is asked has every argument once.

use super::frame::{self, Frame, LENGTH_BYTES, Status};
use super::question;
use super::testing::{number, text};
use crate::fuzz::Target;
use crate::http1::request::{Peer, RequestId};

const PATH: &str = "/auth/haproxy";

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "\0\0\0\x07", "\0\0\x01\0", "\x01\0\0\0\x01\0\0", "\x02\0\0\0\x01\0\0", "\x03\0\0\0\x01\x01\x01", "\x03\0\0\0\0\x01\x01", "\x08question\x07",
    "\x06target\x08\x0d/auth/haproxy", "\x06method\x08\x03GET", "\x03uri\x08\x02/a", "\x04host\0", "\x04host\x08\x01h", "\x06client\x06\x7f\0\0\x01",
    "\x0dauthorization\x08\x08Bearer a", "\x0dauthorization\0", "\x13authorization.count\x04\x01", "\x13authorization.count\x04\0", "\x09x-api-key\0",
    "\x0fx-api-key.count\x04\x02", "\x12supported-versions\x08\x032.0", "\x0emax-frame-size\x03", "\x0ccapabilities\x08\x0apipelining",
    "\x0bhealthcheck\x11", "\x0b", "\x07", "\x08", "\x09", "\x7f\x7f", "?catalog=a", "\r\n",
];

/// The messages of a frame as lists of names and values, the values without their types.
type Plain = Vec<Vec<(Vec<u8>, Vec<u8>)>>;

/// HAProxy's `doc/SPOE.txt`, section 3.1, read byte by byte.
struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken.to_vec())
    }

    fn number(&mut self) -> Option<u64> {
        let mut bytes = self.take(1)?;
        if bytes[0] >= 240 {
            loop {
                let byte = self.take(1)?[0];
                bytes.push(byte);
                if byte < 128 {
                    break;
                }
            }
        }
        let (first, rest) = bytes.split_first()?;
        let mut found = u128::from(*first);
        for (place, byte) in rest.iter().enumerate() {
            let weight = 16_u128.checked_mul(128_u128.checked_pow(place as u32)?)?;
            found = found.checked_add(u128::from(*byte).checked_mul(weight)?)?;
        }
        u64::try_from(found).ok()
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        match self.take(1)?[0] {
            0x00 | 0x01 | 0x11 => Some(Vec::new()),
            0x02..=0x05 => self.number().map(|number| number.to_string().into_bytes()),
            0x06 => self.take(4),
            0x07 => self.take(16),
            0x08 | 0x09 => self.text(),
            _ => None,
        }
    }

    fn messages(mut self) -> Option<Plain> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            self.text()?;
            let count = self.take(1)?[0];
            let arguments = (0..count).map(|_| Some((self.text()?, self.value()?)));
            all.push(arguments.collect::<Option<_>>()?);
        }
        Some(all)
    }
}

/// The messages of a frame that has a question.
fn plain(frame: &[u8]) -> Option<Plain> {
    let mut reading = Reading(frame);
    if reading.take(5)? != b"\x03\0\0\0\x01" {
        return None;
    }
    reading.number()?;
    reading.number()?;
    reading.messages()
}

fn judge(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let mut shape = String::new();
    loop {
        let frame = match frame::next(rest, 2_048) {
            Ok(None) => return shape + "incomplete",
            Err(status) => return shape + status.text(),
            Ok(Some(frame)) => frame,
        };
        let outcome = read(frame);
        if shape.len() < 100 {
            let word = match outcome {
                Ok(word) => word,
                Err(status) => status.text(),
            };
            shape = shape + word + ",";
        }
        if outcome.is_err() {
            return shape;
        }
        rest = &rest[LENGTH_BYTES + frame.len()..];
    }
}

fn read(frame: &[u8]) -> Result<&'static str, Status> {
    let (ids, messages) = match frame::read(frame)? {
        Frame::Hello(hello) => {
            assert!((256..=16_380).contains(&hello.frame_bytes_max));
            return Ok("hello");
        }
        Frame::Disconnect => return Ok("disconnect"),
        Frame::Notify(ids, messages) => (ids, messages),
    };
    let plain = plain(frame);
    let start = [
        b"\x03\0\0\0\x01".to_vec(),
        number(ids.stream),
        number(ids.frame),
    ];
    assert!(frame.starts_with(&start.concat()));
    let peer = Peer::Unix { uid: 0 };
    let asked = question::read(messages, PATH, peer, RequestId::new(0, 0));
    assert_eq!(asked.is_ok(), plain.is_some(), "{plain:?}");
    let head = match asked? {
        Ok(head) => head,
        Err(fault) => return Ok(fault),
    };
    let [arguments] = plain.unwrap().try_into().unwrap();
    let mut values: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for name in ["target", "method", "uri", "host", "client"] {
        let mut found = arguments
            .iter()
            .filter(|(known, _)| known == name.as_bytes());
        let value = &found.next().expect(name).1;
        assert!(found.next().is_none());
        match name {
            "target" => {
                let query = head.query();
                let whole = match value.contains(&b'?') {
                    true => format!("{PATH}?{query}"),
                    false => PATH.to_owned(),
                };
                assert_eq!(*value, whole.into_bytes());
                assert_eq!(head.path(), PATH);
            }
            "client" => assert!(head.headers.contains("x-forwarded-for")),
            name => {
                let header = format!("x-forwarded-{name}");
                assert!(head.headers.all(&header).any(|own| own == value));
                values.push((header.into_bytes(), value.clone()));
            }
        }
    }
    // Of the others each is a header, once for a count of one.
    for pair in arguments.windows(2) {
        let [(name, value), (counted, count)] = pair else {
            unreachable!("windows of two");
        };
        let is_needed =
            [&b"target"[..], b"method", b"uri", b"host", b"client"].contains(&&name[..]);
        let is_counted = *counted == [name, &b".count"[..]].concat();
        if is_needed || !is_counted || name.ends_with(b".count") {
            continue;
        }
        let seen = head
            .headers
            .all(name)
            .filter(|own| *own == value.trim_ascii())
            .count();
        match count.as_slice() {
            b"0" => (),
            b"1" => assert!(seen >= 1),
            _ => assert!(seen >= 2),
        }
    }
    assert!(
        head.headers
            .iter()
            .all(|(name, value)| !name.is_empty() && !value.contains(&b'\n'))
    );
    Ok(if arguments.len() > 5 {
        "asked with headers"
    } else {
        "asked"
    })
}

#[test]
fn mutated_frames_have_one_meaning() {
    // The words are texts, so longer numbers come from the corpus and from mutations.
    assert_eq!(text(&[b'a'; 240])[..2], [240, 0]);
    Target {
        name: "agent",
        words: WORDS,
        mutations: 3_000,
    }
    .run(judge);
}
