//! The first step of a two-step sign-in: what the client keeps until the code comes is good for one sign-in.

use std::fs;

use super::second_factor::{ALONE, enrol, sign_in};
use crate::console::Visitor;
use crate::keeping::restore::{back_up, restore};
use crate::support::{PASSWORD, Server, code};

/// What the page for the code keeps of the first step of alice's sign-in.
#[track_caller]
fn first_step(server: &Server) -> String {
    let mut visitor = Visitor::new(server);
    visitor.sign_in("alice", PASSWORD).expect(200);
    visitor.value("step").unwrap()
}

/// The status of the second step.
fn enter(server: &Server, step: &str, code: &str) -> u16 {
    let fields = [("step", step), ("user_name", "alice"), ("code", code)];
    Visitor::new(server)
        .send("/console/sign-in", &fields)
        .status
}

/// The second step of a sign-in may reach another process than the first. A first step is good for one sign-in all the same.
#[test]
fn a_restart_between_the_two_steps_ends_no_sign_in_and_repeats_none() {
    let mut server = Server::start_with(&ALONE, &[]);
    server.admin().person("alice", "member", "root");
    let (_, codes) = enrol(&server.local(), "alice");
    let step = first_step(&server);
    for (code, status) in [(&codes[0], 303), (&codes[1], 403)] {
        server.kill9();
        server.restart();
        assert_eq!(enter(&server, &step, code), status);
    }
    sign_in(&server, "alice", Some(&codes[1]));
}

/// The copy knows neither that the first step was used nor that its code was.
#[test]
fn an_older_copy_makes_no_used_first_step_good_again() {
    for by_hand in [false, true] {
        let mut server = Server::start_with(&ALONE, &[]);
        server.admin().person("alice", "member", "root");
        let (secret, _) = enrol(&server.local(), "alice");
        let backup = back_up(&server);
        let step = first_step(&server);
        let code = code(&secret, 1);
        assert_eq!(enter(&server, &step, &code), 303);
        match by_hand {
            false => drop(restore(&mut server, &backup, &[])),
            true => {
                server.stop();
                fs::copy(&backup, server.data.join("latchkey.db")).unwrap();
            }
        }
        server.restart();
        assert_eq!(enter(&server, &step, &code), 403);
        let fresh = first_step(&server);
        assert_eq!(enter(&server, &fresh, &code), 303);
    }
}
