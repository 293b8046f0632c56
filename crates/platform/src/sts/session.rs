//! `GetSessionToken`: temporary credentials for the caller itself.

use serde::Deserialize;
use serde_json::{Value, json};
use service::{Cx, Entry, Need, Operation, Result, ServiceError, Tx};

use super::token::{credentials, issue, without_secrets};

/// A user's session unless it says otherwise, in seconds.
const DURATION_S_DEFAULT: i64 = 43_200;
/// The longest session of a root identity, in seconds; what asks for more gets this much.
const ROOT_DURATION_S_MAX: i64 = 3600;

pub struct GetSessionToken;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetSessionTokenInput {
    duration_seconds: Option<i64>,
}

impl Operation for GetSessionToken {
    const NAME: &'static str = "GetSessionToken";
    type Input = GetSessionTokenInput;
    type Output = Value;

    // There are no MFA devices here, so no code can be right; the third member pads tokens and is not offered.
    const REFUSED: &'static [&'static str] = &["SerialNumber", "TokenCode", "MinimumSessionTokenSize"];

    /// None: policies cannot govern this operation.
    ///
    /// Source: IAM User Guide, "Permissions for GetSessionToken".
    fn needs(_input: &Self::Input, _default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(Vec::new())
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Value> {
        if cx.caller.session.is_some() {
            let text = "Cannot call GetSessionToken with session credentials";
            return Err(ServiceError::new("AccessDenied", 403, text));
        }
        let asked = input.duration_seconds.unwrap_or(DURATION_S_DEFAULT);
        let duration_s = if cx.caller.is_root() { asked.min(ROOT_DURATION_S_MAX) } else { asked };
        let identity = cx.caller.identity.clone();
        let account = cx.account().to_owned();
        let issued = issue(&mut *cx.host, cx.now, account, identity, duration_s, Vec::new());
        Ok(json!({ "Credentials": credentials(&issued) }))
    }

    fn trail_response(output: &Value) -> Value {
        without_secrets(output)
    }
}

/// The operations of this noun.
pub const OPERATIONS: &[Entry] = &[Entry::of::<GetSessionToken>()];
