//! The names of users, for messages. The program is static, so it reads the file of local users itself; users of a
//! directory service have no name here.

/// The file of local users (passwd(5)).
const FILE: &str = "/etc/passwd";

/// A user for a message: `994 (latchkey)`, or the number if the user has no name.
pub fn shown(uid: u32) -> String {
    match name(uid) {
        Some(name) => format!("{uid} ({name})"),
        None => uid.to_string(),
    }
}

/// A user as an argument of `sudo -u`: `latchkey`, or `'#994'`.
pub fn argument(uid: u32) -> String {
    name(uid).unwrap_or_else(|| format!("'#{uid}'"))
}

fn name(uid: u32) -> Option<String> {
    name_in(&std::fs::read_to_string(FILE).ok()?, uid)
}

/// The name of a user according to the text of such a file. A name that a shell could misread is left out.
fn name_in(text: &str, uid: u32) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        let is_name = !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain);
        (number.parse() == Ok(uid) && is_name).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_and_only_with_a_plain_name() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\nbroken\nlatchkey:x:994:990::/:\n$(x):x:7:7::/:\n";
        assert_eq!(name_in(text, 994).as_deref(), Some("latchkey"));
        assert_eq!(name_in(text, 0).as_deref(), Some("root"));
        for uid in [7, 99, 1] {
            assert_eq!(name_in(text, uid), None, "{uid}");
        }
    }
}
