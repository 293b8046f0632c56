//! Digests: signing, and the key pairs of regions.

use std::collections::BTreeMap;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use platform::cloudtrail::{
    digest::{self, SIGNATURE_ALGORITHM},
    logging::TrailState,
    public_key::{self, SigningKey},
    trail::Trail,
};
use service::{Result, ServiceError, Tx};

use super::{
    Delivery,
    file::{Failure, open_bucket, put_object},
};

impl Delivery {
    /// Writes the digests of a trail that are due, one for each of its regions.
    ///
    /// # Errors
    /// 5xx when the store fails. A bucket that refuses is no error: the trail's status tells, and the digest waits.
    pub(super) fn write_digests(&self, trail: &Trail) -> Result<()> {
        if !trail.validates() {
            return Ok(());
        }
        let regions = self.transact(|tx| Ok(digest::regions(trail, &TrailState::load(tx, trail)?)))?;
        for region in regions.unwrap_or_default() {
            let Some(key) = self.transact(|tx| self.signing_key(tx, &region))? else { continue };
            self.transact(|tx| self.write_digest(tx, trail, &region, &key))?;
        }
        Ok(())
    }

    fn write_digest(&self, tx: &mut Tx<'_>, trail: &Trail, region: &str, key: &SigningKey) -> Result<()> {
        let now = self.now();
        let Some(trail) = Self::reload(tx, trail)? else { return Ok(()) };
        let mut state = TrailState::load(tx, &trail)?;
        let due = (now, self.digest_s);
        let Some(draft) = digest::draft(tx, &trail, &state, region, due, &key.fingerprint)? else { return Ok(()) };
        match open_bucket(tx, &trail, &draft.object) {
            Ok(bucket) => {
                let signature = sign(key, draft.to_sign.as_bytes())?;
                let metadata = BTreeMap::from([
                    ("signature".to_owned(), signature.clone()),
                    ("signature-algorithm".to_owned(), SIGNATURE_ALGORITHM.to_owned()),
                ]);
                put_object(tx, &bucket, &draft.object, &draft.body, metadata, now)?;
                digest::append(tx, &trail, draft, signature)?;
                state.latest_digest = Some(now);
                state.latest_digest_error = None;
            }
            Err(Failure::Refused(code)) => state.latest_digest_error = Some(code.to_owned()),
            Err(Failure::Fault(error)) => return Err(error),
        }
        state.save(tx, &trail)
    }

    /// The key pair of a region, made when first asked for.
    fn signing_key(&self, tx: &mut Tx<'_>, region: &str) -> Result<SigningKey> {
        if let Some(key) = public_key::signing_key(tx, region)? {
            return Ok(key);
        }
        let failed = |what: &str| ServiceError::internal(format!("{what} of an RSA key failed"));
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| failed("generation"))?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed("encoding"))?;
        // The public key of an RSA pair is given as PKCS #1 `RSAPublicKey`, which is what ListPublicKeys shows.
        public_key::install(tx, region, pkcs8.as_ref(), pair.public_key().as_ref(), self.now())
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256, in hexadecimal.
fn sign(key: &SigningKey, text: &[u8]) -> Result<String> {
    let damaged = |what: &str| ServiceError::internal(format!("the key {} cannot sign: {what}", key.fingerprint));
    let pkcs8 = STANDARD.decode(&key.pkcs8).map_err(|error| damaged(&error.to_string()))?;
    let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(|error| damaged(&error.to_string()))?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
        .map_err(|error| damaged(&error.to_string()))?;
    Ok(hex::encode(signature))
}
