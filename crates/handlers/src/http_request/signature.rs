//! Signatures, by which a receiver knows that a body comes from us and is whole.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// What comes before the base64 of a secret of Standard Webhooks.
const PREFIX: &str = "whsec_";

/// The headers of Standard Webhooks 1.0.0.
pub(super) const WEBHOOK_ID: &str = "webhook-id";
pub(super) const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
pub(super) const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// The HMAC of `body` as `sha256=` and hexadecimal digits.
pub(super) fn hex(secret: &str, body: &[u8]) -> Option<String> {
    let mut text = String::from("sha256=");
    for byte in mac(secret.as_bytes(), &[body])? {
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text)
}

/// The signature of Standard Webhooks, or `None` where the secret is not base64.
pub(super) fn standard(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).ok().filter(|key| !key.is_empty())?;
    let mac = mac(&key, &[id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body])?;
    Some(format!("v1,{}", STANDARD.encode(mac)))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hmac_is_that_of_rfc_4231() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex("Jefe", b"what do ya want for nothing?").unwrap(), expected);
    }

    #[test]
    fn the_signature_is_that_of_the_specifications_example() {
        let body = br#"{"test": 2432232314}"#;
        let signed = standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(standard("whsec_not base64", "a", 1, body), None);
        assert_eq!(standard("whsec_", "a", 1, body), None);
    }
}
