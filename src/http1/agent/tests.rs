//! The agent over real sockets, in front of the service of the tests of connections.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use super::testing::{
    Value, ack, frame, hello, hello_with, message, needed, notify, number, one, text,
};
use crate::http1::connection::example_service::{NEVER_S, Running, patient, short, until};
use crate::http1::{Limits, Listener};

fn start(limits: Limits, path: &'static str) -> Running {
    Running::start_as(limits, |listener| Listener::AgentTcp(listener, path))
}

/// A connection of HAProxy after both sides have said hello.
fn connect(server: &Running) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(&hello(16_380)).unwrap();
    assert_eq!(one(&mut stream), AGENT_HELLO);
    stream
}

const AGENT_HELLO: &[u8] =
    b"\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\
                             \x0ccapabilities\x08\x0apipelining";

fn variables(of: &[(&str, Option<&str>)]) -> HashMap<String, Option<String>> {
    let owned =
        |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
    of.iter().map(owned).collect()
}

/// The next answer allows the request.
#[track_caller]
fn check_allowed(stream: &mut TcpStream) {
    let told = ack(&one(stream)).2;
    assert_eq!(told["allowed"].as_deref(), Some("allowed"));
}

/// The reason of the last frame of a connection, after which it is closed.
fn reason(stream: &mut TcpStream) -> u8 {
    let frame = one(stream);
    let start = b"\x66\0\0\0\x01\0\0\x0bstatus-code\x03";
    assert!(frame.starts_with(start), "{frame:?}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    frame[start.len()]
}

#[test]
fn a_question_gets_the_answer_of_its_request() {
    let server = start(patient(), "/name");
    let mut stream = connect(&server);
    let named = |value: &'static str| {
        let count = Value::Count(1);
        [
            needed("/name"),
            vec![("x-name", Value::Text(value)), ("x-name.count", count)],
        ]
        .concat()
    };
    stream.write_all(&notify((1, 2), &named("first"))).unwrap();
    let allowed = |name: &str| {
        let pairs = [
            ("status", Some("200")),
            ("x_name", Some(name)),
            ("allowed", Some("allowed")),
        ];
        variables(&pairs)
    };
    assert_eq!(ack(&one(&mut stream)), (1, 2, allowed("first")));
    // Several frames in one piece, and one in many.
    let many = [
        notify((7, 1), &named("second")),
        notify((8, 1), &needed("/name")),
        notify((7, 2), &named("third")),
    ];
    stream.write_all(&many.concat()).unwrap();
    for (stream_id, id, name) in [(7, 1, "second"), (8, 1, "none"), (7, 2, "third")] {
        assert_eq!(ack(&one(&mut stream)), (stream_id, id, allowed(name)));
    }
    for byte in notify((9, 9), &named("slow")) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(ack(&one(&mut stream)), (9, 9, allowed("slow")));
    stream.write_all(&frame(2, 1, (0, 0), b"")).unwrap();
    assert_eq!(reason(&mut stream), 0);
}

/// An answer other than 200 removes what an earlier question of the same request has allowed.
#[test]
fn only_a_200_allows() {
    let server = start(patient(), "/204");
    let mut stream = connect(&server);
    stream.write_all(&notify((1, 1), &needed("/204"))).unwrap();
    let refused = |status: &str| variables(&[("status", Some(status)), ("allowed", None)]);
    assert_eq!(ack(&one(&mut stream)), (1, 1, refused("204")));
    let server = start(patient(), "/panic");
    let mut stream = connect(&server);
    for target in ["/panic", "/panic?blocking"] {
        stream.write_all(&notify((1, 1), &needed(target))).unwrap();
        assert_eq!(ack(&one(&mut stream)), (1, 1, refused("500")));
    }
    let server = start(patient(), "/forgotten");
    let mut stream = connect(&server);
    stream
        .write_all(&notify((1, 1), &needed("/forgotten")))
        .unwrap();
    let (_, _, told) = ack(&one(&mut stream));
    assert_eq!(
        (&told["status"], &told["allowed"]),
        (&Some("503".to_owned()), &None)
    );
}

#[test]
fn a_question_that_waits_delays_no_other_one() {
    let server = start(patient(), "/later");
    let mut stream = connect(&server);
    stream
        .write_all(&notify((1, 1), &needed("/later")))
        .unwrap();
    stream
        .write_all(&notify((2, 1), &needed("/elsewhere")))
        .unwrap();
    // The second one is not asked, and has its answer before the first.
    let (id, _, told) = ack(&one(&mut stream));
    assert_eq!((id, told["status"].as_deref()), (2, Some("400")));
    let others = start(patient(), "/now");
    let mut other = connect(&others);
    until("the first one is answered", || {
        other.write_all(&notify((1, 1), &needed("/now"))).unwrap();
        one(&mut other);
        stream.set_nonblocking(true).unwrap();
        let is_there = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        is_there
    });
    let (id, _, told) = ack(&one(&mut stream));
    assert_eq!((id, told["status"].as_deref()), (1, Some("200")));
}

/// More questions than may wait, whose answers come from blocking threads.
#[test]
fn many_questions_that_wait_are_all_answered() {
    let server = start(patient(), "/name");
    let mut stream = connect(&server);
    let target = "/name?blocking";
    let all: Vec<u8> = (0..200)
        .flat_map(|id| notify((id, 1), &needed(target)))
        .collect();
    stream.write_all(&all).unwrap();
    let mut seen: Vec<u64> = (0..200)
        .map(|_| {
            let (id, _, told) = ack(&one(&mut stream));
            assert_eq!(told["allowed"].as_deref(), Some("allowed"));
            id
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<u64>>());
}

#[test]
fn what_is_no_question_is_not_asked() {
    let server = start(patient(), "/name");
    let mut stream = connect(&server);
    let whole = needed("/name");
    let with = |more: &[(&'static str, Value<'static>)]| [whole.clone(), more.to_vec()].concat();
    let instead = |name: &str, value: Value<'static>| {
        let mut changed = whole.clone();
        changed
            .iter_mut()
            .find(|(known, _)| *known == name)
            .unwrap()
            .1 = value;
        changed
    };
    let mut questions = vec![
        with(&[("method", Value::Text("GET"))]),
        with(&[("target", Value::Text("/name"))]),
        with(&[("client", Value::Ipv4([1; 4]))]),
        instead("target", Value::Text("/204")),
        instead("target", Value::Text("/name/x")),
        instead("target", Value::Text("http://a/name")),
        instead("target", Value::Text("name")),
        instead("target", Value::Text("/name ?a")),
        instead("target", Value::Null),
        instead("method", Value::Null),
        instead("uri", Value::Null),
        instead("uri", Value::Text("/a\r\nx: y")),
        instead("uri", Value::Ipv4([1; 4])),
        instead("host", Value::Count(1)),
        instead("client", Value::Null),
        instead("client", Value::Text("1\n")),
        // A header needs its count, after it.
        with(&[("authorization", Value::Text("Bearer a"))]),
        with(&[("authorization.count", Value::Count(1))]),
        with(&[
            ("authorization", Value::Text("Bearer a")),
            ("x-api-key.count", Value::Count(1)),
        ]),
        with(&[
            ("authorization", Value::Text("Bearer a")),
            ("authorization.count", Value::Text("1")),
        ]),
        with(&[
            ("authorization", Value::Text("Bearer a")),
            ("authorization.count", Value::Null),
        ]),
        with(&[
            ("authorization", Value::Text("Bearer a")),
            ("authorization.count", Value::Count(0)),
        ]),
        with(&[
            ("Authorization", Value::Text("Bearer a")),
            ("Authorization.count", Value::Count(1)),
        ]),
        with(&[("a b", Value::Text("a")), ("a b.count", Value::Count(1))]),
        with(&[("", Value::Text("a")), (".count", Value::Count(1))]),
        with(&[("x", Value::Text("a\0b")), ("x.count", Value::Count(1))]),
        with(&[("x", Value::Ipv4([1; 4])), ("x.count", Value::Count(1))]),
    ];
    for missing in 0..whole.len() {
        let mut rest = whole.clone();
        rest.remove(missing);
        questions.push(rest);
    }
    let not_asked = variables(&[("status", Some("400")), ("allowed", None)]);
    for question in questions {
        stream.write_all(&notify((1, 1), &question)).unwrap();
        assert_eq!(
            ack(&one(&mut stream)),
            (1, 1, not_asked.clone()),
            "{question:?}"
        );
    }
    let two = [message(&whole), message(&whole)].concat();
    for payload in [&b""[..], &two] {
        stream.write_all(&frame(3, 1, (1, 1), payload)).unwrap();
        assert_eq!(ack(&one(&mut stream)), (1, 1, not_asked.clone()));
    }
    // The connection goes on.
    for question in [
        whole.clone(),
        instead("client", Value::Ipv6([1; 16])),
        instead("host", Value::Null),
    ] {
        stream.write_all(&notify((1, 1), &question)).unwrap();
        check_allowed(&mut stream);
    }
}

/// A doubled header stays doubled, and one without a value is there: `/name` answers with the value of a single header.
#[test]
fn the_count_of_a_header_decides() {
    let server = start(patient(), "/name");
    let mut stream = connect(&server);
    for (value, count, seen) in [
        (Value::Null, 0, "none"),
        (Value::Text("a"), 1, "a"),
        (Value::Text(" a\t"), 1, "a"),
        (Value::Null, 1, ""),
        (Value::Text(""), 1, ""),
        (Value::Text("a"), 2, "none"),
        (Value::Null, 2, "none"),
        (Value::Text("a"), u64::MAX, "none"),
    ] {
        let header = vec![("x-name", value), ("x-name.count", Value::Count(count))];
        stream
            .write_all(&notify((1, 1), &[needed("/name"), header].concat()))
            .unwrap();
        let told = ack(&one(&mut stream)).2;
        assert_eq!(told["x_name"].as_deref(), Some(seen), "{value:?} {count}");
    }
}

/// The numbers of the protocol; after such a frame nothing of the connection is read.
#[test]
fn a_frame_that_breaks_the_rules_ends_the_connection() {
    let server = start(patient(), "/name");
    let good = notify((1, 1), &needed("/name"));
    let string = |value: &str| [vec![8], text(value.as_bytes())].concat();
    let items = |version: &str, size: u64| {
        vec![
            ("supported-versions", string(version)),
            ("max-frame-size", [vec![3], number(size)].concat()),
            ("capabilities", string("")),
        ]
    };
    for (sent, status) in [
        (good.clone(), 4),
        (frame(2, 1, (0, 0), b""), 4),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 3),
        (b"\x16\x03\x01\x02\0\x01\0\x01".to_vec(), 3),
        (hello_with(&items("2.0", 16_380)[1..]), 5),
        (hello_with(&[items("2.0", 16_380).remove(0)]), 6),
        (hello_with(&items("2.0", 16_380)[..2]), 7),
        (hello_with(&items("1.0", 16_380)), 8),
        (hello_with(&items("2.0", 255)), 9),
    ] {
        let mut stream = server.connect();
        stream.write_all(&sent).unwrap();
        stream.write_all(&hello(16_380)).unwrap();
        assert_eq!(reason(&mut stream), status, "{sent:?}");
    }
    let other = notify((1, 1), &needed("/other"));
    let raw = |bytes: &'static [u8]| notify((1, 1), &[("method", Value::Raw(bytes))]);
    for (sent, status) in [
        (hello(16_380), 4),
        (frame(3, 0, (1, 1), b""), 10),
        (frame(0, 1, (1, 1), b""), 10),
        (frame(3, 3, (1, 1), b""), 4),
        (frame(3, 1 << 31 | 1, (1, 1), b""), 4),
        (frame(103, 1, (1, 1), b""), 4),
        (vec![0, 0, 0, 6, 3, 0, 0, 0, 1, 1], 4),
        (vec![0, 0, 0x3f, 0xfd], 3),
        (frame(3, 1, (1, 1), b"\x08question\x01"), 4),
        (raw(b"\x0a"), 4),
        (raw(b"\x18\x01a"), 4),
        (
            raw(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            4,
        ),
        (raw(b"\x06\x7f\0\0"), 4),
        // Also behind a first fault, and in a second message.
        ([other.clone(), raw(b"\x0b")].concat(), 4),
    ] {
        let mut stream = connect(&server);
        stream.write_all(&good).unwrap();
        stream.write_all(&sent).unwrap();
        let _ = stream.write_all(&good);
        check_allowed(&mut stream);
        if sent.starts_with(&other) {
            assert_eq!(ack(&one(&mut stream)).2["status"].as_deref(), Some("400"));
        }
        assert_eq!(reason(&mut stream), status, "{sent:?}");
    }
}

#[test]
fn a_frame_has_the_size_that_was_agreed() {
    let server = start(patient(), "/name");
    let mut stream = server.connect();
    stream.write_all(&hello(256)).unwrap();
    assert!(
        one(&mut stream)
            .windows(17)
            .any(|part| part == b"max-frame-size\x03\xf0\x01")
    );
    let with = |value: &str| {
        let header = vec![
            ("x-name", Value::Text(value)),
            ("x-name.count", Value::Count(1)),
        ];
        notify((1, 1), &[needed("/name"), header].concat())
    };
    let rest = 256 - (with("").len() - 4);
    // The length of the value takes one byte in both.
    assert!(rest < 240);
    stream.write_all(&with(&"a".repeat(rest))).unwrap();
    let told = ack(&one(&mut stream)).2;
    assert_eq!(told["x_name"].as_deref().map(str::len), Some(rest));
    stream.write_all(&with(&"a".repeat(rest + 1))).unwrap();
    assert_eq!(reason(&mut stream), 3);
}

#[test]
fn an_answer_that_is_larger_than_agreed_denies() {
    let server = start(patient(), "/name");
    let mut stream = connect(&server);
    let value = "a".repeat(16_000);
    let header = vec![
        ("x-name", Value::Text(&value)),
        ("x-name.count", Value::Count(1)),
    ];
    let question = notify((1, 1), &[needed("/name"), header].concat());
    stream.write_all(&question).unwrap();
    let whole = one(&mut stream);
    assert!(whole.len() > 16_000 && whole.ends_with(b"\x07allowed\x08\x07allowed"));
    drop(stream);
    let mut stream = server.connect();
    stream.write_all(&hello(256)).unwrap();
    one(&mut stream);
    let value = "a".repeat(150);
    let header = vec![
        ("x-name", Value::Text(&value)),
        ("x-name.count", Value::Count(1)),
    ];
    let mut arguments = [needed("/name"), header].concat();
    arguments[2].1 = Value::Text("/");
    let question = notify((1, 1), &arguments);
    assert!(question.len() <= 260, "{}", question.len());
    stream.write_all(&question).unwrap();
    check_allowed(&mut stream);
}

#[test]
fn a_health_check_is_answered_and_ends() {
    let server = start(patient(), "/name");
    for (flag, ends) in [(0x11, true), (0x01, false)] {
        let mut stream = server.connect();
        let check = hello_with(&[
            ("supported-versions", [vec![8], text(b"2.0")].concat()),
            ("max-frame-size", [vec![3], number(16_380)].concat()),
            ("capabilities", [vec![8], text(b"")].concat()),
            ("healthcheck", vec![flag]),
        ]);
        stream.write_all(&check).unwrap();
        assert_eq!(one(&mut stream), AGENT_HELLO);
        if ends {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        } else {
            stream.write_all(&notify((1, 1), &needed("/name"))).unwrap();
            ack(&one(&mut stream));
        }
    }
}

#[test]
fn every_wait_has_an_end() {
    let server = start(
        Limits {
            idle_s: NEVER_S,
            ..short()
        },
        "/name",
    );
    // A hello and a frame that do not end.
    let mut stream = server.connect();
    stream.write_all(&hello(16_380)[..9]).unwrap();
    assert_eq!(reason(&mut stream), 2);
    let mut stream = connect(&server);
    stream
        .write_all(&notify((1, 1), &needed("/name"))[..9])
        .unwrap();
    assert_eq!(reason(&mut stream), 2);
    // No question.
    let server = start(short(), "/name");
    let mut stream = connect(&server);
    assert_eq!(reason(&mut stream), 0);
    let mut stream = server.connect();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    // HAProxy does not read.
    let mut stream = connect(&server);
    let value = "a".repeat(16_000);
    let header = vec![
        ("x-name", Value::Text(&value)),
        ("x-name.count", Value::Count(1)),
    ];
    let question = notify((1, 1), &[needed("/name"), header].concat());
    until("the connection was reset", || {
        stream.write_all(&question).is_err()
    });
}

#[test]
fn a_server_that_stops_says_so_and_answers_before() {
    let mut server = start(patient(), "/name");
    let mut idle = connect(&server);
    server.stopper.stop();
    assert_eq!(reason(&mut idle), 0);
    server.join();
}
