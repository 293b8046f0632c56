//! Everything an operation may know besides its input and the store.

use policy::Region;

use crate::{Caller, Scope, Timestamp};

/// What the surroundings lend to pure code: randomness and sealing.
pub trait Host {
    /// Fills `out` with cryptographically secure random bytes.
    fn random(&mut self, out: &mut [u8]);
    /// Encrypts and authenticates `plain` for `purpose` with the installation's key; the result is text safe in headers.
    fn seal(&mut self, purpose: &str, plain: &[u8]) -> String;
    /// Opens what [`Host::seal`] made for the same purpose; `None` for anything else.
    fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>>;
    /// Runtimes this node can run, for Lambda's check at create time: `Ok(warning)` or the refusal's text.
    fn runtime(&self, identifier: &str) -> Result<Option<String>, String>;
    /// Whether a function's `/tmp` is as large as it is configured. Where functions are not isolated it is the host's.
    fn sizes_tmp(&self) -> bool {
        false
    }
    /// How far this node is with the provisioned concurrency of a function's version or alias.
    fn provisioned(&self, _account: &str, _region: &str, _function: &str, _qualifier: &str) -> Provisioned {
        Provisioned::default()
    }
}

/// What there is of provisioned concurrency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Environments that are starting or there.
    pub allocated: u32,
    /// Those of them that have been initialised.
    pub available: u32,
    /// Why there are fewer than were asked for, when no more are about to come.
    pub failure: Option<String>,
}

/// The context of one call.
pub struct Cx<'a> {
    /// Who signed it.
    pub caller: &'a Caller,
    /// The region the call was signed for.
    pub region: &'a Region,
    /// The moment the call is taken to happen.
    pub now: Timestamp,
    /// `x-amzn-RequestId` of the answer.
    pub request_id: &'a str,
    /// Scheme and authority the client used, such as `http://127.0.0.1:4566`.
    pub endpoint: &'a str,
    /// Randomness and sealing.
    pub host: &'a mut dyn Host,
}

const BASE36: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Cx<'_> {
    /// The caller's account as text.
    #[must_use]
    pub fn account(&self) -> &str {
        self.caller.account.as_str()
    }

    /// Scope of the caller's regional nouns.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::regional(self.account(), self.region.as_str())
    }

    /// Scope of the caller's global nouns.
    #[must_use]
    pub fn global_scope(&self) -> Scope {
        Scope::global(self.account())
    }

    /// A lower-case base-36 id, as API Gateway's (10 for APIs and root resources, 6 for most children).
    pub fn id(&mut self, length: usize) -> String {
        self.draw(length, BASE36)
    }

    /// An upper-case base-32 id with IAM's prefix, such as `AIDA` + 17.
    pub fn iam_id(&mut self, prefix: &str, length: usize) -> String {
        format!("{prefix}{}", self.draw(length, BASE32))
    }

    /// A 40-character secret access key.
    pub fn secret(&mut self) -> String {
        self.draw(40, BASE64)
    }

    /// A random UUID, version 4.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0u8; 16];
        self.host.random(&mut bytes);
        let mut value = u128::from_be_bytes(bytes);
        value = (value & !(0xf << 76)) | (0x4 << 76);
        value = (value & !(0x3 << 62)) | (0x2 << 62);
        let hex = format!("{value:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }

    fn draw(&mut self, length: usize, alphabet: &[u8]) -> String {
        let mut out = String::with_capacity(length);
        let mut pool = [0u8; 64];
        // Rejection keeps every character equally likely.
        let bound = 256 - 256 % alphabet.len().max(1);
        while out.len() < length {
            self.host.random(&mut pool);
            for byte in pool {
                if out.len() < length
                    && usize::from(byte) < bound
                    && let Some(&c) = alphabet.get(usize::from(byte) % alphabet.len())
                {
                    out.push(char::from(c));
                }
            }
        }
        out
    }
}
