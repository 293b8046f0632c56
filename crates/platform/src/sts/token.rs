//! Session credentials. Nothing is stored: the session token is the sealed [`Token`].

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{Host, Identity, Session, Timestamp};

/// What session tokens are sealed for.
pub const PURPOSE: &str = "sts/session";

/// Everything a verifier needs to know of a session. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// `ASIA` + 16.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: String,
    /// 12 digits.
    pub account: String,
    /// Whose session it is.
    pub identity: Identity,
    /// Times and session policies.
    pub session: Session,
}

/// New session credentials. `Debug` leaves the secrets out.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// `ASIA` + 16.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: String,
    /// The sealed [`Token`].
    pub session_token: String,
    /// When they end.
    pub expires_at: Timestamp,
}

impl Token {
    /// The form that is sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // A map with text keys always encodes; an empty plain text would not open again.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What [`Token::to_bytes`] made; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Token> {
        serde_json::from_slice(bytes).ok()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("access_key_id", &self.access_key_id)
            .field("account", &self.account)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Issues credentials for a session of `identity` in `account` that lasts `duration_s` seconds. Whether it may be
/// issued, and for how long, is the caller's business. With `policies` the session may do only what these allow too.
pub fn issue(
    host: &mut dyn Host,
    now: Timestamp,
    account: impl Into<String>,
    identity: Identity,
    duration_s: i64,
    policies: Vec<String>,
) -> Issued {
    let expires_at = now.plus_s(duration_s);
    let token = Token {
        access_key_id: format!("ASIA{}", draw(host, 16, BASE32)),
        secret_access_key: draw(host, 40, BASE64),
        account: account.into(),
        identity,
        session: Session { issued_at: now, expires_at, policies, source_identity: None },
    };
    let session_token = host.seal(PURPOSE, &token.to_bytes());
    Issued { access_key_id: token.access_key_id, secret_access_key: token.secret_access_key, session_token, expires_at }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Draws characters of an alphabet whose length divides 256, so that each is equally likely.
fn draw<const N: usize>(host: &mut dyn Host, length: usize, alphabet: &[u8; N]) -> String {
    let mut bytes = vec![0_u8; length];
    host.random(&mut bytes);
    bytes.iter().filter_map(|byte| alphabet.get(usize::from(*byte) % N)).map(|c| char::from(*c)).collect()
}

/// The member `Credentials` of an answer.
pub(crate) fn credentials(issued: &Issued) -> Value {
    json!({
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key,
        "SessionToken": issued.session_token,
        "Expiration": issued.expires_at.s(),
    })
}

/// An answer as the trail may keep it.
pub(crate) fn without_secrets(output: &Value) -> Value {
    let mut shown = output.clone();
    if let Some(credentials) = shown.get_mut("Credentials").and_then(Value::as_object_mut) {
        credentials.shift_remove("SecretAccessKey");
        credentials.shift_remove("SessionToken");
    }
    shown
}
