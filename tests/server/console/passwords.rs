//! Passwords as people choose them: accepted unchanged, or refused with a reason at the field.

use super::Visitor;
use crate::support::Server;

/// Sets the owner's password in the console, and returns the status of the answer.
fn set(owner: &mut Visitor, current: &str, new: &str) -> u16 {
    let fields = [
        ("current_password", current),
        ("password", new),
        ("password_again", new),
    ];
    owner.get("/console/account").expect(200);
    owner.post("/console/account/password", &fields).status
}

// attacks 177
#[test]
fn passwords_of_every_length_and_script_are_taken_as_they_come() {
    let mut server = Server::start();
    let mut owner = Visitor::owner(&server);
    let mut current = server.owner_password.clone();
    for (refused, why) in [
        ("seven77", "at least 12"),
        ("eight888", "at least 12"),
        ("elevenbytes", "at least 12"),
        ("🦉🔑🚪🗝️ owls", "at least 12"),
    ] {
        assert_eq!(set(&mut owner, &current, refused), 422, "{refused}");
        assert!(owner.page.contains(why), "{refused}");
    }
    let longest = "seven lanterns ".repeat(68) + "1234";
    assert_eq!(longest.len(), 1_024);
    let lines = "a line that is long enough\u{0}with NUL";
    for taken in [
        "twelve bytes",
        "fifteen letters",
        &"64 ".repeat(22)[..64],
        &"128 ".repeat(32),
        "   blanks before and behind   ",
        "🦉🔑🚪🗝️ seven owls",
        "Ängström über Öl",
        lines,
        &longest,
    ] {
        // A restart resets the count of attempts, which this test is not about.
        server.stop();
        server.restart();
        assert_eq!(set(&mut owner, &current, taken), 303, "{taken:?}");
        current = taken.to_owned();
        // A password is neither trimmed nor cut nor normalised.
        let decomposed = taken.replace('Ä', "A\u{308}").replace('ü', "u\u{308}");
        let others = [
            taken.trim().to_owned(),
            taken[..taken.len() - taken.chars().last().unwrap().len_utf8()].to_owned(),
            taken.to_uppercase(),
            taken.split('\u{0}').next().unwrap().to_owned(),
            decomposed,
        ];
        let mut visitor = Visitor::new(&server);
        for other in others.iter().filter(|other| *other != taken) {
            let status = visitor.sign_in(&server.owner_user_name, other).status;
            assert_eq!(status, 403, "{other:?} for {taken:?}");
        }
    }
    let mut visitor = Visitor::new(&server);
    let too_long = longest.clone() + "5";
    assert_eq!(set(&mut owner, &current, &too_long), 422);
    assert!(owner.page.contains("at most 1024"));
    let huge = "x".repeat(1_000_000);
    owner.get("/console/account").expect(200);
    let fields = [("password", huge.as_str())];
    owner.post("/console/account/password", &fields).expect(413);
    let status = visitor
        .send("/console/sign-in", &[("password", huge.as_str())])
        .status;
    assert_eq!(status, 413);
    server.assert_alive();
}

// attacks 178
#[test]
fn passwords_that_are_guessed_first_are_refused_with_the_reason() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let current = server.owner_password.clone();
    for guessed in [
        "passwordpassword",
        "123456789012",
        "Qwertyuiop12",
        "aaaaaaaaaaaaaaaaaaaa",
        "Latchkey2026!",
        "owner-20262026",
    ] {
        assert_eq!(set(&mut owner, &current, guessed), 422, "{guessed}");
        let said = "is a password that is guessed first; choose another one";
        assert!(owner.page.contains(said), "{guessed}");
        assert!(!owner.page.contains(guessed), "it is not shown again");
    }
    // The same applies to users that other users create.
    owner.get("/console/users/new").expect(200);
    let fields = [("user_name", "grace"), ("password", "grace-20262026")];
    owner.post("/console/users/new", &fields).expect(422);
    assert!(owner.page.contains("guessed first"));
    server.admin().get("/v1/users/grace").expect(404);
}
