//! Frames of HAProxy for tests, written without the code that reads them, and answers read without the code that writes them.

use std::collections::HashMap;
use std::io::Read;

/// A number in the form of the protocol.
pub fn number(mut number: u64) -> Vec<u8> {
    if number < 240 {
        return vec![number as u8];
    }
    let mut bytes = vec![(number & 15) as u8 | 240];
    number = (number - 240) / 16;
    while number >= 128 {
        bytes.push((number & 127) as u8 | 128);
        number = (number - 128) / 128;
    }
    bytes.push(number as u8);
    bytes
}

pub fn text(text: &[u8]) -> Vec<u8> {
    [number(text.len() as u64), text.to_vec()].concat()
}

/// A frame with its length, type, flags and identifiers.
pub fn frame(kind: u8, flags: u32, ids: (u64, u64), payload: &[u8]) -> Vec<u8> {
    let start = [&[kind][..], &flags.to_be_bytes()].concat();
    let frame = [start, number(ids.0), number(ids.1), payload.to_vec()].concat();
    [(frame.len() as u32).to_be_bytes().to_vec(), frame].concat()
}

/// The hello of HAProxy 2.6, with this size of frames.
pub fn hello(frame_bytes_max: u64) -> Vec<u8> {
    hello_with(&[
        ("supported-versions", [vec![8], text(b"2.0")].concat()),
        (
            "max-frame-size",
            [vec![3], number(frame_bytes_max)].concat(),
        ),
        (
            "capabilities",
            [vec![8], text(b"pipelining,async")].concat(),
        ),
        ("engine-id", [vec![8], text(b"0f")].concat()),
    ])
}

pub fn hello_with(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let item = |(name, value): &(&str, Vec<u8>)| [text(name.as_bytes()), value.clone()].concat();
    let items: Vec<Vec<u8>> = items.iter().map(item).collect();
    frame(1, 1, (0, 0), &items.concat())
}

/// A value with its type.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Count(u64),
    Ipv4([u8; 4]),
    Ipv6([u8; 16]),
    Null,
    Text(&'a str),
    /// Any bytes in the place of a value.
    Raw(&'a [u8]),
}

pub fn message(arguments: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut bytes = [text(b"question"), vec![arguments.len() as u8]].concat();
    for (name, value) in arguments {
        bytes.extend(text(name.as_bytes()));
        bytes.extend(match value {
            Value::Count(count) => [vec![4], number(*count)].concat(),
            Value::Ipv4(address) => [&[6][..], address].concat(),
            Value::Ipv6(address) => [&[7][..], address].concat(),
            Value::Null => vec![0],
            Value::Text(value) => [vec![8], text(value.as_bytes())].concat(),
            Value::Raw(bytes) => bytes.to_vec(),
        });
    }
    bytes
}

/// The arguments that a question must have, with this target.
pub fn needed(target: &str) -> Vec<(&'static str, Value<'_>)> {
    vec![
        ("target", Value::Text(target)),
        ("method", Value::Text("GET")),
        ("uri", Value::Text("/a?b")),
        ("host", Value::Text("h")),
        ("client", Value::Ipv4([203, 0, 113, 9])),
    ]
}

pub fn notify(ids: (u64, u64), arguments: &[(&str, Value<'_>)]) -> Vec<u8> {
    frame(3, 1, ids, &message(arguments))
}

/// The next frame, without its length.
pub fn one(stream: &mut impl Read) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    frame
}

/// An answer: its identifiers, and its variables. A variable that is removed has no value.
pub fn ack(frame: &[u8]) -> (u64, u64, HashMap<String, Option<String>>) {
    assert_eq!(&frame[..5], b"\x67\0\0\0\x01", "{frame:?}");
    let mut rest = &frame[5..];
    let (stream, id) = (take_number(&mut rest), take_number(&mut rest));
    let mut variables = HashMap::new();
    while !rest.is_empty() {
        let action = rest[0];
        // The number of its arguments, and the scope of the transaction.
        assert_eq!((rest[1], rest[2]), (4 - action, 2));
        rest = &rest[3..];
        let name = take_text(&mut rest);
        let value = (action == 1).then(|| {
            let kind = rest[0];
            rest = &rest[1..];
            match kind {
                3 => take_number(&mut rest).to_string(),
                8 => take_text(&mut rest),
                other => panic!("type {other}"),
            }
        });
        assert!(variables.insert(name, value).is_none());
    }
    (stream, id, variables)
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    let first = bytes[0];
    *bytes = &bytes[1..];
    let mut found = u64::from(first);
    let mut weight = 16;
    let mut goes_on = first >= 240;
    while goes_on {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        found += u64::from(byte) * weight;
        weight *= 128;
        goes_on = byte >= 128;
    }
    found
}

fn take_text(bytes: &mut &[u8]) -> String {
    let length = take_number(bytes) as usize;
    let (text, rest) = bytes.split_at(length);
    *bytes = rest;
    String::from_utf8(text.to_vec()).unwrap()
}
