//! Ready-made programs that verify a key at this server, for the page that shows its secret. Only the first one and the
//! file of variables contain the secret, and none has it in an address.

use crate::dialects::console::text::Texts;

/// One way to verify the key.
pub struct Snippet {
    /// The id of its element on the page.
    pub id: &'static str,
    /// The name of the language, or the text for it.
    pub label: String,
    pub text: String,
}

/// The question that the programs ask.
pub struct Asked<'a> {
    /// `https://keys.example`: the server as the browser reaches it.
    pub server: &'a str,
    /// Whether that is this machine itself, where a verification needs no credential.
    pub is_local: bool,
    pub secret: &'a str,
    pub catalog: Option<&'a str>,
    /// The method and the path of a request that the key opens.
    pub request: Option<(&'a str, &'a str)>,
}

impl Asked<'_> {
    /// The snippets, the shortest first. `proxy` is the command that asks as a proxy does.
    pub fn snippets(&self, texts: &Texts, proxy: String) -> Vec<Snippet> {
        let one = |id, label: &str, text| Snippet {
            id,
            label: label.to_owned(),
            text,
        };
        vec![
            one("snippet-curl", "curl", self.curl()),
            one("snippet-python", "Python", self.python()),
            one("snippet-javascript", "JavaScript", self.javascript()),
            one("snippet-go", "Go", self.go()),
            one("snippet-env", ".env", self.env()),
            one("snippet-proxy", texts.get("secret.as_proxy"), proxy),
        ]
    }

    /// The members of the question besides the secret, each written in the syntax of a language.
    fn members(&self, written: fn(&str, &str) -> String) -> String {
        let catalog = self.catalog.map(|name| ("catalog", name));
        let method = self.request.map(|(method, _)| ("method", method));
        let path = self.request.map(|(_, path)| ("path", path));
        let all = [catalog, method, path].into_iter().flatten();
        all.map(|(name, value)| written(name, value)).collect()
    }

    fn curl(&self) -> String {
        let members = self.members(|name, value| format!(r#","{name}":"{value}""#));
        let credential = match self.is_local {
            true => "'Latchkey-Local: 1'",
            false => "\"Authorization: Bearer $VERIFIER_KEY\"",
        };
        format!(
            "curl -sS {}/v1/verify \\\n  -H {credential} \\\n  -H 'Content-Type: application/json' \\\n  \
             -d '{{\"key\":\"{}\"{members}}}'",
            self.server, self.secret
        )
    }

    fn python(&self) -> String {
        let members = self.members(quoted);
        let credential = match self.is_local {
            true => r#""Latchkey-Local": "1""#,
            false => r#""Authorization": "Bearer " + os.environ["VERIFIER_KEY"]"#,
        };
        format!(
            r#"import json, os, urllib.request

question = {{"key": os.environ["API_KEY"]{members}}}
request = urllib.request.Request(
    "{}/v1/verify",
    data=json.dumps(question).encode(),
    headers={{"Content-Type": "application/json", {credential}}},
)
with urllib.request.urlopen(request, timeout=5) as response:
    verdict = json.load(response)
print(verdict["valid"], verdict["code"])"#,
            self.server
        )
    }

    fn javascript(&self) -> String {
        let members = self.members(|name, value| format!(r#", {name}: "{value}""#));
        let credential = match self.is_local {
            true => r#""Latchkey-Local": "1""#,
            false => "Authorization: `Bearer ${process.env.VERIFIER_KEY}`",
        };
        format!(
            r#"const response = await fetch("{}/v1/verify", {{
  method: "POST",
  headers: {{ "Content-Type": "application/json", {credential} }},
  body: JSON.stringify({{ key: process.env.API_KEY{members} }}),
}});
const verdict = await response.json();
console.log(verdict.valid, verdict.code);"#,
            self.server
        )
    }

    fn go(&self) -> String {
        let members = self.members(quoted);
        let credential = match self.is_local {
            true => r#"request.Header.Set("Latchkey-Local", "1")"#,
            false => r#"request.Header.Set("Authorization", "Bearer "+os.Getenv("VERIFIER_KEY"))"#,
        };
        format!(
            r#"package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {{
	question, _ := json.Marshal(map[string]string{{"key": os.Getenv("API_KEY"){members}}})
	request, err := http.NewRequest("POST", "{}/v1/verify", bytes.NewReader(question))
	if err != nil {{
		log.Fatal(err)
	}}
	request.Header.Set("Content-Type", "application/json")
	{credential}
	response, err := http.DefaultClient.Do(request)
	if err != nil {{
		log.Fatal(err)
	}}
	defer response.Body.Close()
	var verdict struct {{
		Valid bool
		Code  string
	}}
	if err := json.NewDecoder(response.Body).Decode(&verdict); err != nil {{
		log.Fatal(err)
	}}
	fmt.Println(verdict.Valid, verdict.Code)
}}"#,
            self.server
        )
    }

    fn env(&self) -> String {
        let verifier = match self.is_local {
            true => "",
            false => "\nVERIFIER_KEY=",
        };
        format!(
            "LATCHKEY_URL={}\nAPI_KEY={}{verifier}",
            self.server, self.secret
        )
    }
}

/// A member of a Python dictionary, or of a map in Go.
fn quoted(name: &str, value: &str) -> String {
    format!(r#", "{name}": "{value}""#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    fn asked(is_local: bool) -> Asked<'static> {
        Asked {
            server: "https://keys.example",
            is_local,
            secret: "lk_secret",
            catalog: Some("billing"),
            request: Some(("GET", "/invoices")),
        }
    }

    #[test]
    fn the_question_has_the_catalog_and_a_request_and_no_address_has_the_secret() {
        for is_local in [true, false] {
            let found = asked(is_local).snippets(english(), String::new());
            for snippet in &found[..4] {
                for part in [
                    "https://keys.example/v1/verify",
                    "billing",
                    "GET",
                    "/invoices",
                ] {
                    assert!(snippet.text.contains(part), "{part}: {}", snippet.text);
                }
                let is_named = snippet.text.contains("Latchkey-Local");
                assert_eq!(is_named, is_local, "{}", snippet.text);
            }
            for snippet in &found {
                let has_secret = snippet.text.contains("lk_secret");
                let may = ["snippet-curl", "snippet-env"].contains(&snippet.id);
                assert_eq!(has_secret, may, "{}", snippet.text);
                let mut lines = snippet.text.lines().filter(|line| line.contains("://"));
                assert!(
                    !lines.any(|line| line.contains("lk_secret")),
                    "{}",
                    snippet.text
                );
            }
        }
        let curl = asked(true).curl();
        let json = curl.split('\'').nth_back(1).unwrap();
        let question: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(question["path"], "/invoices");
    }
}
