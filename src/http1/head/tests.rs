//! Tables of accepted and refused heads, parsed whole and byte by byte.

use super::*;

const BOUNDS: Bounds = Bounds {
    head_bytes_max: 16 * 1024,
    headers_max: 100,
};

/// The result for `bytes`: 0 for an incomplete head, 200 for an accepted one, otherwise the status of the refusal.
fn status(bytes: &[u8]) -> u16 {
    match read(bytes, bytes.len()) {
        Ok(None) => 0,
        Ok(Some(_)) => 200,
        Err((refusal, _)) => refusal.status,
    }
}

/// Parses bytes that arrive in pieces of the given size. A refusal comes with the number of bytes that were read.
fn read(bytes: &[u8], piece: usize) -> Result<Option<Complete>, (Refusal, usize)> {
    let mut scan = Scan::new();
    let mut end = 0;
    loop {
        end = (end + piece).min(bytes.len());
        match scan.advance(&bytes[..end], BOUNDS) {
            Ok(None) if end < bytes.len() => (),
            Ok(complete) => return Ok(complete),
            Err(refusal) => return Err((refusal, scan.read_bytes())),
        }
    }
}

#[track_caller]
fn check(expected: u16, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    assert_eq!(status(bytes), expected, "at once: {}", bytes.escape_ascii());
    // The text of a refusal depends on what was read: neither may depend on how the bytes arrive.
    let whole = read(bytes, bytes.len());
    for piece in [1, 2, 7, 1000] {
        let in_pieces = read(bytes, piece);
        assert_eq!(
            in_pieces,
            whole,
            "{piece} at a time: {}",
            bytes.escape_ascii()
        );
    }
}

/// A head with one header line more than it needs.
#[track_caller]
fn check_header(expected: u16, line: impl AsRef<[u8]>) {
    check(
        expected,
        [
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            line.as_ref(),
            b"\r\n\r\n",
        ]
        .concat(),
    );
}

#[track_caller]
fn check_line(expected: u16, line: &str) {
    check(expected, format!("{line}\r\nHost: a\r\n\r\n"));
}

#[test]
fn request_lines() {
    for good in [
        "GET / HTTP/1.1",
        "GET /a?b=[c]%20 HTTP/1.0",
        "OPTIONS * HTTP/1.1",
        "M-SEARCH / HTTP/1.1",
    ] {
        check_line(200, good);
    }
    for good in [
        "GET http://evil/x HTTP/1.1",
        "GET HTTPS://[::1]:8443 HTTP/1.1",
        "GET http://a?b HTTP/1.1",
    ] {
        check_line(200, good);
    }
    // attacks 26, 27, 39
    for bad in [
        "GET  HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET  / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / ",
        "GET /",
        "GET",
        " GET / HTTP/1.1",
        "get / HTTP/1.1",
        "GEt / HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET /é HTTP/1.1",
        "GET /#f HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / XTTP/1.1",
        "SSH-2.0-OpenSSH_9.7",
    ] {
        check_line(400, bad);
    }
    for other in [
        "PRI * HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET / HTTP/3.0",
    ] {
        check_line(505, other);
    }
    check_line(405, "CONNECT a:80 HTTP/1.1");
    check_line(405, "TRACE / HTTP/1.1");
}

#[test]
fn content_lengths() {
    for good in [
        "Content-Length: 0",
        "content-length:5",
        "Content-Length: \t5 \t",
        "Content-Length: 9223372036854775807",
    ] {
        check_header(200, good);
    }
    // attacks 2, 10, 11
    for bad in [
        "5, 5",
        "5,6",
        "+5",
        "-1",
        "0x5",
        "",
        "5 5",
        "5.0",
        "9223372036854775808",
        "111111111111111111111111111111",
    ] {
        check_header(400, format!("Content-Length: {bad}"));
    }
    check_header(400, "Content-Length: 5\r\nContent-Length: 6");
    check_header(400, "Content-Length: 5\r\ncontent-length: 5");
}

#[test]
fn transfer_encodings() {
    for good in ["chunked", "Chunked", "CHUNKED", "\tchunked"] {
        check_header(200, format!("Transfer-Encoding: {good}"));
    }
    // attacks 12, 13, 15
    for bad in [
        "identity",
        "gzip",
        "chunked, gzip",
        "gzip, chunked",
        "chunked,",
        "xchunked",
        "",
        "chunked, chunked",
        "\"chunked\"",
    ] {
        check_header(400, format!("Transfer-Encoding: {bad}"));
    }
    check_header(
        400,
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    );
    check_header(400, "Transfer-Encoding : chunked");
    check_header(400, "Content-Length: 5\r\nTransfer-Encoding: chunked");
    check_header(400, "Transfer-Encoding: chunked\r\nContent-Length: 5");
    check(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn header_lines() {
    for good in ["X: é", "X:", "X: a\tb", "x-a!#$%&'*+.^_`|~: 1"] {
        check_header(200, good);
    }
    // attacks 21, 22, 23, 39
    for bad in [
        " X-Forwarded-For: 1",
        "\tX-Forwarded-For: 1",
        "\x0bX-Forwarded-For: 1",
        "\x0cX-Forwarded-For: 1",
        "X: a\nY: b",
        "X: a\rY: b",
        "X: a\0",
        "X: \x7f",
        "X\0: a",
        "X\x7f: a",
        ": x",
        "X Y: 1",
        "X(: 1",
        "X/: 1",
        "é: 1",
        "X",
        "X : 1",
    ] {
        check_header(400, bad);
    }
    check(400, "GET / HTTP/1.1\nHost: a\n\n");
}

#[test]
fn a_control_byte_is_found_wherever_it_stands() {
    for position in 0..50 {
        let line = |byte: &str| format!("X: {}{byte}{}", "a".repeat(position), "\tb".repeat(20));
        check_header(200, line("\t"));
        check_header(400, line("\x01"));
        check_header(400, line("\x7f"));
        check_header(400, line("\n"));
    }
}

#[test]
fn hosts() {
    let delimiters = "a!$&'()*+,;=b:80";
    for good in [
        "a",
        "a.example:8080",
        "[::1]:80",
        "127.0.0.1",
        "a=b",
        delimiters,
        "",
    ] {
        check(200, format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n"));
    }
    for bad in ["a b", "a, b", "u@a", "a/b", "é", "a\"", "<a>"] {
        check(400, format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n"));
    }
    check(400, "GET / HTTP/1.1\r\n\r\n");
    check(200, "GET / HTTP/1.0\r\n\r\n");
    check_header(400, "Host: a");
}

#[test]
fn sizes_on_both_sides_of_their_limit() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1", "a".repeat(bytes - 14));
    check_line(200, &line(REQUEST_LINE_BYTES_MAX));
    check_line(414, &line(REQUEST_LINE_BYTES_MAX + 1));

    let head = |bytes: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "a".repeat(bytes - 32)
        )
    };
    check(200, head(BOUNDS.head_bytes_max));
    check(431, head(BOUNDS.head_bytes_max + 1));

    check_header(200, vec!["X: 1"; 99].join("\r\n"));
    check_header(431, vec!["X: 1"; 100].join("\r\n"));
}

#[test]
fn a_head_is_read_to_its_exact_end() {
    let head = b"POST /p?q HTTP/1.1\r\nHOST: a\r\nContent-Length: \t3 \r\nhost-of: \r\n\r\n";
    let lines = [("host", "a"), ("content-length", "3"), ("host-of", "")];
    let complete = Complete {
        head_bytes: head.len(),
        framing: Framing::Sized(3),
        request_line: RequestLine {
            method: Method::POST,
            target: Target::origin("/p?q"),
            is_http_11: true,
        },
        headers: lines.into_iter().collect(),
    };
    let with_more = [head.as_slice(), b"abcGET"].concat();
    assert_eq!(Scan::new().advance(&with_more, BOUNDS), Ok(Some(complete)));
    assert_eq!(status(&head[..head.len() - 1]), 0);
}

#[test]
fn what_is_no_http_is_refused_at_its_first_byte() {
    check(400, b"\x16\x03\x01\x02\x00"); // attacks 25: a TLS ClientHello
    check(400, b"\0");
    for other in ["{", "<a>", " GET", "\"", "é"] {
        check(400, other);
    }
    check(0, "GET / HT");
    check(0, "get / HT");
}

#[test]
fn the_first_fault_decides_however_the_bytes_arrive() {
    let long = "a".repeat(REQUEST_LINE_BYTES_MAX);
    check(414, format!("GET /{long}\0 HTTP/1.1\r\nHost: a\r\n\r\n"));
    check(414, format!("get /{long}\n"));
    check(400, format!("GET /{}\0{long}", &long[..8000]));
    let head = "a".repeat(BOUNDS.head_bytes_max);
    check(
        431,
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {head}\0\r\n\r\n"),
    );
    check(400, "GET /\0 HTTP/9.9\r\nHost: a\r\n\r\n");
    let seen = |bytes: &[u8]| read(bytes, 1).unwrap_err().1;
    assert_eq!(seen(b"\x16\x03\x01"), 0);
    assert_eq!(seen(b"GET /a\0b"), 6);
    assert_eq!(seen(b"get /a HTTP/1.1\r\nHost: a\r\n\r\n"), 17);
}

/// finding H6: browsers send some of these characters unescaped.
#[test]
fn a_target_may_have_every_visible_ascii_character_but_a_number_sign() {
    for byte in (0x21..0x7f_u8).map(char::from) {
        let status = if byte == '#' { 400 } else { 200 };
        for target in [
            format!("/{byte}a"),
            format!("/?{byte}a"),
            format!("http://h/{byte}a"),
            format!("http://h/?{byte}a"),
        ] {
            check_line(status, &format!("GET {target} HTTP/1.1"));
        }
    }
    for target in ["/\u{7f}", "/a\tb", "/é", "/?é"] {
        check_line(400, &format!("GET {target} HTTP/1.1"));
    }
    check_line(400, "GET http://[::1/ HTTP/1.1");
    check_line(400, "GET http://a:b:c/ HTTP/1.1");
}
