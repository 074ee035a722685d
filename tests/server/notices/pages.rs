//! The page of notices in the console.

use super::notable;
use crate::console::Visitor;
use crate::support::{Server, wait};

#[test]
fn a_user_sees_what_is_new_and_marks_it_as_read() {
    let server = Server::start();
    notable(&server.admin(), "alice");
    let mut owner = Visitor::owner(&server);
    let page = wait::some("the page has the notice", || {
        let page = owner.get("/console/notices").text();
        page.contains("Password or second factor changed")
            .then_some(page)
    });
    assert!(page.contains("1 new"), "{page}");
    assert!(page.contains("alice"), "{page}");
    let start = owner.get("/console").text();
    assert!(start.contains("1 new"), "{start}");
    let newest = page.split("name=\"newest\" value=\"").nth(1).unwrap();
    let newest = newest.split('"').next().unwrap().to_owned();
    owner
        .post("/console/notices", &[("newest", &newest)])
        .expect(303);
    let page = owner.get("/console/notices").text();
    assert!(
        !page.contains("1 new") && !page.contains("name=\"newest\""),
        "{page}"
    );
    assert!(page.contains("Password or second factor changed"), "{page}");
}
