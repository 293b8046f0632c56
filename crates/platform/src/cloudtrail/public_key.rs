//! `PublicKey`: what digests of a region are checked with, and the key pair that signs them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Cx, Entry, Operation, Parent, Record, Result, Scope, Timestamp, Tx};
use sha2::{Digest as _, Sha256};

use super::error::error;

/// How long a key signs and is listed, seconds: as good as always, since no second key is made.
const VALIDITY_S: i64 = 10 * 366 * 24 * 3600;
/// The key is listed from this long before it was made, so that a search that begins a moment earlier finds it.
const LEAD_S: i64 = 24 * 3600;

/// The key pair of a region. Encrypted at rest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SigningKey {
    /// PKCS #8, base64.
    pub pkcs8: String,
    pub fingerprint: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Record for SigningKey {
    const NOUN: &'static str = "cloudtrail/SigningKey";
    const SECRET: bool = true;
}

/// The public half, as ListPublicKeys shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublicKey {
    /// DER of the PKCS #1 `RSAPublicKey`, base64.
    pub value: String,
    pub validity_start_time: Timestamp,
    pub validity_end_time: Timestamp,
    /// 32 hexadecimal digits.
    pub fingerprint: String,
}

impl Record for PublicKey {
    const NOUN: &'static str = "cloudtrail/PublicKey";
}

/// Keys belong to a region of the installation, not to an account, as on AWS.
fn scope(region: &str) -> Scope {
    Scope::regional("installation", region)
}

/// The key pair of a region, if it has one.
///
/// # Errors
/// 5xx when the store cannot be read.
pub fn signing_key(tx: &mut Tx<'_>, region: &str) -> Result<Option<SigningKey>> {
    tx.get::<SigningKey>(&scope(region), "", "current")
}

/// Gives a region its key pair: PKCS #8 of both halves, and the DER of the PKCS #1 public key.
///
/// # Errors
/// 5xx when the records do not encode.
pub fn install(tx: &mut Tx<'_>, region: &str, pkcs8: &[u8], public_der: &[u8], now: Timestamp) -> Result<SigningKey> {
    // [U] What AWS's fingerprint is computed from; it has 32 digits, and nothing but equality is asked of it.
    let fingerprint: String = hex::encode(Sha256::digest(public_der)).chars().take(32).collect();
    let public = PublicKey {
        value: STANDARD.encode(public_der),
        validity_start_time: now.plus_s(-LEAD_S),
        validity_end_time: now.plus_s(VALIDITY_S),
        fingerprint: fingerprint.clone(),
    };
    let key = SigningKey { pkcs8: STANDARD.encode(pkcs8), fingerprint };
    tx.put(&scope(region), "", &public.fingerprint, &public)?;
    tx.put(&scope(region), "", "current", &key)?;
    Ok(key)
}

pub struct ListPublicKeys;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPublicKeysInput {
    start_time: Option<f64>,
    end_time: Option<f64>,
    next_token: Option<String>,
}

/// The keys of the region whose validity meets the time range. Without a start or an end the current time is taken.
impl Operation for ListPublicKeys {
    const NAME: &'static str = "ListPublicKeys";
    type Input = ListPublicKeysInput;
    type Output = Value;

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        if input.next_token.is_some_and(|token| !token.is_empty()) {
            return Err(error("InvalidTokenException", "The NextToken was not given by this operation."));
        }
        let now = cx.now;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float beyond i64 saturates, which is what a bound should do"
        )]
        let moment = |seconds: Option<f64>| seconds.map_or(now.s(), |seconds| seconds as i64);
        let (from, to) = (moment(input.start_time), moment(input.end_time));
        if from > to {
            return Err(error("InvalidTimeRangeException", "The start time must be before the end time."));
        }
        let keys = tx.list::<PublicKey>(&scope(cx.region.as_str()), &Parent::Exact(""))?;
        let meets = |key: &&PublicKey| key.validity_start_time.s() <= to && from <= key.validity_end_time.s();
        let keys = keys.iter().filter(meets).map(|key| {
            json!({
                "Value": key.value,
                "ValidityStartTime": key.validity_start_time.s(),
                "ValidityEndTime": key.validity_end_time.s(),
                "Fingerprint": key.fingerprint,
            })
        });
        Ok(json!({ "PublicKeyList": keys.collect::<Vec<_>>() }))
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<ListPublicKeys>()];
