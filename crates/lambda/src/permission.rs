//! Permissions: the statements of a function's resource-based policy, one policy for each qualifier.
//!
//! A permission granted on the function says nothing about its aliases and versions, and the other way round; publishing
//! copies none. Sources: Lambda API Reference, "AddPermission", "RemovePermission", "GetPolicy"; Lambda Developer Guide,
//! "Using resource-based policies for Lambda".

use policy::{Kind, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{
    Cx, Entry, Need, Operation, Result, Tx,
    principal::{is_user_or_role, unique_id},
};

use crate::{
    alias::Alias,
    check::{Checks, SOURCE_ARN_PATTERN, is_account, is_source_arn, is_word},
    error::{access_denied, conflict, function_not_found, invalid, not_enforced, not_found, precondition},
    function::Function,
    name::{Address, LATEST, Sharing, names_version},
    version::Version,
};

mod command;
mod record;
mod whole;

pub use command::add_permission_command;
pub use record::{POLICY_BYTES_MAX, ResourcePolicy, Whole, used_bytes};
pub use whole::{
    DeleteResourcePolicy, DeleteResourcePolicyInput, GetResourcePolicy, GetResourcePolicyInput, PutResourcePolicy,
    PutResourcePolicyInput, ResourcePolicyOutput,
};

/// Operations of this noun.
pub const OPERATIONS: &[Entry] = &[
    Entry::of::<AddPermission>(),
    Entry::of::<RemovePermission>(),
    Entry::of::<GetPolicy>(),
    Entry::of::<PutResourcePolicy>(),
    Entry::of::<GetResourcePolicy>(),
    Entry::of::<DeleteResourcePolicy>(),
];

/// AWS's text for a principal that is none, or does not exist.
const INVALID_PRINCIPAL: &str = "The provided principal was invalid. Please check the principal and try again.";

/// AWS's text for the one qualifier that can have no policy.
const NO_LATEST: &str = "We currently do not support adding policies for $LATEST.";

/// What a policy hangs on; its `RevisionId` is the policy's.
enum Holder {
    Function(Function),
    Version(Version),
    Alias(Alias),
}

impl Holder {
    fn find(address: &Address, tx: &mut Tx<'_>) -> Result<Self> {
        let scope = address.scope();
        let unqualified = Address { qualifier: None, ..address.clone() };
        let function = unqualified.function(tx)?;
        match address.qualifier.as_deref() {
            None => Ok(Self::Function(function)),
            Some(version) if names_version(version) => Version::get(&scope, &address.function, version, tx)?
                .map(Self::Version)
                .ok_or_else(|| function_not_found(&address.qualified_arn())),
            Some(name) => tx
                .get(&scope, &address.function, name)?
                .map(Self::Alias)
                .ok_or_else(|| not_found(format!("Cannot find alias arn: {}", address.qualified_arn()))),
        }
    }

    fn revision_id(&self) -> &str {
        match self {
            Self::Function(function) => &function.configuration.revision_id,
            Self::Version(version) => &version.configuration.revision_id,
            Self::Alias(alias) => &alias.revision_id,
        }
    }

    /// Gives the holder a new revision, stores it, and tells the revision.
    fn touch(self, address: &Address, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<String> {
        let scope = address.scope();
        let next = cx.uuid();
        match self {
            Self::Function(mut function) => {
                function.configuration.revision_id.clone_from(&next);
                tx.put(&scope, "", &address.function, &function)?;
            }
            Self::Version(mut version) => {
                version.configuration.revision_id.clone_from(&next);
                tx.put(&scope, &address.function, &version.id(), &version)?;
            }
            Self::Alias(mut alias) => {
                alias.revision_id.clone_from(&next);
                tx.put(&scope, &address.function, &alias.name, &alias)?;
            }
        }
        Ok(next)
    }
}

fn policy(address: &Address, tx: &mut Tx<'_>) -> Result<Option<ResourcePolicy>> {
    tx.get(&address.scope(), &address.function, address.qualifier.as_deref().unwrap_or_default())
}

/// Nobody but the owner may say who may call a function; no policy can grant it to another account.
///
/// The permission check refuses it already, as no resource policy is put before it. This holds the line once more.
fn check_owner(address: &Address, action: &str, cx: &Cx<'_>) -> Result<()> {
    if address.account == cx.caller.account {
        return Ok(());
    }
    let (caller, arn) = (cx.caller.arn(), address.qualified_arn());
    Err(access_denied(format!(
        "User: {caller} is not authorized to perform: {action} on resource: {arn} because no resource-based policy allows \
         the {action} action"
    )))
}

/// Adds one statement to a function's, version's or alias's policy.
pub struct AddPermission;

/// Input of [`AddPermission`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddPermissionInput {
    function_name: String,
    statement_id: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    qualifier: Option<String>,
    revision_id: Option<String>,
}

/// Output of [`AddPermission`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddPermissionOutput {
    /// The statement, as JSON text.
    statement: String,
}

impl Operation for AddPermission {
    const NAME: &'static str = "AddPermission";
    type Input = AddPermissionInput;
    type Output = AddPermissionOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        let mut need = address.need(default, Sharing::Owner, tx)?;
        need.context.push(("lambda:Principal".to_owned(), input.principal.clone()));
        need.context.extend(
            input.function_url_auth_type.iter().map(|kind| ("lambda:FunctionUrlAuthType".to_owned(), kind.clone())),
        );
        Ok(vec![need])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        check_owner(&address, "lambda:AddPermission", cx)?;
        if address.qualifier.as_deref() == Some(LATEST) {
            return Err(invalid(NO_LATEST));
        }
        let holder = Holder::find(&address, tx)?;
        if input.revision_id.as_deref().is_some_and(|asked| asked != holder.revision_id()) {
            return Err(precondition("GetPolicy"));
        }
        input.check()?;
        let mut policy = policy(&address, tx)?
            .unwrap_or_else(|| ResourcePolicy::new(address.qualifier.as_deref().unwrap_or_default()));
        if policy.position(&input.statement_id).is_some() {
            return Err(conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
                 statement.",
                input.statement_id
            )));
        }
        let statement = input.statement(&address.qualified_arn())?;
        if is_user_or_role(&input.principal) {
            let id = unique_id(tx, &input.principal)?.ok_or_else(|| invalid(INVALID_PRINCIPAL))?;
            policy.principal_ids.insert(input.statement_id.clone(), id);
        }
        let text = statement.to_string();
        policy.statements.push(statement);
        policy.check_size()?;
        // What could not be evaluated would admit nobody, other statements included: it is refused while somebody looks.
        if let Err(error) = Policy::parse(&policy.evaluated(), Kind::Resource) {
            return Err(invalid(format!("The statement does not make a valid policy: {error}.")));
        }
        tx.put(&address.scope(), &address.function, &policy.qualifier, &policy)?;
        holder.touch(&address, cx, tx)?;
        Ok(AddPermissionOutput { statement: text })
    }
}

impl AddPermissionInput {
    /// The model's constraints on what goes into the statement.
    fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        let sid = &self.statement_id;
        checks.pattern(is_word(sid), "statementId", sid, "([a-zA-Z0-9-_]+)");
        checks.require(sid.len() <= 100, "statementId", sid, || {
            "Member must have length less than or equal to 100".to_owned()
        });
        checks.pattern(is_action(&self.action), "action", &self.action, "(lambda:[*]|lambda:[a-zA-Z]+|[*])");
        let spaced = self.principal.is_empty() || self.principal.chars().any(char::is_whitespace);
        checks.pattern(!spaced, "principal", &self.principal, r"[^\s]+");
        if let Some(arn) = &self.source_arn {
            checks.pattern(is_source_arn(arn), "sourceArn", arn, SOURCE_ARN_PATTERN);
        }
        if let Some(account) = &self.source_account {
            checks.pattern(is_account(account), "sourceAccount", account, r"\d{12}");
        }
        if let Some(token) = &self.event_source_token {
            checks.pattern(is_token(token), "eventSourceToken", token, r"[a-zA-Z0-9._\-]+");
            checks.length("eventSourceToken", token, 0, 256);
        }
        if let Some(organization) = &self.principal_org_id {
            checks.pattern(is_organization(organization), "principalOrgID", organization, "o-[a-z0-9]{10,32}");
        }
        if let Some(kind) = &self.function_url_auth_type {
            let known = kind == "NONE" || kind == "AWS_IAM";
            checks.require(known, "functionUrlAuthType", kind, || {
                "Member must satisfy enum value set: [NONE, AWS_IAM]".to_owned()
            });
        }
        checks.done()
    }

    /// The statement these inputs make, members in AWS's order.
    ///
    /// # Errors
    /// `InvalidParameterValueException` for a principal that is none, and for a URL's auth type on another action.
    fn statement(&self, resource: &str) -> Result<Value> {
        if self.function_url_auth_type.is_some() && self.action != "lambda:InvokeFunctionUrl" {
            return Err(invalid("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"));
        }
        match self.invoked_via_function_url {
            Some(_) if self.action != "lambda:InvokeFunction" => {
                return Err(invalid("InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action"));
            }
            // What AWS makes of it is not documented, and an invocation here says nothing a condition could match.
            Some(false) => {
                return Err(not_enforced("InvokedViaFunctionUrl false", "leave it out, or set it to true."));
            }
            Some(true) | None => {}
        }
        let principal = principal(&self.principal).ok_or_else(|| invalid(INVALID_PRINCIPAL))?;
        let equals = [
            ("AWS:SourceAccount", &self.source_account),
            ("lambda:EventSourceToken", &self.event_source_token),
            ("lambda:FunctionUrlAuthType", &self.function_url_auth_type),
            ("aws:PrincipalOrgID", &self.principal_org_id),
        ];
        let equals: Map<String, Value> = equals
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| (key.to_owned(), json!(value))))
            .collect();
        let mut condition = Map::new();
        if !equals.is_empty() {
            condition.insert("StringEquals".to_owned(), Value::Object(equals));
        }
        if let Some(arn) = &self.source_arn {
            condition.insert("ArnLike".to_owned(), json!({ "AWS:SourceArn": arn }));
        }
        // There are no function URLs yet, so no invocation has the key: the statement admits nobody, as it says.
        if self.invoked_via_function_url == Some(true) {
            condition.insert("Bool".to_owned(), json!({ "lambda:InvokedViaFunctionUrl": "true" }));
        }
        let mut statement = json!({
            "Sid": self.statement_id,
            "Effect": "Allow",
            "Principal": principal,
            "Action": self.action,
            "Resource": resource,
        });
        if let Some(members) = statement.as_object_mut().filter(|_| !condition.is_empty()) {
            members.insert("Condition".to_owned(), Value::Object(condition));
        }
        Ok(statement)
    }
}

fn is_action(text: &str) -> bool {
    let letters = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
    text == "*" || text.strip_prefix("lambda:").is_some_and(|name| name == "*" || letters(name))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_organization(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|id| {
        (10..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// How a principal is shown; `None` if it is none. Whether a user or role exists is asked where the statement is added.
fn principal(text: &str) -> Option<Value> {
    if text == "*" {
        return Some(json!("*"));
    }
    if is_account(text) {
        return Some(json!({ "AWS": format!("arn:aws:iam::{text}:root") }));
    }
    if is_identity_arn(text) {
        return Some(json!({ "AWS": text }));
    }
    is_service(text).then(|| json!({ "Service": text }))
}

/// A service principal: a host name under `amazonaws.com`, or one of Alexa's two.
fn is_service(text: &str) -> bool {
    if matches!(text, "alexa-appkit.amazon.com" | "alexa-connectedhome.amazon.com") {
        return true;
    }
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.strip_suffix(".amazonaws.com").is_some_and(|name| name.split('.').all(label))
}

/// The root, a user, a role, or a session of this partition, without wildcards.
fn is_identity_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", "aws", service, "", account, resource] = parts.as_slice() else {
        return false;
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&b);
    let named = |kind: &str| {
        resource
            .strip_prefix(kind)
            .is_some_and(|name| !name.is_empty() && !name.ends_with('/') && name.bytes().all(fits))
    };
    is_account(account)
        && match *service {
            "iam" => *resource == "root" || named("user/") || named("role/"),
            "sts" => named("assumed-role/") || named("federated-user/"),
            _ => false,
        }
}

/// Removes one statement.
pub struct RemovePermission;

/// Input of [`RemovePermission`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemovePermissionInput {
    function_name: String,
    statement_id: String,
    qualifier: Option<String>,
    revision_id: Option<String>,
}

impl Operation for RemovePermission {
    const NAME: &'static str = "RemovePermission";
    type Input = RemovePermissionInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        Ok(vec![address.need(default, Sharing::Owner, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve(&input.function_name, input.qualifier.as_deref(), cx)?;
        check_owner(&address, "lambda:RemovePermission", cx)?;
        let scope = address.scope();
        if tx.get::<Function>(&scope, "", &address.function)?.is_none() {
            return Err(not_found(format!("No policy found for: {}", address.arn())));
        }
        // `$LATEST` can have no policy, and is no version that could be missing.
        let Some(mut policy) = policy(&address, tx)? else {
            return Err(not_found("No policy is associated with the given resource."));
        };
        let Some(position) = policy.position(&input.statement_id) else {
            return Err(not_found(format!("Statement {} is not found in resource policy.", input.statement_id)));
        };
        let holder = Holder::find(&address, tx)?;
        crate::function::check_revision(holder.revision_id(), input.revision_id.as_deref())?;
        policy.statements.remove(position);
        policy.principal_ids.remove(&input.statement_id);
        if policy.statements.is_empty() {
            tx.delete::<ResourcePolicy>(&scope, &address.function, &policy.qualifier);
        } else {
            tx.put(&scope, &address.function, &policy.qualifier, &policy)?;
        }
        holder.touch(&address, cx, tx)?;
        Ok(Map::new())
    }
}

/// The policy of one qualifier.
pub struct GetPolicy;

/// Output of [`GetPolicy`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetPolicyOutput {
    /// The document, as JSON text.
    policy: String,
    /// The function's, version's or alias's own.
    revision_id: String,
}

impl Operation for GetPolicy {
    const NAME: &'static str = "GetPolicy";
    type Input = crate::function::QualifiedInput;
    type Output = GetPolicyOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        Ok(vec![input.address(cx)?.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = input.address(cx)?;
        let Some(policy) = policy(&address, tx)? else {
            return Err(not_found("The resource you requested does not exist."));
        };
        let holder = Holder::find(&address, tx)?;
        Ok(GetPolicyOutput { policy: policy.document(), revision_id: holder.revision_id().to_owned() })
    }
}

#[cfg(test)]
mod tests;
