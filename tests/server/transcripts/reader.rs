//! Reads a transcript: which requests are sent, and which answers must come back.

use std::time::Duration;

use super::pattern::Pattern;

/// The line of the file, and what is wrong in it.
pub type Failure = (usize, String);

/// One file.
#[derive(Debug)]
pub struct Transcript {
    /// The numbered behaviours that the transcript shows, such as `1C-4`.
    pub numbers: Vec<String>,
    /// Further arguments for the server.
    pub start: Vec<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub enum Step {
    Exchange(Box<Exchange>),
    Restart,
    Wait(Duration),
}

/// A request, and the answers that it must get.
#[derive(Debug)]
pub struct Exchange {
    pub line: usize,
    pub manner: Manner,
    /// The method, the target, and the version if the transcript has one.
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// One answer. If the request is sent several times at once, two: that of the winner and that of all others.
    pub answers: Vec<Answer>,
}

/// How a request is sent, according to its directives.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub socket: bool,
    pub escapes: bool,
    pub bytes: bool,
    pub repeat: usize,
    pub together: usize,
}

#[derive(Debug)]
pub struct Answer {
    pub line: usize,
    pub status: u16,
    pub headers: Vec<Header>,
    /// `None`: there must be no body.
    pub body: Option<(usize, Pattern)>,
}

#[derive(Debug)]
pub struct Header {
    pub line: usize,
    pub name: String,
    /// `None`: there must be no such header.
    pub value: Option<Pattern>,
}

/// A part of the file: its first line, and the lines that belong to it.
struct Part {
    line: usize,
    first: String,
    /// Lines of the head with their numbers; none is empty.
    head: Vec<(usize, String)>,
    body: Option<(usize, String)>,
}

impl Manner {
    const PLAIN: Manner = Manner {
        socket: false,
        escapes: false,
        bytes: false,
        repeat: 1,
        together: 1,
    };
}

impl Transcript {
    /// Reads a file.
    pub fn read(text: &str) -> Result<Transcript, Failure> {
        let mut transcript = Transcript {
            numbers: numbers(text)?,
            start: Vec::new(),
            steps: Vec::new(),
        };
        let mut manner = Manner::PLAIN;
        for part in parts(text) {
            let line = part.line;
            let wrong = |why: &str| -> Result<Transcript, Failure> { Err((line, why.to_owned())) };
            if let Some(directive) = part.first.strip_prefix("@ ") {
                transcript.direct(directive, &mut manner, line)?;
            } else if part.first.starts_with("-> ") {
                if !is_answered(transcript.steps.last()) {
                    return wrong("there is no answer to the request before this one");
                }
                let exchange = Exchange::of(part, manner)?;
                transcript.steps.push(Step::Exchange(Box::new(exchange)));
                manner = Manner::PLAIN;
            } else if let Some(status) = part.first.strip_prefix("<- ") {
                let Ok(status) = status.trim().parse() else {
                    return wrong("a status must follow <-");
                };
                let Some(Step::Exchange(exchange)) = transcript.steps.last_mut() else {
                    return wrong("there is no request for this answer");
                };
                let most = if exchange.manner.together > 1 { 2 } else { 1 };
                if exchange.answers.len() == most {
                    return wrong("only requests that are sent @ together have two answers");
                }
                exchange.answers.push(Answer::of(status, part)?);
            }
        }
        match transcript.steps.last() {
            None => Err((1, "there is no exchange in this file".to_owned())),
            last if is_answered(last) => Ok(transcript),
            _ => Err((
                text.lines().count(),
                "there is no answer to the last request".to_owned(),
            )),
        }
    }

    fn direct(&mut self, text: &str, manner: &mut Manner, line: usize) -> Result<(), Failure> {
        let unknown = || (line, format!("there is no directive {text:?}"));
        let words: Vec<&str> = text.split_whitespace().collect();
        let count = |word: &str| word.parse().map_err(|_| unknown());
        match words[..] {
            ["as", "socket"] => manner.socket = true,
            ["bytes"] => manner.bytes = true,
            ["escapes"] => manner.escapes = true,
            ["repeat", times] => manner.repeat = count(times)?,
            ["restart"] => self.steps.push(Step::Restart),
            ["start", ..] if self.steps.is_empty() => {
                self.start
                    .extend(words[1..].iter().map(|word| word.to_string()));
            }
            ["together", times] => manner.together = count(times)?,
            ["wait", time] => self.steps.push(Step::Wait(span(time).ok_or_else(unknown)?)),
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

impl Exchange {
    fn of(part: Part, manner: Manner) -> Result<Exchange, Failure> {
        let first = part.first.trim_start_matches("-> ").trim().to_owned();
        if !first.contains(' ') {
            return Err((part.line, "a request has a method and a target".to_owned()));
        }
        let header = |(line, text): (usize, String)| {
            let halves = text.split_once(':');
            let halves = halves.ok_or((line, format!("{text:?} is not a header")))?;
            Ok((halves.0.to_owned(), halves.1.to_owned()))
        };
        Ok(Exchange {
            line: part.line,
            manner,
            first,
            headers: part
                .head
                .into_iter()
                .map(header)
                .collect::<Result<_, Failure>>()?,
            body: part.body.map(|(_, text)| text),
            answers: Vec::new(),
        })
    }
}

impl Answer {
    fn of(status: u16, part: Part) -> Result<Answer, Failure> {
        let header = |(line, text): (usize, String)| {
            if let Some(name) = text.strip_prefix('!') {
                let (name, value) = (name.trim().to_owned(), None);
                return Ok(Header { line, name, value });
            }
            let halves = text.split_once(':');
            let (name, value) = halves.ok_or((line, format!("{text:?} is not a header")))?;
            let value = Pattern::parse(value.trim()).map_err(|why| (line, why))?;
            let (name, value) = (name.to_owned(), Some(value));
            Ok(Header { line, name, value })
        };
        let body = part.body.map(|(line, text)| {
            let pattern = Pattern::parse(&text).map_err(|why| (line, why))?;
            Ok((line, pattern))
        });
        Ok(Answer {
            line: part.line,
            status,
            headers: part
                .head
                .into_iter()
                .map(header)
                .collect::<Result<_, Failure>>()?,
            body: body.transpose()?,
        })
    }
}

/// Whether every request has its answers.
fn is_answered(last: Option<&Step>) -> bool {
    match last {
        Some(Step::Exchange(exchange)) => exchange.answers.len() == exchange.manner.together.min(2),
        _ => true,
    }
}

/// The numbers in the first line: words, followed by two blanks and the title.
fn numbers(text: &str) -> Result<Vec<String>, Failure> {
    let first = text.lines().next().unwrap_or_default();
    let (numbers, title) = first.split_once("  ").unwrap_or_default();
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = numbers.split_whitespace().collect();
    if words.is_empty() || !words.iter().all(number) || title.trim().is_empty() {
        let why = "the first line must be numbers, two blanks and a title";
        return Err((1, why.to_owned()));
    }
    Ok(words.into_iter().map(str::to_owned).collect())
}

/// `2s` or `300ms`.
fn span(text: &str) -> Option<Duration> {
    let number = |end| text.strip_suffix(end)?.parse().ok();
    let millis = number("ms").map(Duration::from_millis);
    millis.or_else(|| number("s").map(Duration::from_secs))
}

/// Splits the file at lines that begin with `-> `, `<- `, `@ ` or `# `. Other text is ignored.
fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    // Prose until the first mark.
    let mut inside = false;
    for (line, text) in joined(text) {
        let mark = ["-> ", "<- ", "@ ", "# "]
            .into_iter()
            .find(|mark| text.starts_with(mark));
        match mark {
            Some("-> " | "<- ") => {
                parts.push(Part::at(line, text));
                inside = true;
            }
            Some("@ ") => {
                parts.push(Part::at(line, text));
                inside = false;
            }
            Some(_) => inside = false,
            None if inside => parts.last_mut().expect("inside of one").add(line, &text),
            None => {}
        }
    }
    for part in &mut parts {
        let trimmed = part
            .body
            .take()
            .map(|(line, body)| (line, body.trim_end_matches('\n').to_owned()));
        part.body = trimmed.filter(|(_, body)| !body.is_empty());
    }
    parts
}

impl Part {
    fn at(line: usize, first: String) -> Part {
        Part {
            line,
            first,
            head: Vec::new(),
            body: None,
        }
    }

    fn add(&mut self, line: usize, text: &str) {
        match &mut self.body {
            Some((at, body)) => {
                // Line breaks separate the lines of a body; there is none before the first or after the last line.
                if body.is_empty() {
                    *at = line;
                } else {
                    body.push('\n');
                }
                body.push_str(text);
            }
            None if text.is_empty() => self.body = Some((line, String::new())),
            None => self.head.push((line, text.to_owned())),
        }
    }
}

/// Lines with their numbers from 1. A line that ends with a backslash continues in the next line.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (position, line) in text.lines().enumerate() {
        let slashes = line.len() - line.trim_end_matches('\\').len();
        let next_goes_on = slashes % 2 == 1;
        let content = &line[..line.len() - usize::from(next_goes_on)];
        match lines.last_mut() {
            Some((_, before)) if goes_on => before.push_str(content),
            _ => lines.push((position + 1, content.to_owned())),
        }
        goes_on = next_goes_on;
    }
    lines
}
