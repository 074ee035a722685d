//! The files of each proxy, made of its example.

use super::edits::{Draft, indented, outdented};
use super::{Address, ConfigFile, LISTEN, Plan};
use crate::error::Result;
use std::net::IpAddr;

/// The first lines of a file; `mark` begins a comment.
pub(super) fn heading(plan: &Plan, mark: &str, more: &[&str]) -> String {
    let mut lines = vec![
        format!("Latchkey in front of {}.", plan.host),
        String::new(),
        format!(
            "  client -> this proxy {} -> Latchkey {}: may this request pass?",
            plan.listen, plan.latchkey
        ),
        format!(
            "                        -> application {}, only if it may",
            plan.upstream
        ),
        String::new(),
    ];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    if !is_local(&plan.latchkey) {
        let trust = "Latchkey answers only proxies that it trusts: start it with --trusted-proxies and the address of";
        lines.extend([trust.to_owned(), "this machine.".to_owned()]);
    }
    let lines = lines
        .iter()
        .map(|line| format!("{mark} {line}").trim_end().to_owned() + "\n");
    lines.collect()
}

pub(super) fn with_query(path: &str, demands: &str) -> String {
    match demands {
        "" => path.to_owned(),
        demands => format!("{path}?{demands}"),
    }
}

pub(super) fn file(name: &str, text: String) -> ConfigFile {
    ConfigFile {
        name: name.to_owned(),
        text,
    }
}

/// One file for the folder `conf.d`: the parts of the example that belong to `http`, with what it includes.
pub fn nginx(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let question = Draft(include_str!("../../../examples/nginx/latchkey-question.conf").to_owned())
        .put("127.0.0.1:8420", &plan.latchkey.to_string())?
        .cut("# What nginx asks Latchkey", "# Nothing of")?;
    let application =
        Draft(include_str!("../../../examples/nginx/latchkey-application.conf").to_owned())
            .cut("# Belongs beside each", "# Not `any`")?;
    let (in_location, inner) = (" ".repeat(12), " ".repeat(8));
    let asked = with_query("/auth/nginx", &plan.demands());
    let draft = Draft(include_str!("../../../examples/nginx/nginx.conf").to_owned())
        .cut("# Latchkey in front of", "    upstream application {")?
        .put(
            // One of the two new addresses can be the other old one.
            "server 127.0.0.1:9000;",
            "server <application>;",
        )?
        .put(
            "server 127.0.0.1:8420;",
            &format!("server {};", plan.latchkey),
        )?
        .put("<application>", &plan.upstream.to_string())?
        .put(
            "listen 127.0.0.1:8081;",
            &format!(
                "listen {};\n        server_name {};",
                plan.listen, plan.host
            ),
        )?
        .cut(
            &format!("{inner}location = /_latchkey/billing {{"),
            &format!("\n{inner}# No key, or one"),
        )?
        .cut("\n        # The catalog `billing`", "    }\n}\n")?
        .put(
            "http://latchkey/auth/nginx;",
            &format!("http://latchkey{asked};"),
        )?
        .put(
            "            include latchkey-question.conf;\n",
            &indented(&question.0, &in_location),
        )?
        .put(
            "            include latchkey-application.conf;\n",
            &indented(&application.0, &in_location),
        )?;
    // The end of `http`.
    let body = draft.0.strip_suffix("}\n").unwrap_or(&draft.0);
    let name = format!("{}.conf", plan.host);
    let more = [
        &format!(
            "Put this file to /etc/nginx/conf.d/{name}, or include it in `http`; then: nginx -t && nginx -s reload"
        )[..],
        "For TLS, change `listen` and add ssl_certificate and ssl_certificate_key below it.",
        "For a second application repeat `upstream application`, with another name, and `server`.",
    ];
    Ok(vec![file(
        &name,
        heading(plan, "#", &more) + "\n" + &outdented(body, "    "),
    )])
}

pub fn caddy(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let demands = plan.demands();
    // With https Caddy gets a certificate for the name. A scheme also keeps a name apart from Caddy's own words, such as
    // `import`.
    let has_tls = plan.listen.to_string() == LISTEN || plan.listen.port == 443;
    let site = match plan.listen.to_string().as_str() {
        LISTEN | "0.0.0.0:443" => format!("https://{} {{\n", plan.host),
        _ if has_tls => format!("https://{} {{\n\tbind {}\n", plan.host, plan.listen.host),
        _ => format!(
            "http://{}:{} {{\n\tbind {}\n",
            plan.host, plan.listen.port, plan.listen.host
        ),
    };
    let more: &[&str] = match has_tls {
        true => &[
            "Put this file to /etc/caddy/Caddyfile, or import it there; then: caddy reload",
            "Caddy gets a certificate for the name by itself; write http:// instead of https:// if another proxy has one.",
        ],
        false => &["Put this file to /etc/caddy/Caddyfile, or import it there; then: caddy reload"],
    };
    let draft = Draft(include_str!("../../../examples/caddy/Caddyfile").to_owned())
        .cut("# Latchkey in front of", "# What goes into every")?
        .put(
            "reverse_proxy 127.0.0.1:9000",
            &format!("reverse_proxy {}", plan.upstream),
        )?
        .put(":8082 {\n\tbind 127.0.0.1\n", &site)?
        .cut(
            "\t\t# The catalog `billing` decides",
            "\t\t# Anything else passes",
        )?
        .put(
            "# Anything else passes if its key is good.",
            "# A request passes if Latchkey says so.",
        )?
        .put(
            "forward_auth 127.0.0.1:8420",
            &format!("forward_auth {}", plan.latchkey),
        )?
        .put(
            "uri /auth/caddy?\n",
            &format!("uri /auth/caddy?{demands}\n"),
        )?;
    Ok(vec![file(
        "Caddyfile",
        heading(plan, "#", more) + "\n" + &draft.0,
    )])
}

pub fn envoy(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let more = ["Check and start it: envoy --mode validate -c envoy.yaml && envoy -c envoy.yaml"];
    let socket = |address: &Address| {
        format!(
            "{{ address: \"{}\", port_value: {} }}",
            address.host, address.port
        )
    };
    let cluster = |name: &str, address: &Address| {
        let kind = if address.ip().is_some() {
            "STATIC"
        } else {
            "STRICT_DNS"
        };
        format!("    - name: {name}\n      type: {kind}\n")
    };
    let header = |name: &str, value: &Option<String>| {
        let value = value.as_ref()?;
        let indentation = " ".repeat(34);
        Some(format!(
            "{indentation}- append:\n{indentation}    header: {{ key: {name}, value: \"{value}\" }}\n\
             {indentation}    append_action: OVERWRITE_IF_EXISTS_OR_ADD\n"
        ))
    };
    let demands: String = [
        header("x-latchkey-catalog", &plan.catalog),
        header("x-latchkey-workspace", &plan.workspace),
    ]
    .into_iter()
    .flatten()
    .collect();
    let text = include_str!("../../../examples/envoy/envoy.yaml");
    let draft = Draft(text.to_owned())
        .cut("# Latchkey in front of", "# The patterns below")?
        .put(
            "{ address: 127.0.0.1, port_value: 8084 }",
            &socket(&plan.listen),
        )?
        .put(
            "{ address: 127.0.0.1, port_value: 8420 }",
            &socket(&plan.latchkey),
        )?
        .put(
            "{ address: 127.0.0.1, port_value: 9000 }",
            &socket(&plan.upstream),
        )?
        .put(
            "uri: \"http://127.0.0.1:8420\"",
            &format!("uri: \"http://{}\"", plan.latchkey),
        )?
        .put(
            "    - name: latchkey\n      type: STATIC\n",
            &cluster("latchkey", &plan.latchkey),
        )?
        .put(
            "    - name: application\n      type: STATIC\n",
            &cluster("application", &plan.upstream),
        )?
        .put(
            "domains: [\"*\"]",
            &format!(
                "domains: [\"{0}\", \"{0}:{1}\"]",
                plan.host, plan.listen.port
            ),
        )?
        .put(
            "x-api-key, x-latchkey-catalog]",
            "x-api-key, x-latchkey-catalog, x-latchkey-workspace]",
        )?;
    let mutation = "                          typed_per_filter_config:\n                            envoy.filters.http.header_mutation:";
    let draft = match demands.as_str() {
        "" => draft
            .cut("                        # The catalog `billing` decides", "                        # Anything else passes")?
            .put("# Anything else passes if its key is good.", "# A request passes if its key is good.")?,
        demands => draft
            .cut("                        # Anything else passes", "  clusters:\n")?
            .put_part(
                "                        # The catalog `billing` decides",
                mutation,
                "                        # A request passes if Latchkey says so.\n                        - match: { prefix: / }\n                          route: { cluster: application }\n",
            )?
            .put_part(
                "                                  - append:\n                                      header: { key: x-latchkey-catalog",
                "  clusters:\n",
                demands,
            )?,
    };
    Ok(vec![file(
        "envoy.yaml",
        heading(plan, "#", &more) + &draft.0,
    )])
}

pub fn traefik(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let asked = with_query("/auth/traefik", &plan.demands());
    let host = format!("rule: Host(`{}`) && ", plan.host);
    let fixed = Draft(include_str!("../../../examples/traefik/traefik.yaml").to_owned())
        .cut("# Latchkey in front of", "global:\n")?
        .put(
            "address: 127.0.0.1:8085",
            &format!("address: \"{}\"", plan.listen),
        )?;
    let rules = Draft(include_str!("../../../examples/traefik/rules.yaml").to_owned())
        .cut(
            "    # Decoded and without regard to case",
            "    # Anything else passes",
        )?
        .put(
            "# Anything else passes if its key is good.",
            "# A request passes if Latchkey says so.",
        )?
        .cut("    latchkey-billing:\n", "\n    # Only a WebSocket")?
        .put("forwardAuth: &question", "forwardAuth:")?
        .put(
            "http://127.0.0.1:8420/auth/traefik",
            &format!("http://{}{asked}", plan.latchkey),
        )?
        .put("rule: ", &host)?
        .put(
            "url: http://127.0.0.1:9000",
            &format!("url: http://{}", plan.upstream),
        )?;
    let more = [
        "The rules are in rules.yaml, beside this file. Start it in their folder: traefik --configFile=traefik.yaml",
    ];
    Ok(vec![
        file("traefik.yaml", heading(plan, "#", &more) + &fixed.0),
        file("rules.yaml", rules.0),
    ])
}

/// Whether the address is that of this machine, so that nobody on the way can read what is sent to it.
fn is_local(address: &Address) -> bool {
    match address.ip() {
        Some(IpAddr::V4(ip)) => ip.is_loopback(),
        Some(IpAddr::V6(ip)) => ip.is_loopback(),
        None => address.host == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::connect::{Plan, Proxy, Typed};

    fn plan(catalog: &str, workspace: &str) -> Plan {
        let typed = Typed {
            host: "orders.example".to_owned(),
            upstream: "10.0.0.7:9100".to_owned(),
            listen: "127.0.0.1:8190".to_owned(),
            latchkey: "10.0.0.5:8421".to_owned(),
            catalog: catalog.to_owned(),
            workspace: workspace.to_owned(),
        };
        Plan::read(&typed).unwrap()
    }

    fn text_of(proxy: Proxy, change: impl Fn(&mut Typed)) -> String {
        let mut typed = Typed {
            host: "orders.example".to_owned(),
            upstream: "10.0.0.7:9100".to_owned(),
            ..Typed::default()
        };
        change(&mut typed);
        let files = Plan::read(&typed).unwrap().files(proxy).unwrap();
        files.iter().map(|file| file.text.as_str()).collect()
    }

    #[test]
    fn the_addresses_of_the_example_may_be_taken_the_other_way_round() {
        let text = text_of(Proxy::Nginx, |typed| {
            typed.upstream = "127.0.0.1:8420".to_owned();
            typed.latchkey = "127.0.0.1:9000".to_owned();
        });
        for (name, address) in [
            ("application", "127.0.0.1:8420"),
            ("latchkey", "127.0.0.1:9000"),
        ] {
            let (_, block) = text.split_once(&format!("upstream {name} {{")).unwrap();
            let (block, _) = block.split_once('}').unwrap();
            assert!(block.contains(&format!("server {address};")), "{text}");
        }
    }

    #[test]
    fn caddy_has_tls_on_its_port_and_no_name_is_a_word_of_its_own() {
        for (listen, host, site) in [
            ("", "orders.example", "\nhttps://orders.example {\n"),
            ("", "import", "\nhttps://import {\n"),
            (
                "0.0.0.0:443",
                "orders.example",
                "\nhttps://orders.example {\n",
            ),
            (
                "10.0.0.1:443",
                "orders.example",
                "\nhttps://orders.example {\n\tbind 10.0.0.1\n",
            ),
            (
                "10.0.0.1:81",
                "orders.example",
                "\nhttp://orders.example:81 {\n\tbind 10.0.0.1\n",
            ),
        ] {
            let text = text_of(Proxy::Caddy, |typed| {
                typed.listen = listen.to_owned();
                typed.host = host.to_owned();
            });
            assert!(text.contains(site), "{listen} {host}: {text}");
        }
    }

    #[test]
    fn nothing_of_the_example_is_left_in_a_configuration() {
        for proxy in Proxy::ALL {
            for (catalog, workspace) in [("", ""), ("orders", ""), ("", "emea"), ("orders", "emea")]
            {
                let files = plan(catalog, workspace).files(proxy).unwrap();
                let text: String = files.iter().map(|file| file.text.as_str()).collect();
                for old in [
                    "127.0.0.1:9000",
                    "127.0.0.1:8420",
                    "808",
                    "billing",
                    "port_value: 8420",
                    "port_value: 9000",
                ] {
                    assert!(!text.contains(old), "{}: {old} in\n{text}", proxy.name());
                }
                let port = match proxy {
                    // Of the agent.
                    Proxy::HaproxySpoe => "10.0.0.5:8422",
                    _ => "8421",
                };
                for new in [
                    "orders.example",
                    "10.0.0.7",
                    "9100",
                    "8190",
                    "10.0.0.5",
                    port,
                ] {
                    assert!(text.contains(new), "{}: {new}", proxy.name());
                }
                for demand in [catalog, workspace]
                    .into_iter()
                    .filter(|demand| !demand.is_empty())
                {
                    let asked = text.contains(&format!("={demand}"))
                        || text.contains(&format!("/auth/gateway/{demand}"))
                        || text.contains(&format!("value: \"{demand}\""));
                    assert!(asked, "{}: {demand}", proxy.name());
                }
                assert!(!text.contains("\n\n\n"), "{}", proxy.name());
            }
        }
    }
}
