//! Sinks: where notices and audit events are sent, and the key with which a webhook signs them.

use base64ct::{Base64, Encoding};
use ring::hmac;

/// The kinds of sinks. A server has at most one of each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sink {
    File,
    Syslog,
    Webhook,
}

impl Sink {
    pub const ALL: [Sink; 3] = [Sink::File, Sink::Syslog, Sink::Webhook];

    /// The word for the sink in settings, metrics and cursors.
    pub fn as_str(self) -> &'static str {
        match self {
            Sink::File => "file",
            Sink::Syslog => "syslog",
            Sink::Webhook => "webhook",
        }
    }

    pub fn parse(text: &str) -> Option<Sink> {
        Sink::ALL.into_iter().find(|sink| sink.as_str() == text)
    }
}

/// What is sent: notices, or the events of the audit log.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Series {
    Audit,
    Notices,
}

impl Series {
    /// The word under which positions are stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Series::Audit => "audit",
            Series::Notices => "notices",
        }
    }
}

/// The symmetric key of a webhook, as Standard Webhooks defines it: `whsec_` and Base64 of 24 to 64 bytes.
pub struct WebhookKey(hmac::Key);

impl WebhookKey {
    /// Reads the text of a key; `None` if it does not have this form.
    pub fn parse(text: &str) -> Option<WebhookKey> {
        let encoded = text.trim().strip_prefix("whsec_")?;
        let mut bytes = [0; 64];
        let key = Base64::decode(encoded, &mut bytes).ok()?;
        (key.len() >= 24).then(|| WebhookKey(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The header `webhook-signature` of a message (Standard Webhooks, "Signature scheme").
    pub fn sign(&self, id: &str, unix_s: i64, body: &str) -> String {
        let signed = format!("{id}.{unix_s}.{body}");
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("v1,{}", Base64::encode_string(tag.as_ref()))
    }
}

/// Prints nothing of the key.
impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example in the reference implementations.
        let key = WebhookKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for bad in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
        ] {
            assert!(WebhookKey::parse(bad).is_none(), "{bad}");
        }
        let long = format!("whsec_{}", Base64::encode_string(&[1; 65]));
        assert!(WebhookKey::parse(&long).is_none());
    }

    #[test]
    fn every_sink_has_its_word_back() {
        for sink in Sink::ALL {
            assert_eq!(Sink::parse(sink.as_str()), Some(sink));
        }
    }
}
