//! WebDriver (W3C) over plain HTTP, as far as these tests need it.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::support::{Address, wait};

/// The name of an element's reference in answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser and the program that drives it; dropping this ends both.
pub struct Driver {
    address: Address,
    session: String,
    process: Child,
}

/// An element of the current page.
pub struct Element<'a> {
    driver: &'a Driver,
    id: String,
}

impl Driver {
    /// Starts Chromium without a window. `profile` is a separate folder for each browser. `localhost` is the address to
    /// which the browser resolves that name, because each server has its own address.
    pub fn start(profile: &Path, localhost: IpAddr) -> Driver {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver can be started");
        let port = port(&mut process);
        let mut driver = Driver {
            address: Address::Tcp(([127, 0, 0, 1], port).into()),
            session: String::new(),
            process,
        };
        let profile = format!("--user-data-dir={}", profile.display());
        let localhost = format!("--host-resolver-rules=MAP localhost {localhost}");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--window-size=1280,900",
            &profile,
            &localhost,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let made = driver.send("POST", "/session", Some(capabilities));
        driver.session = made["sessionId"].as_str().expect("a session").to_owned();
        driver
    }

    /// Sends a command of the session and returns its value.
    #[track_caller]
    pub fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.send(method, &format!("/session/{}{path}", self.session), body)
    }

    /// As [`Driver::command`], but returns the error of a failed command.
    pub fn try_command(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Value> {
        self.try_send(method, &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn send(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.try_send(method, path, body)
            .unwrap_or_else(|err| panic!("{method} {path}: {err:#}"))
    }

    fn try_send(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Value> {
        // ChromeDriver keeps connections open, even if the request asks it to close them.
        let text = body.map_or_else(String::new, |body| body.to_string());
        let mut connection = self.address.connect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        connection
            .write_all(request.as_bytes())
            .expect("chromedriver takes requests");
        let answer = connection.receive_one().expect("chromedriver answers");
        let value = answer.json()["value"].take();
        match answer.status {
            200 => Ok(value),
            _ => Err(value),
        }
    }

    /// Chromium's own commands.
    #[track_caller]
    pub fn devtools(&self, command: &str, params: Value) -> Value {
        let body = json!({ "cmd": command, "params": params });
        self.command("POST", "/goog/cdp/execute", Some(body))
    }

    /// Runs a script in the page and returns its result.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.command("POST", "/execute/sync", Some(body))
    }

    /// Runs a script that calls its last argument when it has finished.
    #[track_caller]
    pub fn run_async(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.command("POST", "/execute/async", Some(body))
    }

    #[track_caller]
    pub fn go(&self, url: &str) {
        self.command("POST", "/url", Some(json!({ "url": url })));
    }

    pub fn url(&self) -> String {
        self.command("GET", "/url", None)
            .as_str()
            .unwrap_or("")
            .to_owned()
    }

    /// Waits for the first element that a CSS selector matches.
    #[track_caller]
    pub fn find(&self, selector: &str) -> Element<'_> {
        self.find_by("css selector", selector)
    }

    /// Waits for the first element that an XPath matches.
    #[track_caller]
    pub fn find_path(&self, path: &str) -> Element<'_> {
        self.find_by("xpath", path)
    }

    #[track_caller]
    fn find_by(&self, using: &str, value: &str) -> Element<'_> {
        let found = wait::some_in_time(|| {
            let body = json!({ "using": using, "value": value });
            self.try_command("POST", "/element", Some(body)).ok()
        });
        let Some(found) = found else {
            panic!("no {value} on {}:\n{}", self.url(), self.text());
        };
        let id = found[ELEMENT].as_str().expect("a reference").to_owned();
        Element { driver: self, id }
    }

    /// Clicks the first element that an XPath matches, even if the page changes in the meantime.
    #[track_caller]
    pub fn click_path(&self, path: &str) {
        wait::until(&format!("{path} can be clicked"), || {
            let element = self.find_path(path);
            let click = format!("/element/{}/click", element.id);
            let leads = self.leads_away(&element);
            match self.try_command("POST", &click, Some(json!({}))) {
                Ok(_) if leads => self.wait_until_gone(&element, path),
                Ok(_) => {}
                Err(err) if err["error"] == "stale element reference" => return false,
                Err(err) => panic!("{path} cannot be clicked: {err:#}"),
            }
            true
        });
    }

    /// Whether a click on an element makes the browser request another page: the element is a link, or a button that
    /// sends a form. If the form downloads a file or copies text to the clipboard, the page stays; an attribute of such
    /// a form shows this.
    fn leads_away(&self, element: &Element<'_>) -> bool {
        let script = "const e = arguments[0].closest('a[href], button, input') ?? arguments[0];
             return e.matches('a[href]:not([href^=\"#\"])')
                 || (e.type === 'submit' && !!e.form && !e.form.action.endsWith('/export') && !e.form.matches('[data-copies]'))";
        let body = json!({ "script": script, "args": [{ ELEMENT: element.id }] });
        self.try_command("POST", "/execute/sync", Some(body))
            .is_ok_and(|leads| leads == true)
    }

    /// Waits until the browser has left the page of an element. Otherwise the next step could still find the old page,
    /// or stop the browser while it loads the new one.
    #[track_caller]
    fn wait_until_gone(&self, element: &Element<'_>, path: &str) {
        let name = format!("/element/{}/name", element.id);
        wait::until(
            &format!("the click on {path} has led to another page"),
            || self.try_command("GET", &name, None).is_err(),
        );
    }

    /// Whether a CSS selector matches an element of the page at this moment.
    pub fn has(&self, selector: &str) -> bool {
        let body = json!({ "using": "css selector", "value": selector });
        self.try_command("POST", "/element", Some(body)).is_ok()
    }

    /// The visible text of the page.
    pub fn text(&self) -> String {
        let text = self.run("return document.body?.innerText");
        text.as_str().unwrap_or("").to_owned()
    }

    /// The messages in the browser's console since the last call.
    pub fn complaints(&self) -> Vec<String> {
        let body = json!({ "type": "browser" });
        let entries = self.command("POST", "/se/log", Some(body));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or("").to_owned())
            // What signing out is meant to do.
            .filter(|message| !message.contains("Clear-Site-Data header"))
            .collect()
    }
}

impl Element<'_> {
    #[track_caller]
    pub fn click(&self) {
        let path = format!("/element/{}/click", self.id);
        self.driver.command("POST", &path, Some(json!({})));
    }

    /// Types into a field, after its present text.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        let path = format!("/element/{}/value", self.id);
        self.driver
            .command("POST", &path, Some(json!({ "text": text })));
    }

    /// Empties a field.
    #[track_caller]
    pub fn clear(&self) {
        let path = format!("/element/{}/clear", self.id);
        self.driver.command("POST", &path, Some(json!({})));
    }

    /// Empties a field and types.
    #[track_caller]
    pub fn fill(&self, text: &str) {
        self.clear();
        self.type_in(text);
    }

    pub fn text(&self) -> String {
        let path = format!("/element/{}/text", self.id);
        let text = self.driver.command("GET", &path, None);
        text.as_str().unwrap_or("").to_owned()
    }

    /// A property, such as `value` or `checked`.
    pub fn property(&self, name: &str) -> Value {
        let path = format!("/element/{}/property/{name}", self.id);
        self.driver.command("GET", &path, None)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            let _ = self.try_send("DELETE", &path, None);
        }
        if let Some(group) = Pid::from_raw(self.process.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

/// Reads the port that the program chose from its output.
fn port(process: &mut Child) -> u16 {
    let stdout = process.stdout.take().expect("stdout is a pipe");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let port = lines
        .find_map(|line| {
            let rest = line.split("on port ").nth(1)?;
            rest.trim_end_matches('.')
                .parse()
                .ok()
                .filter(|port| *port != 0)
        })
        .expect("chromedriver names its port");
    // The program's further output must neither fill the pipe nor find it closed.
    std::thread::spawn(move || lines.for_each(drop));
    port
}
