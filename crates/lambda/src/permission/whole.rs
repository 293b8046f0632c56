//! A policy as a whole: PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy.
//!
//! They act on the same policy as AddPermission, RemovePermission and GetPolicy: what is put here can be added to, and
//! what was added is replaced. Sources: Lambda API Reference, "PutResourcePolicy", "GetResourcePolicy",
//! "DeleteResourcePolicy". AWS documents no texts for a document that is not taken; the ones here are this
//! installation's, under the code AWS names.

use std::collections::BTreeMap;

use policy::{Kind, Policy, parse_json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{Cx, Need, Operation, Result, Tx, principal::unique_id};

use super::{
    Holder, INVALID_PRINCIPAL, NO_LATEST, ResourcePolicy, Whole, check_owner, is_identity_arn, is_service,
    policy as stored,
};
use crate::{
    check::{Checks, is_account, is_region, is_word},
    error::{invalid, not_enforced, not_found, precondition},
    name::{Address, LATEST, Sharing},
};

const ARN_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_])+)?|runtime/[a-zA-Z0-9-_./]+)";

/// Longest text of the caller's repeated in an error, in characters.
const SHOWN_CHARS_MAX: usize = 256;

/// The condition keys a statement may ask for: those that are known of every invocation here which would know them on
/// AWS. On any other a condition, a denying one above all, would silently mean something else than it says.
const CONDITION_KEYS: &[&str] = &[
    "aws:SourceArn",
    "aws:SourceAccount",
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
    "aws:PrincipalOrgID",
    "aws:PrincipalType",
    "aws:userid",
    "aws:username",
    "lambda:EventSourceToken",
    "lambda:FunctionUrlAuthType",
    "lambda:InvokedViaFunctionUrl",
];

/// The function, version or alias a policy hangs on.
///
/// # Errors
/// `ValidationException` for what is no ARN of Lambda's; `ResourceNotFoundException` for the other kinds of resource,
/// none of which exists here, and for another region.
fn address(resource_arn: &str, cx: &Cx<'_>) -> Result<Address> {
    let parts: Vec<&str> = resource_arn.splitn(6, ':').collect();
    let rest = match parts.as_slice() {
        ["arn", partition, "lambda", region, account, rest]
            if (partition.is_empty() || partition.starts_with("aws")) && is_region(region) && is_account(account) =>
        {
            *rest
        }
        _ => "",
    };
    let function = rest.strip_prefix("function:").map(|rest| rest.split_once(':').map_or(rest, |(name, _)| name));
    let is_runtime = rest.strip_prefix("runtime/").is_some_and(|name| !name.is_empty());
    let mut checks = Checks::default();
    let fits = function.is_some_and(is_word) || is_runtime;
    checks.pattern(fits, "resourceArn", resource_arn, ARN_PATTERN);
    checks.length("resourceArn", resource_arn, 0, 512);
    checks.done()?;
    if is_runtime {
        return Err(not_found(format!("Resource not found: {resource_arn}")));
    }
    Address::resolve(resource_arn, None, cx)
}

fn need(resource_arn: &str, default: Need, cx: &Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
    Ok(vec![address(resource_arn, cx)?.need(default, Sharing::Owner, tx)?])
}

fn check_revision(holder: &Holder, asked: Option<&str>) -> Result<()> {
    match asked {
        Some(asked) if asked != holder.revision_id() => Err(precondition("GetResourcePolicy")),
        _ => Ok(()),
    }
}

/// Puts a policy in place of the whole one before.
pub struct PutResourcePolicy;

/// Input of [`PutResourcePolicy`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutResourcePolicyInput {
    resource_arn: String,
    policy: String,
    revision_id: Option<String>,
}

/// Output of [`PutResourcePolicy`] and [`GetResourcePolicy`].
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourcePolicyOutput {
    /// The document, as JSON text.
    policy: String,
    /// The function's, version's or alias's own.
    revision_id: String,
}

impl Operation for PutResourcePolicy {
    const NAME: &'static str = "PutResourcePolicy";
    type Input = PutResourcePolicyInput;
    type Output = ResourcePolicyOutput;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.resource_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = address(&input.resource_arn, cx)?;
        check_owner(&address, "lambda:PutResourcePolicy", cx)?;
        if address.qualifier.as_deref() == Some(LATEST) {
            return Err(invalid(NO_LATEST));
        }
        let holder = Holder::find(&address, tx)?;
        check_revision(&holder, input.revision_id.as_deref())?;
        let policy = read(&input.policy, &address, tx)?;
        policy.check_size()?;
        tx.put(&address.scope(), &address.function, &policy.qualifier, &policy)?;
        let revision_id = holder.touch(&address, cx, tx)?;
        Ok(ResourcePolicyOutput { policy: policy.document(), revision_id })
    }
}

/// A document read for one function, version or alias, its users and roles bound to who they are now.
///
/// # Errors
/// `InvalidParameterValueException` for a document that is no policy, says something about another resource or another
/// service, names a principal that does not exist, or asks for a condition that is not enforced.
fn read(text: &str, address: &Address, tx: &mut Tx<'_>) -> Result<ResourcePolicy> {
    let malformed = |error: policy::ParseError| {
        invalid(format!("The policy is not valid: {} ({error})", error.message())).with_cause(error.to_string())
    };
    let value = parse_json(text).map_err(malformed)?;
    let compiled = Policy::from_value(&value, Kind::Resource).map_err(malformed)?;
    let Value::Object(mut head) = value else {
        return Err(invalid("The policy is not valid: it is not an object."));
    };
    let statements = match head.shift_remove("Statement") {
        Some(Value::Array(statements)) => statements,
        Some(statement) => vec![statement],
        None => Vec::new(),
    };
    let arn = address.qualified_arn();
    for statement in statements.iter().filter_map(Value::as_object) {
        check_statement(statement, &arn)?;
    }
    let mut principal_ids = BTreeMap::new();
    for named in compiled.identity_principals() {
        if !principal_ids.contains_key(named) {
            let id = unique_id(tx, named)?.ok_or_else(|| invalid(INVALID_PRINCIPAL))?;
            principal_ids.insert(named.to_owned(), id);
        }
    }
    let mut policy = ResourcePolicy::new(address.qualifier.as_deref().unwrap_or_default());
    policy.statements = statements;
    policy.whole = Some(Whole { head, principal_ids });
    Ok(policy)
}

/// What Lambda asks of a statement beyond the policy language.
fn check_statement(statement: &Map<String, Value>, arn: &str) -> Result<()> {
    let sid = statement.get("Sid").and_then(Value::as_str).unwrap_or_default();
    // What RemovePermission could not name could not be removed.
    let removable = sid.is_empty() || (is_word(sid) && sid.len() <= 100);
    if !removable {
        let sid = shown(sid);
        return Err(invalid(format!("The statement id {sid} is not 1 to 100 characters of [a-zA-Z0-9-_].")));
    }
    if let Some(action) =
        texts(statement, "Action").chain(texts(statement, "NotAction")).find(|action| !is_lambdas(action))
    {
        return Err(invalid(format!("The policy names the action {}, which is not one of Lambda.", shown(action))));
    }
    if statement.get("NotResource").is_some() {
        return Err(invalid(format!("The policy must name its resource, {arn}, and not all but some (NotResource).")));
    }
    if let Some(other) = texts(statement, "Resource").find(|resource| *resource != arn) {
        let other = shown(other);
        return Err(invalid(format!("The policy names the resource {other}, but it is put on {arn}.")));
    }
    let principals = [statement.get("Principal"), statement.get("NotPrincipal")];
    if !principals.into_iter().flatten().all(has_valid_principals) {
        return Err(invalid(INVALID_PRINCIPAL));
    }
    check_conditions(statement)
}

fn check_conditions(statement: &Map<String, Value>) -> Result<()> {
    let operators = statement.get("Condition").and_then(Value::as_object).into_iter().flat_map(Map::values);
    for operands in operators.filter_map(Value::as_object) {
        let variables = operands.keys().flat_map(|key| texts(operands, key)).flat_map(variables);
        let mut keys = operands.keys().map(String::as_str).chain(variables);
        if let Some(key) = keys.find(|key| !CONDITION_KEYS.iter().any(|known| known.eq_ignore_ascii_case(key))) {
            let key = format!("The condition key {}", shown(key));
            let only = format!("a function's policy may ask for {}.", CONDITION_KEYS.join(", "));
            return Err(not_enforced(&key, &only));
        }
    }
    Ok(())
}

/// The keys whose values a text takes in: `${key}` and `${key, 'default'}`, but not the `*`, `?` and `$` written so.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split("${").skip(1).map(|rest| rest.split(['}', ',']).next().unwrap_or_default().trim());
    names.filter(|name| !matches!(*name, "*" | "?" | "$"))
}

fn is_lambdas(action: &str) -> bool {
    action == "*" || action.split_once(':').is_some_and(|(service, _)| service.eq_ignore_ascii_case("lambda"))
}

/// Everyone, accounts, identities and services; nobody else calls Lambda.
fn has_valid_principals(element: &Value) -> bool {
    let Some(kinds) = element.as_object() else { return element == "*" };
    kinds.keys().all(|kind| match kind.as_str() {
        // Unique ids are the policy language's to judge.
        "AWS" => texts(kinds, kind).all(|name| !name.starts_with("arn:") || is_identity_arn(name)),
        "Service" => texts(kinds, kind).all(is_service),
        _ => false,
    })
}

/// The strings of a member that holds one or a list.
fn texts<'v>(value: &'v Map<String, Value>, member: &str) -> impl Iterator<Item = &'v str> {
    let list = match value.get(member) {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    list.iter().filter_map(Value::as_str)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// The policy of a function, version or alias.
pub struct GetResourcePolicy;

/// Input of [`GetResourcePolicy`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetResourcePolicyInput {
    resource_arn: String,
}

impl Operation for GetResourcePolicy {
    const NAME: &'static str = "GetResourcePolicy";
    type Input = GetResourcePolicyInput;
    type Output = ResourcePolicyOutput;

    // AWS's list of what another account can be granted has GetPolicy, and not this.
    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.resource_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = address(&input.resource_arn, cx)?;
        check_owner(&address, "lambda:GetResourcePolicy", cx)?;
        let Some(policy) = stored(&address, tx)? else {
            return Err(not_found("The resource you requested does not exist."));
        };
        let holder = Holder::find(&address, tx)?;
        Ok(ResourcePolicyOutput { policy: policy.document(), revision_id: holder.revision_id().to_owned() })
    }
}

/// Deletes the policy of a function, version or alias.
pub struct DeleteResourcePolicy;

/// Input of [`DeleteResourcePolicy`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteResourcePolicyInput {
    resource_arn: String,
    revision_id: Option<String>,
}

impl Operation for DeleteResourcePolicy {
    const NAME: &'static str = "DeleteResourcePolicy";
    type Input = DeleteResourcePolicyInput;
    type Output = Map<String, Value>;

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        need(&input.resource_arn, default, cx, tx)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = address(&input.resource_arn, cx)?;
        check_owner(&address, "lambda:DeleteResourcePolicy", cx)?;
        let Some(policy) = stored(&address, tx)? else {
            return Err(not_found("No policy is associated with the given resource."));
        };
        let holder = Holder::find(&address, tx)?;
        check_revision(&holder, input.revision_id.as_deref())?;
        tx.delete::<ResourcePolicy>(&address.scope(), &address.function, &policy.qualifier);
        holder.touch(&address, cx, tx)?;
        Ok(Map::new())
    }
}

#[cfg(test)]
mod tests;
