//! The files for gateways in Kubernetes, made of the examples. They name Services, not addresses: for an address outside
//! the cluster a file declares a Service that leads to it.

use super::edits::Draft;
use super::{Address, ConfigFile, Plan};
use crate::domain::declared::sha256;
use crate::domain::hex::hex;
use crate::error::{Error, Result};
use crate::refusals::connect;
use std::net::IpAddr;

/// A Service of the cluster.
struct Service {
    name: String,
    namespace: String,
    port: u16,
    /// The machine outside the cluster to which the Service leads.
    outside: Option<IpAddr>,
}

/// The examples, and what each of them is for.
#[rustfmt::skip] // Columns are the point of this table.
const EXAMPLES: [(&str, &str, &str); 4] = [
    ("nginx-gateway-fabric.yaml", "a gateway with the filter ExternalAuth, such as NGINX Gateway Fabric", include_str!("../../../examples/gateway-api/nginx-gateway-fabric.yaml")),
    ("envoy-gateway.yaml",        "Envoy Gateway",                                                        include_str!("../../../examples/gateway-api/envoy-gateway.yaml")),
    ("istio.yaml",                "Istio, together with istio-mesh.yaml",                                 include_str!("../../../examples/gateway-api/istio.yaml")),
    ("istio-mesh.yaml",           "Istio: the question, a part of the configuration of the mesh",         include_str!("../../../examples/gateway-api/istio-mesh.yaml")),
];

/// What the examples ask, and the name of the provider in those for Istio.
const QUESTION: &str = "/auth/gateway/billing/-";
const PROVIDER: &str = "latchkey-application";

/// The greatest number of characters of the name of an object.
const RESOURCE_NAME_CHARS_MAX: usize = 50;
/// The hexadecimal digits of a digest that set the names of two hosts apart.
const DIGEST_CHARS: usize = 6;

/// Checks that the addresses can be written as Services.
pub fn check(plan: &Plan) -> Result<()> {
    services(plan).map(|_| ())
}

/// A set of files for each gateway; one set is needed.
pub fn files(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let (application, latchkey) = services(plan)?;
    let files = EXAMPLES.map(|(name, about, text)| {
        let body = match name {
            "istio-mesh.yaml" => mesh(plan, &latchkey, text)?,
            _ => route(plan, &application, &latchkey, name, text)?,
        };
        Ok(ConfigFile {
            name: name.to_owned(),
            text: heading(plan, about, name) + &body,
        })
    });
    files.into_iter().collect()
}

fn heading(plan: &Plan, about: &str, name: &str) -> String {
    let apply = match name {
        "istio-mesh.yaml" => {
            "istioctl install -f istio-mesh.yaml, or below meshConfig in the values of the Helm chart"
        }
        _ => &*format!("kubectl apply -f {name}"),
    };
    format!(
        "# Latchkey in front of {}, for {about}.\n# Of the gateways in these files, choose the one that you have.\n#\n#   {apply}\n#\n# \
         Start Latchkey with --trusted-proxies and the network of the gateway's pods.\n",
        plan.host
    )
}

/// The file with the route, and with the Services that lead out of the cluster.
fn route(
    plan: &Plan,
    application: &Service,
    latchkey: &Service,
    name: &str,
    text: &str,
) -> Result<String> {
    let part = |before: &str, value: &dyn std::fmt::Display| format!("{before}{value}\n");
    let text_part = |before: &str, value: &str| part(before, &quoted(value));
    let own = resource_name(&plan.host);
    // What is written in capital letters stands for values that could equal what a later replacement looks for.
    let draft = Draft(text.to_owned())
        .cut("# Latchkey in front of", "apiVersion: ")?
        .put("port: 80\n", "port: LISTENED\n")?
        .put("- app.example\n", "- \"HOST\"\n")?
        .put("hostname: app.example\n", "hostname: \"HOST\"\n")?
        .put(
            "- name: application\n          port: 9000\n",
            "- name: \"SERVICE\"\n          port: SERVED\n",
        )?
        .put(" namespace: default\n", " namespace: \"NAMESPACE\"\n")?
        .put(" name: application\n", &text_part(" name: ", &own))?;
    let draft = match name {
        "istio.yaml" => draft.put(PROVIDER, &format!("latchkey-{own}"))?,
        _ => draft
            .put(" name: latchkey\n", &text_part(" name: ", &latchkey.name))?
            .put(
                " namespace: latchkey\n",
                &text_part(" namespace: ", &latchkey.namespace),
            )?
            .put("port: 8420\n", &part("port: ", &latchkey.port))?
            .put(QUESTION, &question(plan))?,
    };
    let draft = draft
        .put("LISTENED", &plan.listen.port.to_string())?
        .put("SERVED", &application.port.to_string())?
        .put("NAMESPACE", &application.namespace)?
        .put("SERVICE", &application.name)?
        .put("HOST", &plan.host)?;
    Ok(draft.0 + &declared(application) + &declared(latchkey))
}

/// The part of the mesh's configuration.
fn mesh(plan: &Plan, latchkey: &Service, text: &str) -> Result<String> {
    let service = format!("{}.{}.svc.cluster.local", latchkey.name, latchkey.namespace);
    let provider = format!("latchkey-{}", resource_name(&plan.host));
    let draft = Draft(text.to_owned())
        .cut("# The question that Istio asks", "apiVersion: ")?
        .put(PROVIDER, &provider)?
        .put("latchkey.latchkey.svc.cluster.local", &quoted(&service))?
        .put("port: 8420\n", &format!("port: {}\n", latchkey.port))?
        .put(QUESTION, &question(plan))?;
    Ok(draft.0)
}

/// A text of YAML that is no number, switch or null, whatever it is: names such as `on` and `123` are allowed.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// A name for the objects of this host, which several hosts in one namespace need: the host with dashes. Controllers
/// make names of Services of it, which have at most 63 characters (RFC 1123, section 2.1) and begin with a letter. Where
/// another host could have the same name, it ends with digits of the host's digest.
fn resource_name(host: &str) -> String {
    let plain = host.replace('.', "-");
    let begins = host.starts_with(|first: char| first.is_ascii_lowercase());
    if begins && !host.contains(['-', '_']) && plain.len() <= RESOURCE_NAME_CHARS_MAX {
        return plain;
    }
    let digest: String = hex(&sha256(host.as_bytes()))
        .chars()
        .take(DIGEST_CHARS)
        .collect();
    let mut name = plain.replace('_', "-");
    if !begins {
        name.insert_str(0, "host-");
    }
    name.truncate(RESOURCE_NAME_CHARS_MAX - 1 - DIGEST_CHARS);
    format!("{}-{digest}", name.trim_end_matches('-'))
}

/// The path of the question, which contains what it demands.
fn question(plan: &Plan) -> String {
    let catalog = plan.catalog.as_deref().unwrap_or("-");
    match &plan.workspace {
        Some(workspace) => format!("/auth/gateway/{catalog}/workspace={workspace}/-"),
        None => format!("/auth/gateway/{catalog}/-"),
    }
}

/// The Services of the application and of Latchkey. The address of Latchkey on its own machine stands for the Service of
/// the example, because in a pod it would be the pod itself.
fn services(plan: &Plan) -> Result<(Service, Service)> {
    let application = service("upstream", &plan.upstream, ["application", "default"])?;
    let latchkey = match is_own(&plan.latchkey) {
        true => Service {
            name: "latchkey".to_owned(),
            namespace: "latchkey".to_owned(),
            port: plan.latchkey.port,
            outside: None,
        },
        false => service("latchkey", &plan.latchkey, ["latchkey", "latchkey"])?,
    };
    Ok((application, latchkey))
}

/// The Service that an address names, as `NAME`, `NAME.NAMESPACE`, `NAME.NAMESPACE.svc` or with `.cluster.local` behind
/// it; or a new one of this name and namespace for an IP address.
fn service(field: &str, address: &Address, [name, namespace]: [&str; 2]) -> Result<Service> {
    let refused = || Error::invalid(field, connect::service());
    if is_own(address) {
        return Err(refused());
    }
    let of = |name: &str, namespace: &str, outside: Option<IpAddr>| Service {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        port: address.port,
        outside,
    };
    if let Some(ip) = address.ip() {
        return Ok(of(name, namespace, Some(ip)));
    }
    let labels: Vec<&str> = address.host.split('.').collect();
    let found = match labels[..] {
        [name] => of(name, namespace, None),
        [name, namespace]
        | [name, namespace, "svc"]
        | [name, namespace, "svc", "cluster", "local"] => of(name, namespace, None),
        _ => return Err(refused()),
    };
    // Names in a cluster are stricter than those of hosts (RFC 1035, section 2.3.1; RFC 1123, section 2.1).
    let is_name = !found.name.contains('_') && !found.namespace.contains('_');
    let begins = found
        .name
        .starts_with(|first: char| first.is_ascii_lowercase());
    match is_name && begins {
        true => Ok(found),
        false => Err(refused()),
    }
}

/// Whether the address is that of the machine which uses it.
fn is_own(address: &Address) -> bool {
    match address.ip() {
        Some(ip) => ip.is_loopback() || ip.is_unspecified(),
        None => address.host == "localhost",
    }
}

/// A Service that leads to a machine outside the cluster; empty for a Service of the cluster.
fn declared(service: &Service) -> String {
    let Some(ip) = service.outside else {
        return String::new();
    };
    let Service {
        name,
        namespace,
        port,
        ..
    } = service;
    let (outside, name, namespace) = (
        quoted(&format!("{name}-outside")),
        quoted(name),
        quoted(namespace),
    );
    let family = match ip {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    };
    format!(
        "---\n# Outside the cluster.\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  ipFamilies: [{family}]\n  \
         ports:\n    - name: http\n      protocol: TCP\n      port: {port}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  \
         name: {outside}\n  namespace: {namespace}\n  labels:\n    kubernetes.io/service-name: {name}\naddressType: {family}\nports:\n  \
         - name: http\n    protocol: TCP\n    port: {port}\nendpoints:\n  - addresses: [\"{ip}\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::connect::{Proxy, Typed};

    fn plan(upstream: &str, latchkey: &str) -> Plan {
        let typed = Typed {
            host: "orders.example".to_owned(),
            upstream: upstream.to_owned(),
            latchkey: latchkey.to_owned(),
            catalog: "orders".to_owned(),
            ..Typed::default()
        };
        Plan::read(&typed).unwrap()
    }

    fn text(upstream: &str, latchkey: &str) -> String {
        let files = plan(upstream, latchkey).files(Proxy::Gateway).unwrap();
        files.into_iter().map(|file| file.text).collect()
    }

    #[test]
    fn services_of_the_cluster_are_named_and_machines_declared() {
        let named = text("orders.shop:9100", "keys.auth.svc.cluster.local:8421");
        for part in [
            "- name: \"orders\"\n          port: 9100",
            "namespace: \"shop\"\n",
            "              name: \"keys\"\n              namespace: \"auth\"\n              port: 8421",
            "service: \"keys.auth.svc.cluster.local\"",
            "path: /auth/gateway/orders/-",
        ] {
            assert!(named.contains(part), "{part} in\n{named}");
        }
        assert!(!named.contains("EndpointSlice"));
        let usual = text("orders:9100", "");
        assert!(usual.contains("namespace: \"default\"\n"));
        assert!(usual.contains("service: \"latchkey.latchkey.svc.cluster.local\""));
        let outside = text("10.0.0.7:9100", "[2001:db8::5]:8421");
        for part in [
            "addressType: IPv4\nports:\n  - name: http\n    protocol: TCP\n    port: 9100\nendpoints:\n  - addresses: [\"10.0.0.7\"]",
            "addressType: IPv6\nports:\n  - name: http\n    protocol: TCP\n    port: 8421\nendpoints:\n  - addresses: [\"2001:db8::5\"]",
        ] {
            assert!(outside.contains(part), "{part} in\n{outside}");
        }
    }

    #[test]
    fn names_that_yaml_reads_as_something_else_are_texts() {
        for name in ["on", "no", "null", "y"] {
            let typed = Typed {
                host: name.to_owned(),
                upstream: format!("{name}.{name}:8420"),
                listen: "0.0.0.0:8420".to_owned(),
                latchkey: format!("{name}.123:8421"),
                ..Typed::default()
            };
            let files = Plan::read(&typed).unwrap().files(Proxy::Gateway).unwrap();
            for file in files {
                for line in file.text.lines() {
                    let value = line.trim().trim_start_matches("- ");
                    let value = value.rsplit(": ").next().unwrap_or_default();
                    assert!(value != name && value != "123", "{line} in {}", file.text);
                }
            }
        }
    }

    #[test]
    fn no_port_takes_the_place_of_another() {
        let typed = Typed {
            host: "orders.example".to_owned(),
            upstream: "orders:8420".to_owned(),
            listen: "0.0.0.0:8420".to_owned(),
            latchkey: "keys.auth:8421".to_owned(),
            ..Typed::default()
        };
        let files = Plan::read(&typed).unwrap().files(Proxy::Gateway).unwrap();
        let route = &files.first().unwrap().text;
        assert_eq!(route.matches("port: 8420").count(), 2, "{route}");
        assert_eq!(route.matches("port: 8421").count(), 1, "{route}");
    }

    #[test]
    fn two_hosts_have_two_names() {
        let long = "a.".repeat(40);
        let hosts = [
            "a.b",
            "a-b",
            "a_b",
            "1a",
            "host.1a",
            &format!("{long}x"),
            &format!("{long}y"),
        ]
        .map(resource_name);
        assert_eq!(hosts[0], "a-b");
        for (at, name) in hosts.iter().enumerate() {
            assert!(!hosts[..at].contains(name), "{name}");
            assert!(name.len() <= RESOURCE_NAME_CHARS_MAX, "{name}");
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()));
            assert!(!name.contains('_') && !name.ends_with('-'), "{name}");
        }
    }

    #[test]
    fn what_no_pod_can_reach_is_refused_at_its_field() {
        for (upstream, latchkey, field) in [
            ("127.0.0.1:9000", "", "upstream"),
            ("localhost:9000", "", "upstream"),
            ("0.0.0.0:9000", "", "upstream"),
            ("orders.shop.example.com:9000", "", "upstream"),
            ("my_app.shop:9000", "", "upstream"),
            ("1app:9000", "", "upstream"),
            ("orders:9000", "keys.example.com:8420", "latchkey"),
        ] {
            match plan(upstream, latchkey).check_for(Proxy::Gateway) {
                Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field, "{upstream}"),
                other => panic!("{upstream} {latchkey}: {other:?}"),
            }
        }
    }
}
