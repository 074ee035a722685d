//! HAProxy that asks Latchkey in its own protocol: what can go wrong between the two besides what all proxies are tested
//! for, and agents that answer strangely.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::client::get;
use crate::harness::proxy::HAPROXY_SPOE;
use crate::harness::stage::Stage;
use crate::wait;

/// What an agent that is not Latchkey sends.
pub enum Answer {
    /// Bytes in the place of the hello, after which it closes the connection.
    Hello(&'static [u8]),
    /// After a good hello these bytes for each question, in which [`IDS`] stands for its identifiers.
    Ack(&'static [&'static [u8]]),
}

/// The part of an answer that stands for the identifiers of the question.
const IDS: &[u8] = b"<ids>";

/// The start of an answer to a question.
const ACK: &[u8] = b"\x67\0\0\0\x01";
/// Lets the request pass.
const ALLOWED: &[u8] = b"\x01\x03\x02\x07allowed\x08\x07allowed";

/// Answers that must not let a request pass. None is a frame without a single byte: it ends HAProxy 2.6.
pub const STRANGE: &[Answer] = &[
    Answer::Hello(b""),
    Answer::Hello(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Answer::Hello(b"\0\0\0\x07\x65\0\0\0\x01\0\0"),
    Answer::Hello(b"\0\0\0\x07\x66\0\0\0\x01\0\0"),
    // An answer before a hello.
    Answer::Hello(b"\0\0\0\x1d\x67\0\0\0\x01\x01\x01\x01\x03\x02\x07allowed\x08\x07allowed"),
    Answer::Ack(&[ACK, IDS]),
    // Of another request.
    Answer::Ack(&[ACK, b"\xef\x01", ALLOWED]),
    Answer::Ack(&[ACK, b"\0\0", ALLOWED]),
    // Another value, type, name or scope, and one that is taken back.
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x07allowed\x08\x03yes"]),
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x07allowed\x08\0"]),
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x07allowed\x11"]),
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x07Allowed\x08\x07allowed"]),
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x03\x07allowed\x08\x07allowed"]),
    Answer::Ack(&[ACK, IDS, ALLOWED, b"\x02\x02\x02\x07allowed"]),
    // A refusal, and statuses that nothing is said about.
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x06status\x03\xf1\x0a"]),
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x06status\x03\xc8"]),
    Answer::Ack(&[ACK, IDS, b"\x01\x03\x02\x06status\x08\x03200"]),
    // Unknown types of frames and of data, and the end.
    Answer::Ack(&[b"\x68\0\0\0\x01", IDS, ALLOWED]),
    Answer::Ack(&[b"\x66\0\0\0\x01\0\0"]),
];

/// Lets every request pass, and names nobody.
pub const NAMELESS: Answer = Answer::Ack(&[ACK, IDS, ALLOWED]);

/// Answers over one connection of HAProxy until it ends.
pub fn give(mut stream: TcpStream, answer: &Answer) {
    let _ = stream.set_read_timeout(Some(wait::PATIENCE));
    while let Some(frame) = next_frame(&mut stream) {
        let bytes = match (answer, frame[0]) {
            (Answer::Hello(bytes), _) => {
                let _ = stream.write_all(bytes);
                return;
            }
            (Answer::Ack(_), 1) => framed(
                b"\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\
                                            \x0ccapabilities\x08\x0apipelining",
            ),
            (Answer::Ack(parts), 3) => {
                let parts = parts.iter().map(|part| match *part == IDS {
                    true => ids(&frame),
                    false => part.to_vec(),
                });
                framed(&parts.collect::<Vec<_>>().concat())
            }
            _ => return,
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// The identifiers of a frame as they are written in it.
fn ids(frame: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| match bytes[0] {
        0..240 => 1,
        _ => 2 + bytes[1..].iter().position(|byte| *byte < 128).unwrap(),
    };
    let first = length(&frame[5..]);
    let both = first + length(&frame[5 + first..]);
    frame[5..5 + both].to_vec()
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

fn next_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// The statuses of two requests over one connection of a client.
fn in_a_row(stage: &Stage, keys: [Option<&str>; 2]) -> [u16; 2] {
    let address = SocketAddr::from(([127, 0, 0, 1], stage.port));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let requests = keys.map(|key| {
        let key = key.map_or_else(String::new, |key| format!("X-API-Key: {key}\r\n"));
        format!("GET / HTTP/1.1\r\nHost: a\r\n{key}\r\n")
    });
    stream.write_all(requests.concat().as_bytes()).unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    let statuses = |seen: &[u8]| -> Vec<u16> {
        let text = String::from_utf8_lossy(seen).into_owned();
        let found = text.match_indices("HTTP/1.1 ");
        found
            .map(|(at, _)| text[at + 9..at + 12].parse().unwrap())
            .collect()
    };
    while statuses(&seen).len() < 2 {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&piece[..length]);
    }
    statuses(&seen).try_into().unwrap()
}

#[test]
fn no_answer_of_an_agent_counts_for_another_question() {
    let Some(mut stage) = Stage::set(&HAPROXY_SPOE) else {
        return;
    };
    let key = stage.reader.secret.clone();
    let good = Some(key.as_str());
    // Of two requests over one connection each has its own answer.
    for _ in 0..20 {
        assert_eq!(in_a_row(&stage, [good, None]), [200, 401]);
        assert_eq!(in_a_row(&stage, [None, good]), [401, 200]);
        assert_eq!(in_a_row(&stage, [good, Some("lk_no")]), [200, 401]);
    }
    // Of two questions about one request the last one counts, also for what only an answer of 200 lets pass.
    let twice = "    http-request send-spoe-group latchkey check\n    \
                 http-request set-var(txn.latchkey.target) str(/auth/haproxy?catalog=billing)\n    \
                 http-request send-spoe-group latchkey check\n";
    let send = "    http-request send-spoe-group latchkey check\n";
    let other = get("/").bearer(&key);
    stage.change(&[(send, twice)]);
    stage.refuses(&other, 403, Some("UNKNOWN_OPERATION"));
    stage.passes(&get("/billing/invoices").bearer(&key));
    stage.change(&[(send, twice), ("-m int 403 }", "-m int 999 }")]);
    assert_eq!(stage.stops(&other).status, 503);
}

#[test]
fn a_question_that_lacks_something_denies() {
    let Some(mut stage) = Stage::set(&HAPROXY_SPOE) else {
        return;
    };
    let good = get("/billing/invoices").bearer(&stage.reader.secret);
    let count = " authorization.count=req.fhdr_cnt(authorization)";
    for (from, to) in [
        ("    args uri=pathq\n", ""),
        ("    args method=method\n", ""),
        ("    args host=req.fhdr(host)\n", ""),
        ("    args client=src\n", ""),
        ("    args target=var(txn.latchkey.target)\n", ""),
        ("args client=src", "args client=var(txn.none)"),
        ("args uri=pathq", "args uri=pathq uri=pathq"),
        (count, ""),
        (count, " authorization.count=var(txn.none)"),
        ("str(/auth/haproxy", "str(/v1/keys"),
    ] {
        stage.change(&[(from, to)]);
        assert_eq!(stage.stops(&good).status, 503, "{from}");
    }
    stage.change(&[]);
    stage.passes(&good);
}

#[test]
fn a_frame_that_is_too_large_denies_and_no_other_request() {
    let Some(mut stage) = Stage::set(&HAPROXY_SPOE) else {
        return;
    };
    let large = "local0 notice\n    tune.bufsize 65536\n";
    stage.change(&[("local0 notice\n", large)]);
    let good = || get("/").header("X-API-Key", &stage.reader.secret);
    stage.passes(&good());
    let large = good().bearer(&"a".repeat(20_000));
    for _ in 0..3 {
        assert_eq!(stage.stops(&large).status, 503);
        stage.passes(&good());
    }
    // One that just fits is asked.
    let reply = stage.stops(&good().bearer(&"a".repeat(15_000)));
    assert_eq!(reply.status, 401, "{}", reply.text());
}

#[test]
fn haproxy_and_latchkey_may_start_again_in_any_order() {
    let Some(mut stage) = Stage::set(&HAPROXY_SPOE) else {
        return;
    };
    let good = get("/billing/invoices").bearer(&stage.reader.secret);
    for _ in 0..3 {
        stage.passes(&good);
        stage.latchkey.stop();
        stage.latchkey.restart();
        stage.passes(&good);
        stage.refuses(&get("/"), 401, None);
        stage.change(&[]);
        stage.passes(&good);
        stage.latchkey.stop();
        assert_eq!(stage.stops(&good).status, 503);
        stage.change(&[]);
        assert_eq!(stage.stops(&good).status, 503);
        stage.latchkey.restart();
        stage.passes(&good);
    }
}
