//! The application behind the proxy. It answers every request with the request that arrived, and accepts every change
//! of protocol that a client asks for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

const ADDRESS: &str = "127.0.0.1:9000";

static REQUESTS: AtomicUsize = AtomicUsize::new(0);
static LISTENER: OnceLock<()> = OnceLock::new();

/// A request as the application received it.
pub struct Seen(Value);

/// Starts the one application of this test run, unless it runs already.
pub fn start() {
    LISTENER.get_or_init(|| {
        let listener = TcpListener::bind(ADDRESS).expect("port 9000 is free");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
    });
}

/// How many requests have reached the application so far.
pub fn requests() -> usize {
    REQUESTS.load(Ordering::SeqCst)
}

impl Seen {
    pub fn new(echo: Value) -> Seen {
        Seen(echo)
    }

    pub fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    /// All values under this name, and under names that an application may treat as equal: names that differ in case,
    /// or that have `_` or `.` instead of `-`.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let headers = self.0["headers"].as_array().unwrap().iter();
        headers
            .filter(|header| plain(header[0].as_str().unwrap()) == plain(name))
            .map(|header| header[1].as_str().unwrap())
            .collect()
    }

    /// The lines that followed the body.
    pub fn trailers(&self) -> Vec<&str> {
        let lines = self.0["trailers"].as_array().unwrap().iter();
        lines.map(|line| line.as_str().unwrap()).collect()
    }

    /// The whole request as one text to search in.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Answers request after request until the proxy closes the connection.
fn serve(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let first = line(&mut reader)?;
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        let mut headers = Vec::new();
        while let Some((name, value)) = line(&mut reader)?.split_once(':') {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let upgrade = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
        if let Some((_, protocol)) = upgrade {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).ok()?;
            return tunnel(reader, stream);
        }
        let (body, trailers) = body(&mut reader, &headers)?;
        let (method, target) = first.split_once(' ')?;
        let echo = json!({
            "method": method,
            "target": target.trim_end_matches(" HTTP/1.1"),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
            "trailers": trailers,
        });
        let echo = echo.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", echo.len());
        stream.write_all((head + &echo).as_bytes()).ok()?;
    }
}

/// The answer of a WebSocket server to the key of RFC 6455, section 1.3, which the tests send.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// After an upgrade the application returns everything that the client sends, after this word.
pub const TUNNEL: &[u8] = b"TUNNEL ";

fn tunnel(mut reader: impl Read, mut stream: TcpStream) -> Option<()> {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = reader.read(&mut piece) {
        stream.write_all(TUNNEL).ok()?;
        stream.write_all(&piece[..length]).ok()?;
    }
    None
}

/// `None` at the end of the connection.
fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    let length = reader.read_until(b'\n', &mut bytes).ok()?;
    (length > 0).then(|| String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// The body, and the lines that follow it.
fn body(reader: &mut impl BufRead, headers: &[(String, String)]) -> Option<(Vec<u8>, Vec<String>)> {
    let value = |wanted: &str| {
        let mut found = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value)
    };
    if value("Transfer-Encoding").is_none() {
        let length = value("Content-Length")
            .map_or(Ok(0), |text| text.parse())
            .ok()?;
        return Some((exactly(reader, length)?, Vec::new()));
    }
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(reader)?, 16).ok()?;
        if length == 0 {
            break;
        }
        body.extend(exactly(reader, length)?);
        line(reader)?;
    }
    let mut trailers = Vec::new();
    loop {
        match line(reader)? {
            end if end.is_empty() => return Some((body, trailers)),
            trailer => trailers.push(trailer),
        }
    }
}

fn exactly(reader: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
