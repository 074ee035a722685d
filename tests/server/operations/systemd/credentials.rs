//! Pepper, sealing key and seal key as credentials of the service manager, outside the data folder.

use std::fs;

use crate::support::{executable, fresh_folder, refusal};

use super::init;

fn with_credentials(folder: &std::path::Path, args: &[&str]) -> refusal::Ended {
    let mut command = executable(None);
    command.args(args).arg("--data").arg(folder.join("data"));
    command.env("CREDENTIALS_DIRECTORY", folder.join("credentials"));
    refusal::ended(&mut command)
}

#[test]
fn the_key_files_may_be_credentials() {
    let folder = fresh_folder();
    let (data, credentials) = (folder.join("data"), folder.join("credentials"));
    let secret = init(&data)["management_key"]
        .as_str()
        .expect("a secret")
        .to_owned();
    fs::create_dir(&credentials).expect("it can be made");
    for name in ["pepper", "sealing-key", "seal-key"] {
        fs::rename(data.join(name), credentials.join(name)).expect("it can be moved");
    }
    let file = folder.join("secret");
    fs::write(&file, &secret).expect("it can be written");
    let file = file.to_str().expect("text");
    let verified = with_credentials(&folder, &["key", "verify", "--secret-file", file]);
    assert!(
        verified.code == Some(0) && verified.stdout.contains("VALID"),
        "{verified:?}"
    );

    refusal::serve(&data).expect_refused(&["pepper is missing"]);
    assert!(!data.join("pepper").exists());

    // A pepper of another database is detected wherever it is stored.
    let other = fresh_folder();
    init(&other.join("data"));
    fs::copy(other.join("data/pepper"), credentials.join("pepper")).expect("it can be copied");
    with_credentials(&folder, &["serve", "--listen", "127.0.0.1:0"])
        .expect_refused(&["is not the one this database was made with"]);
    for folder in [folder, other] {
        let _ = fs::remove_dir_all(folder);
    }
}

#[test]
fn a_first_start_takes_the_keys_that_it_is_given() {
    let folder = fresh_folder();
    let other = fresh_folder();
    init(&other.join("data"));
    let credentials = folder.join("credentials");
    fs::create_dir(&credentials).expect("it can be made");
    for name in ["pepper", "sealing-key", "seal-key"] {
        fs::copy(other.join("data").join(name), credentials.join(name)).expect("it can be copied");
    }
    let made = with_credentials(&folder, &["init", "--json"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(!folder.join("data/pepper").exists());
    let listed = with_credentials(&folder, &["key", "list"]);
    assert!(
        listed.code == Some(0) && listed.stdout.contains("management"),
        "{listed:?}"
    );
    for folder in [folder, other] {
        let _ = fs::remove_dir_all(folder);
    }
}
