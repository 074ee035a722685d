//! When a console session ends automatically.

use super::Visitor;
use crate::clock::restart_with_mark_ms;
use crate::support::Server;

/// Starts the server again as if this number of minutes had passed. It moves the recorded time, because a session whose
/// row is changed ends.
fn restart_later(server: &mut Server, minutes: i64) {
    restart_with_mark_ms(server, minutes * 60_000);
}

// attacks 172
#[test]
fn a_session_nobody_uses_ends_after_half_an_hour() {
    let mut server = Server::start();
    let mut owner = Visitor::owner(&server);
    restart_later(&mut server, 28);
    owner.get("/console/account").expect(200);
    restart_later(&mut server, 28);
    owner.get("/console/account").expect(200);
    restart_later(&mut server, 30);
    owner.get("/console/account").expect(303);
}

// attacks 172
#[test]
fn a_session_ends_after_half_a_day_however_much_it_is_used() {
    let mut server = Server::start();
    let mut owner = Visitor::owner(&server);
    let mut minutes = 12 * 60 - 2;
    while minutes > 0 {
        let step = minutes.min(28);
        restart_later(&mut server, step);
        owner.get("/console/account").expect(200);
        minutes -= step;
    }
    restart_later(&mut server, 2);
    owner.get("/console/account").expect(303);
}
