//! The trait an operation implements, and its erased form.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Cx, Result, ServiceError, Tx};

/// One AWS operation, declared in the file of its noun and nowhere else.
///
/// Route, status, member locations and the default IAM action and resource come from `wire`'s table by `NAME`.
pub trait Operation {
    /// AWS's name, such as `CreateRestApi`.
    const NAME: &'static str;
    /// Input members this operation reads, by AWS's names. Members of AWS's model that are neither here (by serde
    /// name) nor refused are listed in [`Operation::REFUSED`] or [`Operation::IGNORED`], so silence is a decision.
    type Input: DeserializeOwned;
    /// The answer, by AWS's member names.
    type Output: Serialize;

    /// Members of AWS's model that are refused when present: not enforced yet, hence not stored.
    /// `control` answers the service's own validation error, naming the member.
    const REFUSED: &'static [&'static str] = &[];
    /// Members of AWS's model that change nothing here and may be sent: each needs a reason in a comment.
    const IGNORED: &'static [&'static str] = &[];
    /// An upload that is stored as a blob before [`Operation::apply`] runs.
    const UPLOAD: Option<Upload> = None;

    /// The permissions the caller needs. `default` comes from the table; most operations keep it.
    ///
    /// # Errors
    /// What the operation would answer if the thing the permission is about cannot be named.
    fn needs(_input: &Self::Input, default: Need, _cx: &mut Cx<'_>, _tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![default])
    }

    /// The change of state, pure: no I/O, no clock, no panic. May run again when somebody else committed first.
    ///
    /// # Errors
    /// AWS's error for this refusal; nothing is changed then.
    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output>;

    /// `requestParameters` of the CloudTrail record: the input without secrets and bulk.
    fn trail_parameters(params: &Value) -> Value {
        params.clone()
    }

    /// `responseElements` of the CloudTrail record for calls that change something.
    fn trail_response(output: &Value) -> Value {
        output.clone()
    }
}

/// One permission a call needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Such as `lambda:AddPermission`.
    pub action: String,
    /// ARN, or `*`.
    pub resource: String,
    /// Owner of the resource; another account than the caller's makes it a cross-account decision.
    pub account: String,
    /// The resource's own policy document, where the resource has one.
    pub resource_policy: Option<String>,
    /// Condition keys of this request beside the global ones.
    pub context: Vec<(String, String)>,
    /// ARN of the role that needs it instead of the caller: one the call names, acting for a service.
    pub by_role: Option<String>,
    /// `resource_policy` is a role's trust policy: it must allow explicitly, even within one account.
    pub trust: bool,
    /// The error when refused, if not the service's `AccessDenied` with AWS's sentence.
    pub refusal: Option<Box<ServiceError>>,
}

impl Need {
    /// A permission on a resource of `account` that has no policy of its own.
    pub fn new(action: impl Into<String>, resource: impl Into<String>, account: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            resource: resource.into(),
            account: account.into(),
            resource_policy: None,
            context: Vec::new(),
            by_role: None,
            trust: false,
            refusal: None,
        }
    }
}

/// A base64 member that `control` decodes, checks and stores as a blob before the operation sees it. The member's
/// value is replaced by `{"Blob": sha256 hex, "CodeSha256": base64, "CodeSize": bytes}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upload {
    /// Path of member names, such as `["Code", "ZipFile"]`.
    pub path: &'static [&'static str],
}

/// An [`Operation`] with its types erased into function pointers.
#[derive(Clone, Copy)]
pub struct Entry {
    /// [`Operation::NAME`].
    pub name: &'static str,
    /// [`Operation::REFUSED`].
    pub refused: &'static [&'static str],
    /// [`Operation::IGNORED`].
    pub ignored: &'static [&'static str],
    /// [`Operation::UPLOAD`].
    pub upload: Option<Upload>,
    needs: fn(&Value, Need, &mut Cx<'_>, &mut Tx<'_>) -> Result<Vec<Need>>,
    apply: fn(&Value, &mut Cx<'_>, &mut Tx<'_>) -> Result<Value>,
    trail_parameters: fn(&Value) -> Value,
    trail_response: fn(&Value) -> Value,
}

impl Entry {
    /// Erases `O`.
    #[must_use]
    pub const fn of<O: Operation>() -> Self {
        Self {
            name: O::NAME,
            refused: O::REFUSED,
            ignored: O::IGNORED,
            upload: O::UPLOAD,
            needs: |params, default, cx, tx| O::needs(&input::<O>(params)?, default, cx, tx),
            apply: |params, cx, tx| {
                let output = O::apply(input::<O>(params)?, cx, tx)?;
                serde_json::to_value(output)
                    .map_err(|error| ServiceError::internal(format!("output of {}: {error}", O::NAME)))
            },
            trail_parameters: O::trail_parameters,
            trail_response: O::trail_response,
        }
    }

    /// See [`Operation::needs`].
    ///
    /// # Errors
    /// As there.
    pub fn needs(&self, params: &Value, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        (self.needs)(params, default, cx, tx)
    }

    /// See [`Operation::apply`].
    ///
    /// # Errors
    /// As there.
    pub fn apply(&self, params: &Value, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Value> {
        (self.apply)(params, cx, tx)
    }

    /// See [`Operation::trail_parameters`].
    #[must_use]
    pub fn trail_parameters(&self, params: &Value) -> Value {
        (self.trail_parameters)(params)
    }

    /// See [`Operation::trail_response`].
    #[must_use]
    pub fn trail_response(&self, output: &Value) -> Value {
        (self.trail_response)(output)
    }
}

/// The table has already checked types, so a mismatch here is a shape the noun does not take.
fn input<O: Operation>(params: &Value) -> Result<O::Input> {
    O::Input::deserialize(params).map_err(|error| {
        ServiceError::new("SerializationException", 400, format!("Could not read the input of {}: {error}", O::NAME))
    })
}
