//! What users choose for their own pages: language, colours and time zone.

use super::Visitor;
use crate::support::{Server, executable, fresh_folder};
use serde_json::json;

fn choose(visitor: &mut Visitor, language: &str, theme: &str, zone: &str) -> u16 {
    visitor.get("/console/account").expect(200);
    let fields = [
        ("language", language),
        ("theme", theme),
        ("time_zone", zone),
    ];
    visitor.post("/console/account/preferences", &fields).status
}

#[test]
fn a_user_chooses_the_colours_of_their_own_pages() {
    let server = Server::start();
    server.admin().person("mia", "auditor", "root");
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/account").expect(200).text();
    assert!(page.contains("<html lang=\"en\">"), "{page:.200}");
    assert!(page.contains("content=\"light dark\""));
    for theme in ["dark", "light"] {
        assert_eq!(choose(&mut owner, "", theme, ""), 303);
        let page = owner.get("/console").expect(200).text();
        assert!(page.contains(&format!("<html lang=\"en\" data-theme=\"{theme}\">")));
        assert!(page.contains(&format!("name=\"color-scheme\" content=\"{theme}\"")));
    }
    let mut mia = Visitor::new(&server);
    mia.sign_in("mia", crate::support::PASSWORD).expect(303);
    let page = mia.get("/console").expect(200).text();
    assert!(!page.contains("data-theme"));
    let events = server
        .admin()
        .get("/v1/audit-events?action=user.preferences")
        .expect(200)
        .json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
}

#[test]
fn times_and_days_are_those_of_the_zone() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    assert_eq!(choose(&mut owner, "", "", "Asia/Tokyo"), 303);
    let page = owner.get("/console/account").expect(200).text();
    assert!(page.contains(" JST\""), "{page}");
    assert!(page.contains("<option value=\"Asia/Tokyo\" selected>"));
    let form = owner
        .get("/console/keys/new?policy=standard")
        .expect(200)
        .text();
    assert!(form.contains("Asia/Tokyo"), "{form}");
    let nonce = owner.value("nonce").unwrap();
    let fields = [
        ("policy", "standard"),
        ("nonce", nonce.as_str()),
        ("name", "k"),
        ("workspace", "root"),
        ("read_only", "no"),
        ("expires_on", "2031-05-05"),
        ("starts_on", "2030-05-05"),
    ];
    owner.post("/console/keys/new", &fields).expect(200);
    let keys = server.admin().get("/v1/keys?q=k").expect(200).json();
    let key = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "k")
        .unwrap();
    assert_eq!(key["expires_at"], json!("2031-05-05T15:00:00Z"));
    assert_eq!(key["not_before"], json!("2030-05-04T15:00:00Z"));
    let path = format!("/console/keys/{}", key["id"].as_str().unwrap());
    assert!(owner.get(&path).expect(200).text().contains(">2031-05-05<"));
    // The form of the key has the same days, so that saving it changes nothing.
    let edit = owner.get(&format!("{path}/edit")).expect(200).text();
    assert!(edit.contains("value=\"2031-05-05\"") && edit.contains("value=\"2030-05-05\""));
    assert_eq!(choose(&mut owner, "", "", ""), 303);
    assert!(
        owner
            .get(&path)
            .expect(200)
            .text()
            .contains(">2031-05-05 15:00 UTC<")
    );
}

#[test]
fn a_choice_that_there_is_not_is_refused_at_its_field() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    for (language, theme, zone, field) in [
        ("xx", "", "", "language"),
        ("../de", "", "", "language"),
        ("", "pink", "", "theme"),
        ("", "", "Europe/Nowhere", "time_zone"),
        ("", "", "../../etc/passwd", "time_zone"),
    ] {
        assert_eq!(
            choose(&mut owner, language, theme, zone),
            422,
            "{language}{theme}{zone}"
        );
        assert!(
            owner.page.contains(&format!("id=\"refused-{field}\"")),
            "{}",
            owner.page
        );
        assert!(!owner.page.contains("data-theme=\"pink"));
    }
    let events = server
        .admin()
        .get("/v1/audit-events?action=user.preferences")
        .expect(200)
        .json();
    assert_eq!(events["items"], json!([]));
}

/// A configured file counts as the language that it names, for a browser and as a choice.
#[test]
fn the_language_is_that_of_the_user_then_of_the_browser_then_of_the_server() {
    let folder = fresh_folder();
    let path = folder.join("dutch.txt");
    std::fs::write(&path, "[frame]\nlanguage = nl\nlanguage_name = Nederlands\n[sign_in]\ntitle = Aanmelden\n[account]\ntitle = Uw account\n").unwrap();
    let server = Server::start_with(&["--console-texts", path.to_str().unwrap()], &[]);
    let lang = |accept: &str| {
        let headers = [("Accept-Language", accept)];
        let page = server
            .call("GET", "/console/sign-in", &headers, None)
            .expect(200)
            .text();
        let rest = page.split("<html lang=\"").nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    for (accept, expected) in [
        ("", "nl"),
        ("en-GB,en;q=0.9", "en"),
        ("nl-BE, en;q=0.5", "nl"),
        ("xx, en;q=0.1, nl;q=0.2", "nl"),
        ("en;q=0, xx", "nl"),
        ("en;q=nonsense;;;,,, ", "nl"),
    ] {
        assert_eq!(lang(accept), expected, "{accept:?}");
    }
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/account").expect(200).text();
    assert!(page.contains("<html lang=\"nl\"") && page.contains("Uw account"));
    assert!(page.contains("<option value=\"nl\" lang=\"nl\">Nederlands</option>"));
    assert_eq!(choose(&mut owner, "en", "", ""), 303);
    let page = owner.get("/console/account").expect(200).text();
    assert!(page.contains("<html lang=\"en\"") && page.contains("Your account"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_translation_is_checked_with_one_command() {
    let folder = fresh_folder();
    let path = folder.join("texts.txt");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let done = executable(None)
            .args(["console-texts", "--check"])
            .arg(&path)
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    let english = executable(None).arg("console-texts").output().unwrap();
    let english = String::from_utf8(english.stdout).unwrap();
    let (code, said) = check(&english);
    // The names and labels of English have no translation.
    assert!(
        code == Some(1) && said.contains("lacks Read catalogs"),
        "{said}"
    );
    assert!(
        !said.lines().any(|fault| fault.starts_with("line ")),
        "{said}"
    );
    let (code, said) = check("[when]\nago = vor langer Zeit\n[nav]\nkeis = x\n");
    assert_eq!(code, Some(1));
    assert!(
        said.contains("line 2: \"when.ago\" lacks the place {}"),
        "{said}"
    );
    assert!(
        said.contains("line 4: the console has no text \"nav.keis\""),
        "{said}"
    );
    assert!(
        said.contains("lacks refusals.keys.expired") || said.contains("lacks refusals."),
        "{said}"
    );
    let german = executable(None)
        .args(["console-texts", "--language", "de"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(german.stdout)
            .unwrap()
            .contains("language = de")
    );
    let none = executable(None)
        .args(["console-texts", "--language", "xx"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(1));
    std::fs::remove_dir_all(folder).unwrap();
}
