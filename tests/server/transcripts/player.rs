//! Plays a transcript with a server that is started for it.

use super::names::Names;
use super::pattern::compact;
use super::reader::{Answer, Exchange, Failure, Header, Step, Transcript};
use crate::support::{Address, Response, Server, together, wait};

/// Plays a transcript to its end, or to the first answer that does not match.
pub fn play(transcript: &Transcript) -> Result<(), Failure> {
    let start: Vec<&str> = transcript.start.iter().map(String::as_str).collect();
    let mut server = Server::start_with(&start, &[]);
    let mut names = names_of(&server);
    for step in &transcript.steps {
        match step {
            Step::Exchange(exchange) => {
                let told = |(line, why)| (line, format!("{why}{}", last_of(&server.log())));
                exchange.play(&server, &mut names).map_err(told)?;
            }
            Step::Restart => server.restart(),
            Step::Wait(time) => wait::pause(*time),
        }
    }
    Ok(())
}

/// The names that every transcript can use: `admin` (the management key), `owner` and `owner_password`, `secret` (an
/// ordinary key), `host` (address and port).
fn names_of(server: &Server) -> Names {
    let mut names = Names::default();
    names.set("admin", &server.management_key);
    names.set("owner", &server.owner_user_name);
    names.set("owner_password", &server.owner_password);
    names.set("secret", &server.secret);
    names.set("host", &server.address.to_string());
    names
}

impl Exchange {
    fn play(&self, server: &Server, names: &mut Names) -> Result<(), Failure> {
        let address = match self.manner.socket {
            true => Address::Unix(server.socket.clone()),
            false => server.tcp(),
        };
        for _ in 0..self.manner.repeat {
            let request = self
                .bytes(names, &address)
                .map_err(|why| (self.line, why))?;
            if self.manner.together == 1 {
                let answer = send(&address, &request).map_err(|why| (self.line, why))?;
                self.answers[0].compare(&answer, self.manner.bytes, names)?;
                continue;
            }
            let sent = together(self.manner.together, |_| send(&address, &request));
            let answers: Result<Vec<Response>, String> = sent.into_iter().collect();
            self.compare_all(&answers.map_err(|why| (self.line, why))?, names)?;
        }
        Ok(())
    }

    /// Exactly one answer must match the winner's pattern, and each of the others must match the other pattern.
    fn compare_all(&self, found: &[Response], names: &mut Names) -> Result<(), Failure> {
        let [winner, others] = &self.answers[..] else {
            return Err((self.line, "two answers are needed".to_owned()));
        };
        let won: Vec<&Response> = found
            .iter()
            .filter(|one| one.status == winner.status)
            .collect();
        if won.len() != 1 {
            let (count, all, status) = (won.len(), found.len(), winner.status);
            let why = format!("{count} of {all} answers have the status {status}, not one");
            return Err((winner.line, why));
        }
        winner.compare(won[0], self.manner.bytes, names)?;
        for other in found.iter().filter(|one| one.status != winner.status) {
            others.compare(other, self.manner.bytes, names)?;
        }
        Ok(())
    }

    /// The bytes of the request. `Host`, `Connection: close` and `Content-Length` are added if the transcript does not
    /// have them.
    fn bytes(&self, names: &Names, address: &Address) -> Result<Vec<u8>, String> {
        let version = match self.first.rsplit_once(' ') {
            Some((_, last)) if last.starts_with("HTTP/") => "",
            _ => " HTTP/1.1",
        };
        let fill = |text: &str| {
            let filled = names.fill(text)?;
            match self.manner.escapes {
                true => unescaped(&filled),
                false => Ok(filled.into_bytes()),
            }
        };
        let mut bytes = fill(&self.first)?;
        bytes.extend_from_slice(format!("{version}\r\n").as_bytes());
        for (name, value) in &self.headers {
            bytes.extend(fill(&format!("{name}:{value}"))?);
            bytes.extend_from_slice(b"\r\n");
        }
        let body = self
            .body
            .as_deref()
            .map(fill)
            .transpose()?
            .unwrap_or_default();
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        let host = match address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        for (name, value, wanted) in [
            ("Host", host, true),
            ("Connection", "close".to_owned(), true),
            (
                "Content-Length",
                body.len().to_string(),
                !body.is_empty() && !has("Transfer-Encoding"),
            ),
        ] {
            if wanted && !has(name) {
                bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend(body);
        Ok(bytes)
    }
}

fn send(address: &Address, request: &[u8]) -> Result<Response, String> {
    let received = address.raw(request, wait::PATIENCE);
    let sent = String::from_utf8_lossy(request);
    Response::parse(&sent, &received.bytes).ok_or_else(|| {
        format!(
            "no whole answer\n--- sent\n{sent}\n--- received\n{}",
            received.text()
        )
    })
}

impl Answer {
    fn compare(&self, found: &Response, bytes: bool, names: &mut Names) -> Result<(), Failure> {
        let failure = |line, why: String| (line, format!("{why}\n{}", found.exchange()));
        if found.status != self.status {
            let why = format!("the status is {}, not {}", found.status, self.status);
            return Err(failure(self.line, why));
        }
        for header in &self.headers {
            header
                .compare(found, names)
                .map_err(|why| failure(header.line, why))?;
        }
        let Some((line, pattern)) = &self.body else {
            if found.body.is_empty() {
                return Ok(());
            }
            let why = "there must be no body ({{*}} stands for any)".to_owned();
            return Err(failure(self.line, why));
        };
        let text = found.text();
        let is_json = found
            .header("content-type")
            .is_some_and(|kind| kind.contains("json"));
        let compared = match is_json && !bytes {
            true => pattern
                .clone()
                .compact()
                .matches(&compact(&text, &mut false), names),
            false => pattern.matches(&text, names),
        };
        compared.map_err(|why| failure(*line, why))
    }
}

impl Header {
    fn compare(&self, found: &Response, names: &mut Names) -> Result<(), String> {
        let own = found
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(&self.name));
        let values: Vec<&str> = own.map(|(_, value)| value.as_str()).collect();
        let shown = values.join("\n");
        match &self.value {
            None if values.is_empty() => Ok(()),
            None => Err(format!(
                "the header {} must be absent; it is {shown:?}",
                self.name
            )),
            Some(_) if values.is_empty() => Err(format!("there is no header {}", self.name)),
            Some(pattern) => {
                let tried: Vec<_> = values
                    .iter()
                    .map(|value| pattern.matches(value, names))
                    .collect();
                if tried.iter().any(Result::is_ok) {
                    return Ok(());
                }
                let why = tried.into_iter().find_map(Result::err).unwrap_or_default();
                Err(format!("{}: {shown}\n{why}", self.name.to_lowercase()))
            }
        }
    }
}

/// Replaces `\r \n \t \0 \\ \xNN` by bytes.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (byte, length) = match after.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'0') => (0, 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => {
                let digits = after.get(1..3).unwrap_or_default();
                let byte = u8::from_str_radix(digits, 16);
                (byte.map_err(|_| format!("\\x{digits} is no byte"))?, 3)
            }
            _ => {
                return Err(format!(
                    "\\{} is no escape",
                    after.chars().take(1).collect::<String>()
                ));
            }
        };
        bytes.push(byte);
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The newest lines of the server's log, for messages.
fn last_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let newest = &lines[lines.len().saturating_sub(5)..];
    format!("\n--- the server's log\n{}", newest.join("\n"))
}
