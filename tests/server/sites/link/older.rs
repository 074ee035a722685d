//! An older copy of the whole folder of the server, which was put back by hand.

use serde_json::json;

use super::{await_verdict, follow, url_of, verdict};
use crate::sites::Site;
use crate::support::Server;

/// The copy knows neither that the second site was linked since, nor anything of what happened then.
#[test]
fn a_change_waits_for_sites_of_which_an_older_copy_of_the_folder_does_not_know() {
    let mut server = Server::start();
    let sites = ["plant-7", "ship-2"].map(|name| Site::enrol(&server, name, &[]));
    let key = server.admin().issue(json!({ "name": "k" }));
    let url = url_of(&server);
    let first = follow(&sites[0], &url, "10s");
    await_verdict(&first, &key.secret, "VALID");
    let copy = sites[0].path("copy");
    server.stop();
    Site::copy(&server.data, &copy);
    server.restart();
    let second = follow(&sites[1], &url, "10s");
    await_verdict(&second, &key.secret, "VALID");
    server.stop();
    let data = server.data.clone();
    Site::copy(&copy, &data);
    server.restart();
    let path = format!("/v1/keys/{}?wait=sites", key.id);
    let answer = server.admin().delete(&path).expect(204);
    for running in [&first, &second] {
        assert_ne!(verdict(running, &key.secret), "VALID");
    }
    let waited = answer.header("latchkey-sites").unwrap();
    for name in ["(unknown)", "ship-2"] {
        assert!(waited.contains(&format!("{name}=lease-over")), "{waited}");
    }
    // What the first one knows may be what the copy has, and then it follows.
    assert!(waited.contains("plant-7="), "{waited}");
}
