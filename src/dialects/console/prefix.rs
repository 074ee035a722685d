//! The console below a prefix: adds the prefix to every address in an answer. Within the console all addresses are
//! without the prefix, also those in the fields of forms.

use super::MOUNT;
use crate::http::reply::Reply;

/// The attributes that contain an address which the browser requests.
const ATTRIBUTES: [&str; 4] = ["action", "formaction", "href", "src"];

/// The answer with the prefix added to its addresses.
pub fn lead(mut reply: Reply, prefix: &str) -> Reply {
    let is_page = reply
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.starts_with(b"text/html"));
    if is_page && let Ok(text) = std::str::from_utf8(&reply.body) {
        reply.body = page(text, prefix).into_bytes().into();
    }
    let location = reply.headers.get("location").map(<[u8]>::to_vec);
    if let Some(location) = location.filter(|location| location.starts_with(MOUNT.as_bytes())) {
        reply = reply.with("location", [prefix.as_bytes(), &location].concat());
    }
    let cookies: Vec<String> = reply
        .headers
        .all("set-cookie")
        .map(|cookie| String::from_utf8_lossy(cookie).into_owned())
        .collect();
    reply.headers.remove("set-cookie");
    for cookie in cookies {
        let path = format!("; Path={prefix}{MOUNT};");
        reply.add(
            "set-cookie",
            cookie.replace(&format!("; Path={MOUNT};"), &path),
        );
    }
    reply
}

/// The page with the prefix added to its addresses. Text from users cannot look like an attribute, because its
/// quotation marks are escaped.
fn page(text: &str, prefix: &str) -> String {
    ATTRIBUTES.iter().fold(text.to_owned(), |text, name| {
        let own = format!(" {name}=\"{MOUNT}");
        text.replace(&own, &format!(" {name}=\"{prefix}{MOUNT}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn addresses_are_led_below_the_prefix_and_fields_are_not() {
        let reply = Reply::new(303)
            .with("location", "/console/keys?q=/console")
            .also(
                "set-cookie",
                "latchkey=v; Path=/console; HttpOnly; SameSite=Strict",
            )
            .also(
                "set-cookie",
                "__Host-latchkey=v; Path=/; HttpOnly; SameSite=Strict; Secure",
            );
        let led = lead(reply, "/x");
        assert_eq!(
            led.headers.get("location"),
            Some(&b"/x/console/keys?q=/console"[..])
        );
        let cookies: Vec<&[u8]> = led.headers.all("set-cookie").collect();
        assert_eq!(
            cookies[0],
            b"latchkey=v; Path=/x/console; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            cookies[1],
            b"__Host-latchkey=v; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        let html = "<a href=\"/console\">/console</a><form action=\"/console/keys\"><input name=\"next\" value=\"/console/a\">\
                    <script src=\"/console/assets/a\"></script><a href=\"/v1/x\"></a><b title=\"x &#34; href=&#34;/console\"></b>";
        let led = lead(
            Reply::new(200).body("text/html; charset=utf-8", html),
            "/x/y",
        );
        assert_eq!(
            std::str::from_utf8(&led.body).unwrap(),
            "<a href=\"/x/y/console\">/console</a><form action=\"/x/y/console/keys\"><input name=\"next\" value=\"/console/a\">\
             <script src=\"/x/y/console/assets/a\"></script><a href=\"/v1/x\"></a><b title=\"x &#34; href=&#34;/console\"></b>"
        );
        let csv = lead(
            Reply::new(200).body("text/csv", "a href=\"/console\""),
            "/x",
        );
        assert_eq!(csv.body.as_ref(), b"a href=\"/console\"");
    }

    /// The browser would leave the prefix through an address in any other place than these attributes.
    #[test]
    fn templates_have_addresses_in_these_attributes_alone() {
        for entry in fs::read_dir("templates/console").unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("/console/") {
                let before = &text[..at];
                let is_known = ATTRIBUTES
                    .iter()
                    .any(|name| before.ends_with(&format!(" {name}=\"")));
                let is_template = ["include \"", "extends \"", "import \""]
                    .iter()
                    .any(|word| before.ends_with(word));
                assert!(
                    is_known || is_template,
                    "{}: {}",
                    path.display(),
                    &text[at..at + 20]
                );
            }
        }
        for script in ["assets/console/console.js", "assets/console/console.css"] {
            assert!(
                !fs::read_to_string(script).unwrap().contains("/console"),
                "{script}"
            );
        }
    }
}
