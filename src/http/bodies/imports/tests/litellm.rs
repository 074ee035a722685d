//! Rows of LiteLLM.

use super::*;

const GOOD: &str = "token,expires,models,key_alias,key_name,blocked,rpm_limit,tpm_limit,max_budget,metadata,created_at,allowed_routes,team_id\n\
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,,{},ci,sk-...b855,f,60,,,{},2025-01-01 00:00:00,{},\n";
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn malformed_rows_are_refused_with_their_line() {
    refused(
        Source::Litellm,
        GOOD,
        &[
            ("token,", "hash,", 2, "no token"),
            ("expires,", "ends,", 2, "no expires"),
            ("models,", "expires,", 1, "there twice"),
            ("models,", "model,", 2, "no models"),
            (",team_id", "", 2, "12 columns"),
            ("ci,sk", "\"ci,sk", 2, "never closed"),
            ("ci,sk", "c\"i,sk", 2, "quotation mark inside"),
            (DIGEST, "", 2, "no digest of a known form"),
            (DIGEST, &DIGEST[1..], 2, "no digest of a known form"),
            (DIGEST, &DIGEST[..32], 2, "MD5/murmur"),
            (DIGEST, &DIGEST[..40], 2, "SHA-1"),
            (DIGEST, "\"sk-a \"", 2, "blanks at its ends"),
            (",,{},ci", ",never,{},ci", 2, "expires of ci"),
            ("{},ci", "{gpt-4},ci", 2, "certain models"),
            ("{},ci", "gpt-4,ci", 2, "list of strings"),
            (",f,", ",perhaps,", 2, "true or false"),
            (",60,", ",lots,", 2, "rpm_limit of ci"),
            (",60,", ",-1,", 2, "whole number"),
            (",60,,", ",60,1000,", 2, "limits of tokens"),
            (",60,,,", ",60,,0,", 2, "budgets"),
            (",60,,,{}", ",60,,,{", 2, "metadata of ci"),
            (",60,,,{}", ",60,,,[]", 2, "must be an object"),
            (
                ",60,,,{}",
                ",60,,,\"{\"\"model_rpm_limit\"\":{\"\"a\"\":1}}\"",
                2,
                "metadata.model_rpm_limit",
            ),
            ("2025-01-01 00:00:00", "2025", 2, "created_at"),
            ("00:00:00,{}", "00:00:00,{/chat}", 2, "what the key may use"),
            ("{},\n", "{},t\nx", 3, "1 cell,"),
            ("", "[\n{\"token\":\n", 3, "a value is expected"),
            ("", "[{\"token\":\"x\"}]", 1, "no expires"),
            ("", "[]", 1, "no keys of litellm"),
            ("", "token,expires,models\n", 1, "no keys of litellm"),
        ],
    );
}

#[test]
fn a_token_that_is_a_key_is_hashed() {
    let text = GOOD.replace(DIGEST, "sk-abcdefghijklmnopqrstuv");
    let parsed = parse(Source::Litellm, text.as_bytes()).unwrap();
    assert!(parsed.keys[0].digest.starts_with("sha256:"));
    assert!(!shown(&parsed).contains("cdefgh"));
}
