//! Signing keys and the two primitives everything here stands on.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::TERMINATOR;

/// A key for one secret, day, region and service; overwritten when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SigningKey([u8; 32]);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// The signature of a string to sign, in lower-case hexadecimal digits.
    pub(super) fn sign(&self, string_to_sign: &[u8]) -> String {
        hex::encode(hmac_sha256(&self.0, string_to_sign))
    }
}

/// Derives a signing key: the chain of HMACs over date, region, service and terminator.
///
/// Four HMACs; worth caching per [`super::Scope`]. Source: AWS General Reference, "Calculate the signature".
#[must_use]
pub fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> SigningKey {
    let mut start = Zeroizing::new(Vec::with_capacity(secret.len() + 4));
    start.extend_from_slice(b"AWS4");
    start.extend_from_slice(secret.as_bytes());
    let mut key = Zeroizing::new(hmac_sha256(&start, date.as_bytes()));
    for part in [region, service, TERMINATOR] {
        *key = hmac_sha256(&*key, part.as_bytes());
    }
    SigningKey(*key)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC's own rule for keys of any length, done here because a whole block is the form that cannot fail.
    let mut block = Zeroizing::new([0_u8; 64]);
    if key.len() > 64 {
        block.iter_mut().zip(sha256(key)).for_each(|(to, from)| *to = from);
    } else {
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}
