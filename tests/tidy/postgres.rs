//! Tests that need a PostgreSQL server are not compiled in a usual build, so `.ci/run` calls them by the names of their modules.

use super::sources;
use std::fs;

/// What such a test calls to have a server.
const CALLS: [&str; 5] = [
    "Cluster::start",
    "server::empty_database",
    "server::new_database",
    "server::open(",
    "testing::stores()",
];

#[test]
fn every_test_of_a_server_runs_in_ci() {
    let script = fs::read_to_string(".ci/run").unwrap();
    let list = script.split("of_postgres=(").nth(1).unwrap();
    let names: Vec<&str> = list.split(')').next().unwrap().split_whitespace().collect();
    let mut found = 0;
    for file in sources("src") {
        if !CALLS.iter().any(|call| file.text.contains(call)) {
            continue;
        }
        found += 1;
        let path = file.path.trim_start_matches("src/");
        let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = format!("{}::", path.replace('/', "::"));
        let runs = names.iter().any(|name| module.contains(name));
        assert!(
            runs,
            "{}: .ci/run has no part of its name, {module}",
            file.path
        );
    }
    // The names are those of the program.
    assert!(found > 20, "{found}");
}
