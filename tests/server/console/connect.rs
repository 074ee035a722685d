//! The page that writes the configuration of a proxy, and the check that goes with it.

use super::Visitor;
use crate::support::{PASSWORD, Server, executable};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PAGE: &str = "/console/connect?proxy=nginx&host=orders.example&upstream=127.0.0.1%3A9100";

fn unescaped(text: &str) -> String {
    let text = text
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"");
    text.replace("&#39;", "'").replace("&#38;", "&")
}

/// The files on a page.
fn files(page: &str) -> Vec<String> {
    let parts = page.split("<pre class=\"code config\"").skip(1);
    parts
        .map(|part| {
            let text = part
                .split_once('>')
                .unwrap()
                .1
                .split("</pre>")
                .next()
                .unwrap();
            unescaped(text)
        })
        .collect()
}

#[test]
fn the_page_and_the_command_write_the_same_text() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    for (proxy, count) in [
        ("nginx", 1),
        ("caddy", 1),
        ("haproxy", 2),
        ("haproxy-spoe", 2),
        ("traefik", 2),
        ("envoy", 1),
        ("gateway", 4),
    ] {
        let more = "&catalog=aware&workspace=root&listen=10.0.0.1%3A8080&latchkey=10.0.0.5%3A8420";
        let path = PAGE.replace("nginx", proxy) + more;
        let path = match proxy {
            // A pod cannot reach an address of the machine that runs this test.
            "gateway" => path.replace("127.0.0.1%3A9100", "orders.shop%3A9100"),
            _ => path,
        };
        let page = owner.get(&path).expect(200).text();
        let shown = files(&page);
        assert_eq!(shown.len(), count, "{proxy}");
        let command = page.split("latchkey connect ").nth(1).unwrap();
        let command = command.split('<').next().unwrap();
        let printed = executable(None)
            .arg("connect")
            .args(command.split(' '))
            .output()
            .unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        for file in shown {
            assert!(printed.contains(&file), "{proxy}: {file}\n---\n{printed}");
            assert!(!file.contains("127.0.0.1:8420"), "{proxy}");
        }
    }
}

#[test]
fn what_does_not_belong_into_a_configuration_is_refused_at_its_field() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    for (name, value) in [
        ("host", "a%22%3B%7D"),
        ("host", "a%0Ab"),
        ("host", ""),
        ("upstream", "127.0.0.1"),
        ("upstream", "https%3A%2F%2Fa%3A1"),
        ("upstream", "a%3A1%3B%20return%20200"),
        ("listen", "name%3A80"),
        ("latchkey", "x%7B%7D%3A1"),
        ("catalog", "A%20B"),
        ("workspace", "%7B%7B"),
        ("proxy", "apache"),
    ] {
        let rest = PAGE.split_once('?').unwrap().1;
        let kept = rest
            .split('&')
            .filter(|pair| !pair.starts_with(&format!("{name}=")));
        let query: Vec<&str> = kept.collect();
        let path = format!("/console/connect?{}&{name}={value}", query.join("&"));
        let page = owner.get(&path).expect(422).text();
        let field = page.split(&format!("id=\"{name}\"")).nth(1).unwrap();
        let field = field.split("</div>").next().unwrap();
        assert!(
            field.contains("class=\"refusal\""),
            "{name}={value}: {field}"
        );
        assert!(files(&page).is_empty(), "{name}={value}");
        let printed = executable(None)
            .args(["connect", "nginx", "--host", "a\";}", "--upstream", "a:1"])
            .output()
            .unwrap();
        assert!(!printed.status.success() && printed.stdout.is_empty());
    }
}

/// A proxy that answers every request alike; the number of requests so far.
fn answering(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut asked = [0; 2048];
            let length = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]).to_lowercase();
            let is_right = asked.starts_with("get / http/1.1\r\nhost: orders.example\r\n")
                && !asked.contains("authorization")
                && !asked.contains("cookie");
            let _ = stream.write_all(
                if is_right {
                    answer
                } else {
                    "HTTP/1.1 418 No\r\n\r\n"
                }
                .as_bytes(),
            );
        }
    });
    (address, count)
}

fn check(visitor: &mut Visitor, address: &str) -> (u16, String) {
    let fields = [
        ("proxy", "nginx"),
        ("host", "orders.example"),
        ("upstream", "127.0.0.1:9100"),
        ("address", address),
    ];
    let answer = visitor.post("/console/connect", &fields);
    (answer.status, answer.text())
}

#[test]
fn the_check_says_what_a_request_without_a_key_meets() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    for (answer, said) in [
        (
            "HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer realm=\"latchkey\"\r\n\r\nsecret body",
            "The application is protected",
        ),
        (
            "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic\r\n\r\n",
            "but not by Latchkey",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nsecret body", "is not protected"),
        (
            "HTTP/1.1 302 x\r\nLocation: http://169.254.169.254/secret body\r\n\r\n",
            "was not followed",
        ),
        ("HTTP/1.1 503 x\r\n\r\n", "cannot reach Latchkey"),
        ("HTTP/1.1 404 x\r\n\r\n", "does not serve this host name"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
    ] {
        let (address, count) = answering(answer);
        owner.get(PAGE).expect(200);
        let (status, page) = check(&mut owner, &address);
        assert_eq!(status, 200);
        assert!(page.contains(said), "{said}: {page}");
        assert!(!page.contains("secret body"));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_, page) = check(&mut owner, &free.to_string());
    assert!(page.contains("Nothing listens on this address"), "{page}");
    let events = server
        .admin()
        .get("/v1/audit-events?action=server.check_connection")
        .expect(200)
        .json();
    assert_eq!(events["items"].as_array().unwrap().len(), 8);
    assert!(events["items"][0].to_string().contains(&free.to_string()));
}

#[test]
fn the_check_is_for_administrators_and_not_for_every_address() {
    let server = Server::start();
    let admin = server.admin();
    for role in ["auditor", "key_manager"] {
        admin.person(role, role, "root");
    }
    let (address, count) = answering("HTTP/1.1 200 OK\r\n\r\n");
    for role in ["auditor", "key_manager"] {
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(role, PASSWORD).expect(303);
        let page = visitor.get(PAGE).expect(200).text();
        assert!(files(&page).len() == 1 && !page.contains("name=\"address\""));
        assert_eq!(check(&mut visitor, &address).0, 403);
    }
    let mut owner = Visitor::owner(&server);
    for bad in [
        "169.254.169.254:80",
        "[fe80::1]:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[64:ff9b:1::a9fe:a9fe]:80",
        "[2002:a9fe:a9fe::1]:80",
        "[fd00:ec2::254]:80",
        "100.100.100.200:80",
        "168.63.129.16:80",
        "0.0.0.0:80",
        "224.0.0.1:80",
        "file:///etc/passwd",
        "https://127.0.0.1:443",
        "127.0.0.1:80/path",
        "user@127.0.0.1:80",
        "127.0.0.1",
        "",
    ] {
        owner.get(PAGE).expect(200);
        let (status, page) = check(&mut owner, bad);
        assert_eq!(status, 422, "{bad}");
        let field = page.split("id=\"address\"").nth(1).unwrap();
        assert!(field.contains("class=\"refusal\""), "{bad}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

/// A gateway runs in pods, where an address of this machine means the pod itself.
#[test]
fn a_gateway_needs_addresses_that_its_pods_reach() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let path = PAGE.replace("nginx", "gateway");
    let page = owner.get(&path).expect(422).text();
    let field = page.split("id=\"upstream\"").nth(1).unwrap();
    let field = field.split("</div>").next().unwrap();
    assert!(field.contains("class=\"refusal\""), "{field}");
    assert!(files(&page).is_empty());
    let printed = executable(None)
        .args([
            "connect",
            "gateway",
            "--host",
            "a.example",
            "--upstream",
            "127.0.0.1:9100",
        ])
        .output()
        .unwrap();
    assert!(!printed.status.success() && printed.stdout.is_empty());
    let told = String::from_utf8(printed.stderr).unwrap();
    assert!(told.contains("--upstream"), "{told}");
}
