//! The rules about the statements of a function's policy.

use gateway::CallSource;
use lambda::permission::add_permission_command;
use serde_json::Value;
use service::Scope;

use super::{About, Warning};

const GATEWAY: &str = "apigateway.amazonaws.com";
/// Stands where no served stage says which authorizer is meant.
const SOMEBODY: &str = "arn:aws:execute-api:REGION:API_ACCOUNT_ID:API_ID/authorizers/AUTHORIZER_ID";

/// A function, or one qualifier of it.
pub(super) struct Place {
    account: String,
    region: String,
    name: String,
    qualifier: String,
}

impl Place {
    pub(super) fn of(scope: &Scope, name: &str, qualifier: &str) -> Self {
        Self {
            account: scope.account.clone(),
            region: scope.region.clone(),
            name: name.to_owned(),
            qualifier: qualifier.to_owned(),
        }
    }

    /// With the qualifier, if there is one.
    pub(super) fn arn(&self) -> String {
        let separator = if self.qualifier.is_empty() { "" } else { ":" };
        format!("{}{separator}{}", self.function(), self.qualifier)
    }

    fn function(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }

    fn warning(&self, code: &str, statement: Option<&Value>, text: String, repair: Vec<String>) -> Warning {
        let about = About {
            function_arn: Some(self.arn()),
            statement_id: statement.and_then(sid).map(str::to_owned),
            ..About::default()
        };
        Warning { code: code.to_owned(), account_id: self.account.clone(), about, text, repair }
    }

    /// Takes one statement away. The ids AWS admits are plain words; others get no command.
    fn remove(&self, statement: &Value) -> Option<String> {
        let sid = sid(statement).filter(|sid| plain(sid))?;
        let qualifier = match self.qualifier.as_str() {
            "" => String::new(),
            qualifier => format!(" --qualifier {qualifier}"),
        };
        let (function, region) = (self.function(), &self.region);
        // An id that begins with a hyphen would be an option.
        let joint = if sid.starts_with('-') { '=' } else { ' ' };
        Some(self.signed(&format!(
            "aws lambda remove-permission --function-name {function} --statement-id{joint}{sid}{qualifier} --region {region}"
        )))
    }

    fn signed(&self, command: &str) -> String {
        format!("{command}   # with credentials of account {}", self.account)
    }
}

fn sid(statement: &Value) -> Option<&str> {
    statement.get("Sid").and_then(Value::as_str).filter(|sid| !sid.is_empty())
}

fn plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// `policy-near-limit`.
pub(super) fn size(place: &Place, (used, limit): (usize, usize)) -> Option<Warning> {
    gateway::near(used, limit).then(|| {
        let text = format!(
            "The function's policy takes {used} of {limit} bytes; one statement whose aws:SourceArn ends in \
             /authorizers/* can stand for several, and at the limit no more can be added."
        );
        place.warning("policy-near-limit", None, text, Vec::new())
    })
}

/// Whether a statement lets API Gateway invoke on behalf of anybody.
///
/// Source: IAM User Guide, "The confused deputy problem".
pub(super) fn is_open(statement: &Value) -> bool {
    let service = statement.get("Principal").and_then(|principal| principal.get("Service"));
    let named = one_or_more(service).any(|service| service == GATEWAY);
    let bound = conditions(statement)
        .any(|(_, key, _)| ["aws:sourcearn", "aws:sourceaccount"].contains(&key.to_ascii_lowercase().as_str()));
    allows(statement) && named && !bound
}

/// `permission-without-source`. `sources` are what served stages present to the function, `None` if that is too much;
/// `all` are the statements of the policy.
pub(super) fn open(place: &Place, statement: &Value, sources: Option<Vec<CallSource>>, all: &[Value]) -> Warning {
    let function = place.arn();
    let add = |arn: &str, id: &str| place.signed(&add_permission_command(&function, arn, &unused(id, all)));
    let repair = match sources {
        // Without this statement calls would be refused, so it stays until those who call are known.
        None => vec![add(SOMEBODY, "apigateway-authorizer")],
        Some(sources) if sources.is_empty() => {
            [add(SOMEBODY, "apigateway-authorizer")].into_iter().chain(place.remove(statement)).collect()
        }
        Some(sources) => {
            let missing = sources.iter().filter(|source| !all.iter().any(|it| admits(it, &source.source_arn)));
            missing.map(|it| add(&it.source_arn, &it.statement_id)).chain(place.remove(statement)).collect()
        }
    };
    let text = format!(
        "{} lets API Gateway invoke the function for any API of any account, as it names neither aws:SourceArn nor \
         aws:SourceAccount.",
        named(statement)
    );
    place.warning("permission-without-source", Some(statement), text, repair)
}

/// Whether a statement admits a source by its ARN.
fn admits(statement: &Value, source_arn: &str) -> bool {
    allows(statement)
        && source_arns(statement).is_some_and(|value| {
            one_or_more(Some(value)).filter_map(Value::as_str).any(|it| policy::arn_like(it, source_arn))
        })
}

/// The id, or one like it that no statement has.
fn unused(id: &str, all: &[Value]) -> String {
    let taken = |id: &str| all.iter().any(|statement| sid(statement) == Some(id));
    let mut free = id.to_owned();
    for number in 2..=all.len().saturating_add(1) {
        if !taken(&free) {
            break;
        }
        free = format!("{id}-{number}");
    }
    free
}

fn named(statement: &Value) -> String {
    sid(statement).map_or_else(|| "A statement without Sid".to_owned(), |sid| format!("Statement {sid}"))
}

/// An authorizer as a source ARN names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthorizerArn {
    arn: String,
    pub(super) account: String,
    pub(super) api: String,
    pub(super) authorizer: String,
}

impl AuthorizerArn {
    fn parse(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (_, _, service, _, account) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (api, authorizer) = parts.next()?.split_once("/authorizers/")?;
        let exact = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (service == "execute-api" && exact(account) && exact(api) && exact(authorizer)).then(|| Self {
            arn: arn.to_owned(),
            account: account.to_owned(),
            api: api.to_owned(),
            authorizer: authorizer.to_owned(),
        })
    }
}

/// The authorizers a statement admits, if it admits API Gateway for exactly named authorizers and nothing else.
pub(super) fn authorizers(statement: &Value) -> Option<Vec<AuthorizerArn>> {
    if !allows(statement) {
        return None;
    }
    let value = source_arns(statement)?;
    let found: Option<Vec<AuthorizerArn>> =
        one_or_more(Some(value)).map(|value| AuthorizerArn::parse(value.as_str()?)).collect();
    found.filter(|found| !found.is_empty())
}

/// The values a source's ARN has to be like.
fn source_arns(statement: &Value) -> Option<&Value> {
    let (_, _, value) = conditions(statement).find(|(operator, key, _)| {
        let operator = operator.to_ascii_lowercase();
        key.eq_ignore_ascii_case("aws:SourceArn")
            && ["arnlike", "arnequals", "stringequals", "stringlike"].contains(&operator.as_str())
    })?;
    Some(value)
}

/// `stale-permission`. `whole` says whether the statement admits nothing else.
pub(super) fn stale(place: &Place, statement: &Value, gone: &AuthorizerArn, whole: bool) -> Warning {
    let text = format!("{} permits the authorizer {}, which does not exist any more.", named(statement), gone.arn);
    let repair = if whole { place.remove(statement) } else { None };
    let mut warning = place.warning("stale-permission", Some(statement), text, repair.into_iter().collect());
    warning.about.api_id = Some(gone.api.clone());
    warning.about.authorizer_id = Some(gone.authorizer.clone());
    warning
}

fn allows(statement: &Value) -> bool {
    statement.get("Effect").is_some_and(|effect| effect == "Allow")
}

/// Operator, key and value of every condition.
fn conditions(statement: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let operators = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, value)| (operator.as_str(), key.as_str(), value))
    })
}

fn one_or_more(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
    .iter()
}

#[cfg(test)]
mod tests;
