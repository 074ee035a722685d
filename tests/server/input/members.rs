//! Every member of every request body.

use serde_json::json;

use super::{routes, state, values};

/// attacks 112, 125, 148, 152, 153, 177, 178, 191
#[test]
fn a_bad_value_is_refused_by_its_members_name_and_changes_nothing() {
    let (server, routes) = routes();
    let admin = server.admin();
    let mut sent = 0;
    for route in &routes {
        let before = state(&admin);
        for (member, kind) in &route.members {
            for (value, rest) in values::refused(*kind) {
                let mut body = route.good.clone();
                body[*member] = value;
                let response = admin.call(route.method, &route.path, Some(&body));
                response.refused_field(&format!("{member}{rest}"));
                sent += 1;
            }
        }
        assert_eq!(state(&admin), before, "{} {}", route.method, route.path);
    }
    assert!(sent > 600, "only {sent} requests");
}

/// attacks 124
#[test]
fn unknown_and_doubled_members_are_refused_by_name() {
    let (server, routes) = routes();
    let admin = server.admin();
    for route in &routes {
        let before = state(&admin);
        for member in [
            "id",
            "workspace_id",
            "created_by",
            "hash",
            "role",
            "is_root",
            "uses",
            "Name",
            "",
            "x\u{202e}",
        ] {
            let mut body = route.good.clone();
            body[member] = json!(1);
            let response = admin.call(route.method, &route.path, Some(&body));
            // What could be taken for something else is written out.
            response.refused_field(&member.replace('\u{202e}', "\\u{202e}"));
        }
        for (member, _) in &route.members {
            let mut body = route.good.clone();
            body[*member] = json!(null);
            let body = format!("{{\"{member}\":1,{}", &body.to_string()[1..]);
            let response = admin.send(
                route.method,
                &route.path,
                "application/json",
                body.as_bytes(),
            );
            response.refused_field(member);
        }
        assert_eq!(state(&admin), before, "{} {}", route.method, route.path);
    }
}

#[test]
fn members_that_are_needed_are_named() {
    let (server, routes) = routes();
    let admin = server.admin();
    for route in &routes {
        for member in route.good.as_object().unwrap().keys() {
            let needed = !matches!(
                (route.path.as_str(), member.as_str()),
                ("/v1/verify", "host") | ("/v1/workspaces", "name") | ("/v1/catalogs/shop", _)
            );
            if !needed {
                continue;
            }
            for absent in [true, false] {
                let mut body = route.good.clone();
                body[member] = json!(null);
                if absent {
                    body.as_object_mut().unwrap().remove(member);
                }
                let response = admin.call(route.method, &route.path, Some(&body));
                response.refused_field(member);
            }
        }
    }
}

/// Times may have any offset and are returned in UTC. attacks 148, 241
#[test]
fn times_are_normalised() {
    let (server, _) = routes();
    let admin = server.admin();
    for (given, told) in [
        ("2040-01-01T00:00:00Z", "2040-01-01T00:00:00Z"),
        ("2040-01-01t00:00:00z", "2040-01-01T00:00:00Z"),
        ("2040-01-01T02:00:00+02:00", "2040-01-01T00:00:00Z"),
        ("2039-12-31T14:30:00-09:30", "2040-01-01T00:00:00Z"),
        ("2040-01-01T00:00:00.123456Z", "2040-01-01T00:00:00.123Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ] {
        let key = admin.issue(json!({ "name": "k", "expires_at": given })).key;
        assert_eq!(key["expires_at"], told, "{given}");
    }
    let far = admin
        .issue(json!({ "name": "k", "expires_in_s": 9_007_199_254_740_992_u64 }))
        .key;
    assert_eq!(
        far["expires_at"], "9999-12-31T23:59:59Z",
        "saturates at the last instant that can be written"
    );
    for name in [
        "é".repeat(100),
        "🎉 = 1".to_owned(),
        "=cmd|' /C calc'!A0".to_owned(),
        "<script>".to_owned(),
    ] {
        assert_eq!(
            admin.issue(json!({ "name": name })).key["name"],
            name.as_str(),
            "harmless text is taken as it is"
        );
    }
}
