//! Password files of htpasswd.

use super::*;

const GOOD: &str =
    "# users\n\nalice:$2y$05$NBlwv5fCvYsg/vlZjmDp9uONalQpKIB1o8wOFSSn2ZzSg6UE8jERC\n";
const DIGEST: &str = "$2y$05$NBlwv5fCvYsg/vlZjmDp9uONalQpKIB1o8wOFSSn2ZzSg6UE8jERC";

#[test]
fn malformed_lines_are_refused() {
    refused(
        Source::Htpasswd,
        GOOD,
        &[
            ("alice:", "alice", 3, "no colon"),
            ("alice:", ":", 3, "no user name"),
            ("alice:", " alice:", 3, "no user name"),
            ("alice:", "alice :", 3, "no user name"),
            ("alice:", "al\tice:", 3, "no user name"),
            ("alice:", "alice:x:", 3, "more than one colon"),
            ("alice:", "al ice:", 3, "visible ASCII"),
            ("alice:", "älice:", 3, "visible ASCII"),
            (DIGEST, "", 3, "plain text"),
            (DIGEST, "secret", 3, "plain text"),
            (DIGEST, "rqXexS6ZhobKA", 3, "crypt (DES)"),
            (DIGEST, "$apr1$W//q5F90$tcXJRUJXZiBgDtDU9GXUN/", 3, "apr1"),
            (DIGEST, "{SHA}P3TJZRnUu4IBEx+dVZouaIDIPos=", 3, "SHA-1"),
            (DIGEST, "{SSHA}P3TJZRnUu4IBEx+dVZouaIDIPos=", 3, "SHA-1"),
            (DIGEST, "$1$salt$abc", 3, "MD5-crypt"),
            (DIGEST, "$5$salt$abc", 3, "SHA-256-crypt"),
            (DIGEST, "$6$salt$abc", 3, "SHA-512-crypt"),
            (DIGEST, "$y$j9T$salt$abc", 3, "yescrypt"),
            ("$2y$", "$2x$", 3, "bcrypt 2x"),
            ("$05$", "$5$", 3, "must be a digest"),
            ("$05$", "$03$", 3, "must be a digest"),
            ("$05$", "$17$", 3, "takes too long"),
            ("jERC", "jER", 3, "must be a digest"),
            ("jERC", "jERC=", 3, "must be a digest"),
            ("jERC", "jERC ", 3, "must be a digest"),
            ("", "# nobody\n", 1, "no keys of htpasswd"),
        ],
    );
}
