//! A client that behaves like a browser and keeps cookies, as far as these tests need it.

use crate::support::{Address, Response, Server};
use std::net::SocketAddr;

/// See the heading.
pub struct Visitor {
    address: Address,
    host: String,
    /// The name and the value of each cookie.
    pub cookies: Vec<(String, String)>,
    /// The last page; forms are sent with its token.
    pub page: String,
}

impl Visitor {
    pub fn new(server: &Server) -> Visitor {
        Visitor::at(server.address)
    }

    pub fn at(address: SocketAddr) -> Visitor {
        Visitor {
            address: Address::Tcp(address),
            host: address.to_string(),
            cookies: Vec::new(),
            page: String::new(),
        }
    }

    /// The owner, signed in.
    #[track_caller]
    pub fn owner(server: &Server) -> Visitor {
        let mut visitor = Visitor::new(server);
        let (name, password) = (&server.owner_user_name, &server.owner_password);
        visitor.sign_in(name, password).expect(303);
        visitor
    }

    pub fn sign_in(&mut self, name: &str, password: &str) -> Response {
        let fields = [("user_name", name), ("password", password)];
        self.send("/console/sign-in", &fields)
    }

    /// Sends `GET` and keeps the page.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        let cookie = self.cookie();
        let headers: Vec<(&str, &str)> = cookie.iter().map(|c| ("Cookie", c.as_str())).collect();
        let response = self.address.call("GET", path, &headers, None);
        self.keep(&response);
        self.page = response.text();
        response
    }

    /// Sends a form of the last page, with its token and this server's origin.
    #[track_caller]
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let token = self.token();
        let mut all = vec![("form_token", token.as_str())];
        all.extend(fields);
        self.send(path, &all)
    }

    /// Sends a form with this server's origin and only these fields.
    #[track_caller]
    pub fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let origin = format!("http://{}", self.host);
        let headers = [
            ("Origin", origin.as_str()),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        self.send_with(path, &headers, fields)
    }

    /// A form with any headers.
    #[track_caller]
    pub fn send_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Response {
        let body = encoded_form(fields);
        let cookie = self.cookie();
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "Content-Type") {
            all.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        all.extend(cookie.iter().map(|cookie| ("Cookie", cookie.as_str())));
        let response = self.address.call("POST", path, &all, Some(body.as_bytes()));
        self.keep(&response);
        self.page = response.text();
        response
    }

    /// Sends a body of any kind with this server's origin.
    #[track_caller]
    pub fn send_body(&mut self, path: &str, content_type: &str, body: &[u8]) -> Response {
        let (cookie, origin) = (self.cookie(), format!("http://{}", self.host));
        let mut all = vec![("Origin", origin.as_str()), ("Content-Type", content_type)];
        all.extend(cookie.iter().map(|cookie| ("Cookie", cookie.as_str())));
        let response = self.address.call("POST", path, &all, Some(body));
        self.keep(&response);
        self.page = response.text();
        response
    }

    /// Sends a form with fields and, unless it is empty, a file.
    #[track_caller]
    pub fn upload(&mut self, path: &str, fields: &[(&str, &str)], file: &str) -> Response {
        let token = self.token();
        let mut body = String::new();
        let mut part = |head: &str, value: &str| {
            body.push_str(&format!(
                "--x7\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"
            ));
        };
        part("name=\"form_token\"", &token);
        for (name, value) in fields {
            part(&format!("name=\"{name}\""), value);
        }
        if !file.is_empty() {
            part("name=\"file\"; filename=\"api; v1.yaml\"", file);
        }
        body.push_str("--x7--\r\n");
        self.send_body(path, "multipart/form-data; boundary=x7", body.as_bytes())
    }

    /// The token of the last page. It requests a page first if there is none.
    #[track_caller]
    pub fn token(&mut self) -> String {
        if self.value("form_token").is_none() {
            self.get("/console/account");
        }
        self.value("form_token").expect("a page with a token")
    }

    /// The value of the first field with this name on the last page.
    pub fn value(&self, name: &str) -> Option<String> {
        let field = self.page.split(&format!("name=\"{name}\"")).nth(1)?;
        let value = field.split('>').next()?.split("value=\"").nth(1)?;
        let value = value.split('"').next()?;
        Some(value.replace("&#38;", "&").replace("&#34;", "\""))
    }

    pub fn session(&self) -> Option<&str> {
        let found = self.cookies.iter().find(|(name, _)| name == "latchkey");
        found.map(|(_, value)| value.as_str())
    }

    fn cookie(&self) -> Option<String> {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&mut self, response: &Response) {
        for (_, line) in response
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
        {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !line.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

/// As browsers write forms.
pub fn encoded_form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._*".contains(&b);
    text.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}
