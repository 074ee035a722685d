//! Reads the path and the host of a request that a proxy will pass on.
//!
//! A path is judged only if every server behind the proxy must read it in the same way. A path that could be read in
//! two ways is refused, not cleaned (attacks, area 4): dot segments, doubled slashes, encoded separators, path
//! parameters, control bytes, and segments that begin with a blank or end with a blank or a dot, which Windows removes.
//! Every byte beyond ASCII is refused too, encoded or not: some of these characters are blanks, and a program that
//! normalises to NFKC turns others into `/`, `\`, `.`, `%` or `;`.

/// The greatest number of segments of a path, and so of a template.
pub const SEGMENTS_MAX: usize = 64;

/// Splits a path (without query) into its decoded segments; `None` if it cannot be judged safely.
///
/// `/` has none, and a trailing slash is an empty last segment: `/a` and `/a/` differ.
pub fn segments(path: &str) -> Option<Vec<String>> {
    split(path, |segment| {
        !segment.starts_with(' ') && !segment.ends_with([' ', '.'])
    })
}

/// As [`segments`], for a stored template. Earlier versions permitted a literal that ends with a dot or has blanks at
/// its ends. No request reaches such a literal any more, and the rest of its catalog stays in force.
pub fn template_segments(path: &str) -> Option<Vec<String>> {
    split(path, |segment| {
        !segment.trim_end_matches([' ', '.']).is_empty()
    })
}

fn split(path: &str, is_plain: fn(&str) -> bool) -> Option<Vec<String>> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let raw: Vec<&str> = rest.split('/').collect();
    let last = raw.len() - 1;
    if raw.len() > SEGMENTS_MAX {
        return None;
    }
    let decode_at = |(position, segment): (usize, &&str)| {
        let text = decode(segment)?;
        let is_trailing_slash = text.is_empty() && position == last;
        let is_segment = !text.is_empty() && is_plain(&text);
        (is_trailing_slash || is_segment).then_some(text)
    };
    raw.iter().enumerate().map(decode_at).collect()
}

/// Decodes percent-escapes once. The decoded text must have no separator, no control byte, no second escape and no byte
/// beyond ASCII.
pub fn decode(segment: &str) -> Option<String> {
    let mut decoded = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, escaped) = if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            ((high << 4 | low) as u8, true)
        } else {
            (byte, false)
        };
        let harmless = byte == b' ' && escaped
            || byte.is_ascii_graphic() && !matches!(byte, b'\\' | b';' | b'#' | b'?' | b'%' | b'/');
        if !harmless {
            return None;
        }
        decoded.push(char::from(byte));
    }
    Some(decoded)
}

/// The form in which hosts are compared: lower case, no port, no final dot. `None` for a list, a host with a user part,
/// or any other text that is no host.
pub fn host(text: &str) -> Option<String> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (
                &text[..address.len() + 2],
                after
                    .strip_prefix(':')
                    .or(after.is_empty().then_some("0"))?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "0")),
    };
    port.parse::<u16>()
        .ok()
        .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let legal =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(legal);
    fits.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&[&str]>) {
        let found = segments(path);
        let found: Option<Vec<&str>> = found
            .as_ref()
            .map(|list| list.iter().map(String::as_str).collect());
        assert_eq!(found.as_deref(), expected, "{path:?}");
    }

    #[test]
    fn plain_paths_are_split() {
        check("/", Some(&[]));
        check("/a", Some(&["a"]));
        check("/a/", Some(&["a", ""]));
        check("/a/b%20c", Some(&["a", "b c"]));
        check("/a/v1.2_x~y", Some(&["a", "v1.2_x~y"]));
        check(
            "/.well-known/a|b^c`{d}",
            Some(&[".well-known", "a|b^c`{d}"]),
        );
    }

    // attacks 81, 83, 84, 85, 87
    #[test]
    fn whatever_two_servers_could_read_differently_is_refused() {
        let refused = [
            "",
            "a",
            "*",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/.",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2E/",
            "/a/...",
            "/a/%20",
            "/a/. ",
            "/a%2Fb",
            "/a%5Cb",
            "/a\\b",
            "/a%252fb",
            "/a%25%32%66",
            "/a;x=1",
            "/a%3b",
            "/a%00",
            "/a%0a",
            "/a%0d%0ab",
            "/a%7f",
            "/a#b",
            "/a%23b",
            "/a?b",
            "/a%3Fb",
            "/a b",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%2 ",
            "/\u{ff0f}a",
            "/%ef%bc%8fa",
            "/a\0",
            "/\u{7f}",
            "/a%80",
            // finding H11: segments that Windows shortens, Unicode blanks, characters that NFKC turns into a separator.
            "/billing./admin",
            "/billing../admin",
            "/billing.",
            "/a/b.%20",
            "/billing%20/admin",
            "/%20billing/admin",
            "/billing%c2%a0/admin",
            "/%c2%a0billing/admin",
            "/billing%e3%80%80/admin",
            "/billing%e2%80%8b/admin",
            "/%ef%bc%8fbilling/admin",
            "/billing%ef%bc%8fadmin",
            "/x/%e2%80%a5/billing",
            "/a%e2%81%84b",
            "/a%ef%bc%bcb",
            "/a%ef%bc%852fb",
            "/a%ef%bc%9bb",
            "/a%c2%85",
            "/caf%C3%A9",
        ];
        for path in refused {
            check(path, None);
        }
        check(&"/a".repeat(65), None);
    }

    // attacks 90
    #[test]
    fn hosts_are_normalised_or_refused() {
        for (text, expected) in [
            ("api.example", Some("api.example")),
            ("API.example:8443", Some("api.example")),
            ("api.example.", Some("api.example")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("127.0.0.1:8420", Some("127.0.0.1")),
            ("", None),
            ("a, b", None),
            ("a:b", None),
            ("a:+1", None),
            ("a:99999", None),
            ("user@a", None),
            ("bücher.example", None),
            ("[::1", None),
            ("[::1]x", None),
            ("a/b", None),
        ] {
            assert_eq!(host(text).as_deref(), expected, "{text}");
        }
    }
}
