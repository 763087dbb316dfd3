//! Signatures as [Standard Webhooks](https://www.standardwebhooks.com) has
//! them: HMAC-SHA256 over `id.timestamp.body`, so that the libraries that
//! exist for it verify ours.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Stands before every secret, so that scanners for leaked ones know it.
pub const SECRET_PREFIX: &str = "whsec_";
/// Shorter ones can be guessed.
pub const MIN_SECRET_BYTES: usize = 24;
/// What the hash makes use of.
pub const MAX_SECRET_BYTES: usize = 64;
/// SHA-256 works on blocks of this size.
const BLOCK: usize = 64;

/// A key that messages are signed with. Never shown: not in views, not in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Parses `whsec_` and base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// How to make one; never the text itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = text
            .strip_prefix(SECRET_PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .filter(|key| (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&key.len()));
        match bytes {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(format!(
                "must be \"{SECRET_PREFIX}\" and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes in base64; \
                 make one with: echo \"{SECRET_PREFIX}$(openssl rand -base64 32)\""
            )),
        }
    }

    fn key(&self) -> Vec<u8> {
        let encoded = self.0.strip_prefix(SECRET_PREFIX).unwrap_or(&self.0);
        STANDARD.decode(encoded).unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of the header `webhook-signature`: one signature per secret, so
/// that a receiver can change from one to the other without a gap.
#[must_use]
pub fn signature<'a>(
    secrets: impl IntoIterator<Item = &'a Secret>,
    id: &str,
    seconds: u64,
    body: &[u8],
) -> String {
    let head = format!("{id}.{seconds}.");
    let signed: Vec<String> = secrets
        .into_iter()
        .map(|secret| {
            let mac = hmac(&secret.key(), &[head.as_bytes(), body]);
            format!("v1,{}", STANDARD.encode(mac))
        })
        .collect();
    signed.join(" ")
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new();
    inner.update(block.map(|b| b ^ 0x36));
    for part in message {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(block.map(|b| b ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4231 that fit: short, block-sized and longer keys.
    #[test]
    fn the_mac_is_the_one_of_the_rfc() {
        for (key, data, mac) in [
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex::encode(hmac(&key, &[&data])), mac);
        }
    }

    /// The example that the specification's own libraries test with.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(
            [&secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = signature(
            [&secret, &secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        );
        assert_eq!(both, format!("{signed} {signed}"));
    }

    #[test]
    fn secrets_are_long_and_never_shown() {
        for bad in ["", "whsec_", "hunter2", "whsec_aGVsbG8=", "whsec_%%%"] {
            let problem = Secret::parse(bad).unwrap_err();
            assert!(problem.contains("openssl"), "{problem}");
        }
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
