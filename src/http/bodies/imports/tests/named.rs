//! CSV with named columns, and JSON lines.

use super::*;

const CSV: &str = "name,digest,found_by,scopes,allowed_ips,rate_limit,enabled,expires_at,uses_left,metadata,id\n\
    ci,sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,,a:read b,10.0.0.0/8,60/1m,true,2031-01-01T00:00:00Z,5,{},k3J9aQ0xZb\n";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn malformed_csv_is_refused_with_its_line() {
    refused(
        Source::Csv,
        CSV,
        &[
            ("name,", "title,", 1, "column title is unknown"),
            ("name,", "name,name,", 1, "there twice"),
            ("name,", ",", 1, "no name"),
            ("ci,", "", 2, "10 cells"),
            ("ci,", "\"ci,", 2, "never closed"),
            ("ci,", "c\"i\",", 2, "quotation mark inside"),
            ("ci,", "\"ci\"x,", 2, "after a closing"),
            ("ci,", ",", 2, "name: must not be empty"),
            ("ci,", " ci,", 2, "name: must not begin"),
            ("ci,", "\"c\ni\",", 2, "name: must not contain"),
            (DIGEST, "", 2, "digest: the record has no secret"),
            (DIGEST, "sha256:abc", 2, "digest: must be a digest"),
            (DIGEST, "d41d8cd98f00b204e9800998ecf8427e", 2, "MD5"),
            (
                DIGEST,
                "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
                2,
                "SHA-1",
            ),
            (DIGEST, "murmur64:41c5cb1e41c5cb1e", 2, "murmur"),
            (
                DIGEST,
                "$2y$05$NBlwv5fCvYsg/vlZjmDp9uONalQpKIB1o8wOFSSn2ZzSg6UE8jERC",
                2,
                "is needed",
            ),
            ("855,,", "855,ci:,", 2, "must be left out"),
            ("a:read b", "a\\b", 2, "scopes[0]"),
            ("10.0.0.0/8", "10.0.0.1/8", 2, "allowed_ips[0]"),
            ("60/1m", "60", 2, "rate_limit: must be a number of requests"),
            ("60/1m", "60/0s", 2, "rate_limit.window_s"),
            (",true,", ",yes,", 2, "enabled: must be true or false"),
            ("2031-01-01T00:00:00Z", "2031-01-01", 2, "expires_at"),
            (",5,", ",-5,", 2, "uses_left"),
            (",{},", ",[],", 2, "metadata: must be an object"),
            (
                ",{},",
                ",\"{\"\"n\"\":12345678901234567890}\",",
                2,
                "not every program",
            ),
            ("k3J9aQ0xZb", "short", 2, "id: must be the id"),
            ("", "name,digest\n", 1, "no keys of csv"),
            ("", "name;digest\na;b\n", 1, "column name;digest is unknown"),
            (
                "",
                "name,secret,digest\na,abcdef,sha256:x\n",
                2,
                "given once",
            ),
            (
                "",
                "name,secret\na,\"abc\n\"\n",
                2,
                "secret: its secret has control",
            ),
        ],
    );
}

const JSONL: &str = "{\"name\":\"ci\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\
    \"scopes\":[\"a\"],\"rate_limit\":{\"limit\":1,\"window_s\":1},\"uses_left\":5,\"metadata\":{},\"expires_at\":\"2031-01-01T00:00:00Z\"}\n";

#[test]
fn malformed_lines_are_refused_with_their_number() {
    refused(
        Source::Jsonl,
        JSONL,
        &[
            ("{\"name\"", "\"name\"", 1, "not JSON"),
            ("}\n", "", 1, "not JSON"),
            ("}\n", "}}\n", 1, "not JSON"),
            ("\"ci\",", "\"ci\"", 1, "not JSON"),
            ("}\n", "}\n\n[]\n", 3, "must be a JSON object"),
            ("\"name\"", "\"title\"", 1, "name: is needed"),
            (
                "\"name\":",
                "\"name\":\"a\",\"name\":",
                1,
                "name: is there twice",
            ),
            ("\"ci\"", "\"\"", 1, "name: must not be empty"),
            ("\"ci\"", "7", 1, "name: must be a string"),
            ("\"digest\"", "\"hash\"", 1, "digest: is needed"),
            (
                "\"digest\"",
                "\"secret\":\"abcdef\",\"digest\"",
                1,
                "digest: must be given once",
            ),
            (
                "\"digest\":",
                "\"secret\":\"\",\"digests\":",
                1,
                "no secret",
            ),
            (DIGEST, "sha256:", 1, "digest: must be a digest"),
            (DIGEST, "md5:d41d8cd98f00b204e9800998ecf8427e", 1, "MD5"),
            (DIGEST, "$apr1$W//q5F90$tcXJRUJXZiBgDtDU9GXUN/", 1, "apr1"),
            (DIGEST, "$1$salt$abc", 1, "MD5-crypt"),
            ("[\"a\"]", "\"a\"", 1, "scopes: must be a list"),
            ("[\"a\"]", "[\"a b\"]", 1, "scopes[0]"),
            ("\"limit\":1", "\"limit\":-1", 1, "rate_limit.limit"),
            (
                "\"window_s\":1",
                "\"window_s\":99999999",
                1,
                "rate_limit.window_s",
            ),
            ("\"uses_left\":5", "\"uses_left\":\"5\"", 1, "uses_left"),
            (
                "\"metadata\":{}",
                "\"metadata\":[]",
                1,
                "metadata: must be an object",
            ),
            (
                "\"metadata\":{}",
                "\"not_before\":\"2032-01-01T00:00:00Z\"",
                1,
                "not_before: must be before",
            ),
            ("2031-01-01T00:00:00Z", "2031-01-01", 1, "expires_at"),
            ("\"metadata\":{}", "\"weak\":false", 1, "weak: is no member"),
            ("", "name,digest\na,b\n", 1, "not JSON"),
            ("", "\n\n", 1, "no keys of jsonl"),
        ],
    );
}
