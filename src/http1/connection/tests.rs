//! The whole server over real sockets: panics, deadlines, connection slots, bodies, the drain.
//!
//! Tests of deadlines shorten them to a second; the tests against the real executable cannot do that. In all other tests
//! no deadline but the one of idle connections is ever reached.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::example_service::*;
use crate::http1::Limits;

#[test]
fn a_panic_is_a_500_and_the_connection_goes_on() {
    let server = Running::start(Limits {
        idle_s: NEVER_S,
        ..patient()
    });
    let mut stream = server.connect();
    for path in ["/panic", "/panic?blocking"] {
        stream
            .write_all(GET.replace("/ ", &format!("{path} ")).as_bytes())
            .unwrap();
        check(&one(&mut stream), &[500]);
    }
    stream.write_all(GET.as_bytes()).unwrap();
    check(&one(&mut stream), &[200]);
    let post = "POST /rule HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na";
    check(&server.ask(post), &[500]);
}

#[test]
fn a_late_head_and_a_late_body_are_told_so() {
    let server = Running::start(Limits {
        idle_s: NEVER_S,
        ..short()
    });
    check(&server.ask("GET / HTTP/1.1\r\nHo"), &[408]);
    check(
        &server.ask("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n123"),
        &[408],
    );
    check(&server.ask(&format!("{GET}GET")), &[200, 408]);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = Running::start(short());
    check(&server.ask(""), &[]);
    check(&server.ask(GET), &[200]);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = Running::start(short());
    let mut stream = server.connect();
    stream
        .write_all(GET.replace("/ ", "/big ").as_bytes())
        .unwrap();
    // The server reads nothing more from this client, so a write fails only when the connection is reset.
    until("the connection was reset", || {
        stream.write_all(b"G").is_err()
    });
}

#[test]
fn a_refusal_follows_the_answers_to_what_came_before() {
    let server = Running::start(patient());
    check(
        &server.ask(&format!("{GET}{GET}BAD\r\n\r\n{GET}")),
        &[200, 200, 400],
    );
    check(&server.ask(&format!("{GET}\r\n{GET}\n")), &[200, 200, 400]);
}

#[test]
fn bodies_are_bounded_and_never_taken_for_requests() {
    let server = Running::start(patient());
    let post = |path: &str, headers: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}")
    };

    check(
        &server.ask(&post("/body", "Content-Length: 9", GET)),
        &[413],
    );
    check(
        &server.ask(&post(
            "/body",
            "Content-Length: 8",
            &format!("12345678{GET}"),
        )),
        &[200, 200],
    );
    check(
        &server.ask(&post("/", "Content-Length: 27", &format!("{GET}{GET}"))),
        &[200],
    );
    check(
        &server.ask(&post(
            "/body",
            "Transfer-Encoding: chunked",
            &format!("3\r\nabc\r\n0\r\n\r\n{GET}"),
        )),
        &[200],
    );
    check(
        &server.ask(&post(
            "/body",
            "Transfer-Encoding: chunked",
            "9\r\n123456789\r\n0\r\n\r\n",
        )),
        &[413],
    );
    check(
        &server.ask(&post(
            "/body",
            "Transfer-Encoding: chunked",
            "3;a=b\r\nabc\r\n0;c\r\nX: 1\r\n\r\n",
        )),
        &[200],
    );
    check(
        &server.ask(&post(
            "/body",
            "Transfer-Encoding: chunked",
            "3 \r\nabc\r\n0\r\n\r\n",
        )),
        &[400],
    );
    check(
        &server.ask(&post(
            "/",
            "Transfer-Encoding: chunked",
            &format!("1b\r\n{GET}"),
        )),
        &[200],
    );
    check(
        &server.ask(&post("/body", "Content-Length: 1\r\nExpect: x", "a")),
        &[417],
    );
    check(
        &server.ask(&post(
            "/body",
            "Content-Length: 9\r\nExpect: 100-continue",
            "",
        )),
        &[413],
    );
    check(
        &server.ask(&post(
            "/body",
            "Content-Length: 1\r\nExpect: 100-continue",
            "a",
        )),
        &[100, 200],
    );
    for both in [
        "100-continue\r\nExpect: foo",
        "foo\r\nExpect: 100-continue",
        "100-continue, foo",
        "",
    ] {
        let headers = format!("Content-Length: 1\r\nExpect: {both}");
        check(&server.ask(&post("/body", &headers, "a")), &[417]);
    }
    let twice = "Content-Length: 1\r\nExpect: 100-Continue\r\nExpect: 100-continue";
    check(&server.ask(&post("/body", twice, "a")), &[100, 200]);
}

#[test]
fn a_newcomer_takes_the_place_of_the_longest_idle() {
    let server = Running::start(Limits {
        connections_max: 2,
        idle_s: NEVER_S,
        ..patient()
    });
    let [mut older, mut newer] = std::array::from_fn(|_| {
        let mut stream = server.connect();
        stream.write_all(GET.as_bytes()).unwrap();
        check(&one(&mut stream), &[200]);
        stream
    });
    let mut newcomer = server.connect();
    newcomer.write_all(GET.as_bytes()).unwrap();
    check(&one(&mut newcomer), &[200]);
    check(&rest(&mut older), &[]);
    newer.write_all(GET.as_bytes()).unwrap();
    check(&one(&mut newer), &[200]);
}

#[test]
fn the_drain_answers_what_was_begun_and_then_ends() {
    let mut server = Running::start(Limits {
        idle_s: NEVER_S,
        ..patient()
    });
    let mut idle = server.connect();
    let mut busy = server.connect();
    busy.write_all(
        b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    )
    .unwrap();
    check(&one(&mut busy), &[100]);

    server.stopper.stop();
    check(&rest(&mut idle), &[]);
    busy.write_all(b"x").unwrap();
    let answer = rest(&mut busy);

    check(&answer, &[200]);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.join();
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn answers_without_a_body_are_framed_as_such() {
    let server = Running::start(Limits {
        idle_s: NEVER_S,
        ..patient()
    });
    for (line, status) in [
        ("GET /204", 204),
        ("GET /304", 304),
        ("HEAD /text", 200),
        ("GET /100", 500),
    ] {
        let mut stream = server.connect();
        // Sends two requests: if the first answer had a body, the second answer would not be parsed as one.
        let request = GET.replace("GET /", line);
        stream
            .write_all(format!("{request}{request}").as_bytes())
            .unwrap();
        let (first, second) = (one(&mut stream), one(&mut stream));
        check(&first, &[status]);
        check(&second, &[status]);
        assert_eq!(
            first.contains("content-length"),
            !matches!(status, 204 | 304),
            "{first}"
        );
    }
}

#[test]
fn whatever_a_request_says_a_bad_one_behind_it_is_answered() {
    let server = Running::start(patient());
    let lines = [
        "",
        "Upgrade: h2c\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: TLS/1.0, HTTP/1.1, h2c\r\n",
        "Connection: keep-alive, x\r\nKeep-Alive: timeout=5\r\n",
        "Proxy-Connection: close\r\n",
        "TE: trailers, chunked\r\nTrailer: X\r\n",
        "Content-Length: 0\r\n",
        "Expect: 100-continue\r\n",
        "Date: x\r\nContent-Encoding: gzip\r\nContent-Type: multipart/byteranges\r\n",
    ];
    for (number, line) in lines.iter().enumerate() {
        for start in [
            "GET /",
            "HEAD /",
            "GET /?blocking",
            "POST /",
            "OPTIONS /",
            "M-SEARCH /",
        ] {
            let request = format!("{start} HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            check(&server.ask(&format!("{request}BAD\r\n\r\n")), &[200, 400]);
            check(
                &server.ask(&format!("{request}{request}\n")),
                &[200, 200, 400],
            );
        }
        if number < 8 {
            let request =
                format!("PUT /body HTTP/1.1\r\nHost: a\r\n{line}Content-Length: 3\r\n\r\nabc");
            check(&server.ask(&format!("{request}BAD\r\n\r\n")), &[200, 400]);
            // The answer to a body that is not read must not be lost to a connection reset.
            let large = request.replace("3\r\n\r\nabc", "300000\r\n\r\n") + &"x".repeat(300_000);
            check(&server.ask(&large), &[413]);
        }
    }
}

#[test]
fn a_refused_head_request_has_no_body() {
    let server = Running::start(short());
    let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    for bad in [
        "/ HTTP/1.1\r\n\r\n",
        "/ HTTP/1.2\r\n\r\n",
        "/\0",
        "/ HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "/ HTTP/1.1\r\nHo", // incomplete until its deadline
    ] {
        let answers = ["HEAD", "GET"].map(|method| server.ask(&format!("{method} {bad}")));
        assert_eq!(body(&answers[0]), "", "{bad:?}");
        assert_ne!(body(&answers[1]), "", "{bad:?}");
        let length = format!("content-length: {}\r\n", body(&answers[1]).len());
        assert!(answers[0].contains(&length), "{}", answers[0]);
    }
}

#[test]
fn requests_are_answered_in_their_order_wherever_they_run() {
    let server = Running::start(patient());
    let kinds = [
        "GET /name HTTP/1.1\r\nHost: a\r\nX-Name: NAME\r\n\r\n",
        "GET /name?blocking HTTP/1.1\r\nHost: a\r\nX-Name: NAME\r\n\r\n",
        "POST /name HTTP/1.1\r\nHost: a\r\nX-Name: NAME\r\nContent-Length: 0\r\n\r\n",
        "GET /name HTTP/1.1\r\nHost: a\r\nX-Name: NAME\r\nConnection: x\r\n\r\n",
    ];
    let kind = |number: usize| kinds[number * number % 7 % kinds.len()];
    let requests: String = (0..200)
        .map(|number| kind(number).replace("NAME", &number.to_string()))
        .collect();
    let answers = server.ask(&format!("{requests}{GET}BAD\r\n"));
    let names: Vec<&str> = answers
        .lines()
        .filter_map(|line| line.strip_prefix("x-name: "))
        .collect();
    let expected: Vec<String> = (0..200).map(|number: usize| number.to_string()).collect();
    assert_eq!(names, expected);
    check(&answers, &[[200; 201].as_slice(), &[400]].concat());
}

/// It occupies no thread meanwhile: more requests wait than there are threads, and others are answered.
#[test]
fn an_answer_that_comes_later_keeps_its_place() {
    let server = Running::start(Limits {
        connections_max: 200,
        ..patient()
    });
    let later = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
    let behind = "GET /204 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut waiting: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = server.connect();
            stream
                .write_all(format!("{later}{behind}").as_bytes())
                .unwrap();
            stream
        })
        .collect();
    let forgotten = "GET /forgotten HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    check(&server.ask(forgotten), &[503]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let now = "GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                check(&server.ask(now), &[204]);
            }
        });
        for stream in &mut waiting {
            let answers = rest(stream);
            check(&answers, &[200, 204]);
            assert!(answers.contains("late"), "{answers}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_client_that_asks_and_does_not_read_is_held_up_and_then_cut_off() {
    let server = Running::start(Limits {
        write_s: 3,
        ..short()
    });
    let mut stream = server.connect();
    let requests = GET.repeat(100);
    stream
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    // The kernel buffers a few megabytes of answers, and then of requests, on either side.
    let mut sent = 0;
    while stream.write_all(requests.as_bytes()).is_ok() {
        sent += requests.len();
        assert!(sent < 64 * 1024 * 1024, "nobody holds this client up");
    }
    until("the connection was reset", || {
        let written = stream.write_all(b"G");
        written.is_err_and(|err| err.kind() != std::io::ErrorKind::WouldBlock)
    });
}

#[test]
fn http_1_0_is_closed_unless_it_asks_to_stay() {
    let server = Running::start(patient());
    let request = "GET / HTTP/1.0\r\n\r\n";
    let closed = server.ask(&format!("{request}{request}"));
    assert_eq!(closed.matches("HTTP/1.0 200").count(), 1, "{closed}");
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let kept = server.ask(&format!("{request}{request}"));
    assert_eq!(kept.matches("HTTP/1.0 200").count(), 2, "{kept}");
    assert_eq!(kept.matches("connection: keep-alive").count(), 2, "{kept}");
}

#[test]
fn every_answer_carries_its_id_and_is_not_stored() {
    let server = Running::start(patient());
    let mut ids = Vec::new();
    for request in [
        GET,
        "BAD\r\n",
        "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
    ] {
        let answer = server.ask(request).to_lowercase();
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
        assert!(
            answer.contains("\r\ndate: sun, 06 nov 1994 08:49:37 gmt\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("x-content-type-options: nosniff\r\n"),
            "{answer}"
        );
        ids.extend(
            answer
                .lines()
                .find_map(|line| line.strip_prefix("x-request-id: "))
                .map(str::to_owned),
        );
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

/// Sends the head of a request and half of its body.
fn half_sent(server: &Running, bytes: usize) -> TcpStream {
    let mut stream = server.connect();
    let head = format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; bytes / 2]).unwrap();
    stream
}

#[test]
fn without_room_for_answers_only_large_ones_that_can_be_asked_for_again_are_refused() {
    let server = Running::start(Limits {
        answers_bytes_max: 0,
        ..patient()
    });
    for (method, path, status) in [
        ("GET", "/text", 200),
        ("GET", "/shared", 200),
        ("GET", "/big", 503),
        ("GET", "/big?blocking", 503),
        ("POST", "/repeatable", 503),
        ("HEAD", "/big", 200),
        // The answer to a change is sent even when memory is short.
        ("POST", "/big", 200),
        ("POST", "/big?blocking", 200),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n");
        check(&server.ask(&request), &[status, 400]);
    }
}

#[test]
fn clients_that_do_not_read_give_way_when_their_answers_fill_the_memory() {
    let server = Running::start(Limits {
        answers_bytes_max: 2 * BIG,
        write_s: NEVER_S,
        ..patient()
    });
    let big = GET.replace("/ ", "/big ");
    let held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(big.as_bytes()).unwrap();
            stream
        })
        .collect();
    let big = big.clone() + "BAD\r\n";
    let is_answered = || server.ask(&big).starts_with("HTTP/1.1 200");
    until("the memory is full", || !is_answered());
    until("a slow client gave way", is_answered);
    drop(held);
}

/// A head of so many bytes.
fn head_of(bytes: usize) -> String {
    let line = "GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ";
    format!("{line}{}\r\n\r\n", "x".repeat(bytes - line.len() - 4))
}

#[test]
fn a_head_is_taken_up_to_its_bound_and_its_memory_is_given_back() {
    const MAX: usize = 64 * 1024;
    let server = Running::start(Limits {
        head_bytes_max: MAX,
        // For one head of this size, and no second.
        heads_bytes_max: 100 * 1024,
        ..patient()
    });
    for _ in 0..3 {
        assert_eq!(server.ask(&head_of(MAX))[..12], *"HTTP/1.1 200");
        assert_eq!(server.ask(&head_of(MAX + 1))[..12], *"HTTP/1.1 431");
    }
    // On one connection, answered on both kinds of threads, with another request behind it.
    let long = head_of(MAX).replace("Connection: close", "Connection: going");
    let mut stream = server.connect();
    for path in ["/text", "/text?blocking", "/shared"] {
        let request = long.replacen("/text", path, 1);
        let request = match path {
            "/text" => request,
            // The path is longer, so the value is shorter.
            _ => request.replacen(&"x".repeat(path.len() - 5), "", 1),
        };
        assert_eq!(request.len(), MAX, "{path}");
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(GET.as_bytes()).unwrap();
    }
    stream.write_all(head_of(MAX).as_bytes()).unwrap();
    let answers = rest(&mut stream);
    assert_eq!(
        answers.matches("HTTP/1.1 200").count(),
        7,
        "{}",
        answers.len()
    );
}

#[test]
fn large_heads_that_never_end_leave_room_for_others() {
    let server = Running::start(Limits {
        head_bytes_max: 64 * 1024,
        heads_bytes_max: 100 * 1024,
        head_s: NEVER_S,
        ..patient()
    });
    let unfinished = |bytes: usize| {
        let mut stream = server.connect();
        let head = head_of(bytes + 2);
        stream.write_all(&head.as_bytes()[..bytes]).unwrap();
        stream
    };
    let held = unfinished(60 * 1024);
    let is_answered = || server.ask(&head_of(40 * 1024)).starts_with("HTTP/1.1 200");
    until("the memory is full", || !is_answered());
    // A head with little more than a key is always answered, and so is a large one after the slow client has left.
    assert_eq!(server.ask(&head_of(16 * 1024 - 1))[..12], *"HTTP/1.1 200");
    until("the slow client gave way", is_answered);
    drop(held);
}

#[test]
fn large_bodies_share_what_there_is_and_give_it_back() {
    let half = 2 * 1024 * 1024;
    let server = Running::start(Limits {
        bodies_bytes_max: 3 * half,
        body_s: NEVER_S,
        ..patient()
    });
    let post = |bytes: usize| {
        let head = format!(
            "POST /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
        );
        server.ask(&(head + &"x".repeat(bytes)))[..12].to_owned()
    };
    assert_eq!(post(2 * half), "HTTP/1.1 200");
    let held = [half_sent(&server, 2 * half), half_sent(&server, 2 * half)];
    until(
        "both halves have arrived and too little memory is left",
        || post(2 * half) != "HTTP/1.1 200",
    );
    assert_eq!(
        post(64 * 1024),
        "HTTP/1.1 200",
        "a small body is never refused"
    );
    drop(held);
    until("the memory was given back", || {
        post(2 * half) == "HTTP/1.1 200"
    });
}

#[test]
fn a_body_that_all_large_bodies_together_could_not_have_is_refused_before_it_is_sent() {
    let server = Running::start(Limits {
        bodies_bytes_max: 1024 * 1024,
        ..patient()
    });
    let head = |bytes: usize| {
        format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n")
    };
    assert_eq!(server.ask(&head(2 * 1024 * 1024))[..12], *"HTTP/1.1 413");
}
