//! The index follows the store in one place, under one turn.

use super::sources;

/// What changes the content of the index, other than counters.
const CHANGES: [&str; 6] = [
    ".directory_mut()",
    ".put_key(",
    ".put_session(",
    ".remove_key(",
    "index_updates::load",
    "index_updates::prepare",
];
/// The applier with its readings, a check at the start with a key of its own, and sites, whose content is not from the tables.
const INSTALLERS: [&str; 5] = [
    "src/ops/applier.rs",
    "src/ops/following/",
    "src/ops/index_updates.rs",
    "src/ops/self_test.rs",
    "src/ops/site/",
];
/// A loaded key replaces nothing, and the own directory of a site is not that of its keys.
const LOADING: [&str; 2] = [
    "index_updates::load_keys",
    "index_updates::load_directory_closed",
];

#[test]
fn only_the_applier_brings_the_store_into_the_index() {
    let mut found = 0;
    for file in sources("src") {
        if file.path.starts_with("src/index/") {
            continue;
        }
        let code = file.text.split("\n#[cfg(test)]\nmod ").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let changes = CHANGES.iter().any(|change| code.contains(change));
            if !changes || LOADING.iter().any(|loading| code.contains(loading)) {
                continue;
            }
            found += 1;
            let may = INSTALLERS.iter().any(|path| file.path.starts_with(path));
            assert!(
                may,
                "{}:{} changes the index: {line}",
                file.path,
                number + 1
            );
        }
    }
    // The names are those of the program.
    assert!(found > 10, "{found}");
}
