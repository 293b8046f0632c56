//! How a function is called: the ARN inside an integration or authorizer URI, and on whose behalf.
//!
//! Source: API Gateway Developer Guide, "Using stage variables", "Configure a cross-account API Gateway Lambda
//! authorizer"; API Gateway API Reference, "CreateAuthorizer".

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use lambda::invoke::{InvokeError, InvokeRequest, Invoked, Invoker, Outcome};

use crate::{
    Shared, Text,
    journal::{Called, Journal, NotInvoked, Step},
    logging::Level,
    texts,
};

/// What is waited beyond a call's own limit before the port itself counts as lost.
const GRACE: Duration = Duration::from_secs(2);

/// Everything about a call that the stage fixes.
#[derive(Debug)]
pub(crate) struct Call {
    function_arn: String,
    invoker: Invoker,
}

/// What a call is compiled from.
pub(crate) struct Origin<'a> {
    /// Owner of the API.
    pub(crate) account: &'a str,
    /// The API's region.
    pub(crate) region: &'a str,
    pub(crate) partition: &'a str,
    /// Stage variables.
    pub(crate) variables: &'a BTreeMap<String, String>,
}

impl Call {
    /// Compiles a call.
    ///
    /// `below_api` is the part of the source ARN after `…:ACCT:`, such as `API/authorizers/AID`. If the function lives
    /// in another region than the API, the ARN presented carries the function's region.
    ///
    /// # Errors
    /// Says what is wrong with the URI or the role.
    pub(crate) fn compile(
        uri: &str,
        credentials: Option<&str>,
        below_api: &str,
        origin: &Origin<'_>,
    ) -> Result<Self, String> {
        let function_arn = function_arn(&substitute(uri, origin.variables)?)?;
        let source_account = origin.account.to_owned();
        let invoker = match credentials {
            Some(role) => {
                let role_arn = substitute(role, origin.variables)?;
                check_role(&role_arn, origin.account)?;
                Invoker::Role { role_arn, source_account }
            }
            None => {
                let region = function_arn.split(':').nth(3).unwrap_or(origin.region);
                let Origin { account, partition, .. } = origin;
                let source_arn = format!("arn:{partition}:execute-api:{region}:{account}:{below_api}");
                Invoker::ApiGateway { source_arn, source_account }
            }
        };
        Ok(Self { function_arn, invoker })
    }

    /// The call with one request's event.
    pub(crate) fn with(&self, payload: Vec<u8>, request_id: &str, timeout_ms: u64) -> InvokeRequest {
        InvokeRequest {
            function_arn: self.function_arn.clone(),
            invoker: self.invoker.clone(),
            payload: Bytes::from(payload),
            gateway_request_id: request_id.to_owned(),
            timeout_ms,
        }
    }
}

impl Call {
    /// The function's ARN, qualifier included.
    pub(crate) fn function_arn(&self) -> &str {
        &self.function_arn
    }

    /// What is presented as `aws:SourceArn`; `None` for a call as a role.
    pub(crate) fn source_arn(&self) -> Option<&str> {
        match &self.invoker {
            Invoker::ApiGateway { source_arn, .. } => Some(source_arn),
            Invoker::Role { .. } => None,
        }
    }
}

/// A call that came to no outcome.
pub(crate) struct Failed {
    /// In the words of the execution log.
    pub(crate) reason: Text,
    pub(crate) kind: FailedKind,
    pub(crate) why: Box<NotInvoked>,
}

/// What kept a function from answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedKind {
    /// Permission or role.
    Configuration,
    TimedOut,
    /// Permitted, but it did not run.
    Run,
}

/// Runs a function, and gives its outcome with the milliseconds it took. Writes down that it ran, and by whose leave;
/// that it did not is the caller's to write, since several requests may share one call.
///
/// # Errors
/// [`Failed`] when there is no outcome in time or at all.
pub(crate) async fn invoke(
    request: InvokeRequest,
    called: Called,
    shared: &Shared,
    journal: &mut Journal,
) -> Result<(Outcome, i64), Failed> {
    let deadline = Duration::from_millis(request.timeout_ms) + GRACE;
    journal.line(Level::Trace, || texts::endpoint_uri(&request.function_arn));
    journal.line(Level::Trace, || texts::endpoint_body(&request.payload));
    journal.line(Level::Info, || texts::sending_request(&request.function_arn));
    let started = shared.clock.now_ms();
    let error = match tokio::time::timeout(deadline, shared.invoke.invoke(request)).await {
        Ok(Ok(Invoked { outcome, permission })) => {
            let latency_ms = shared.clock.now_ms().saturating_sub(started).max(0);
            journal.step(Step::Invoked { called, permission, latency_ms });
            return Ok((outcome, latency_ms));
        }
        Ok(Err(error)) => error,
        Err(_) => InvokeError::TimedOut,
    };
    Err(match error {
        InvokeError::NotPermitted(refused) => Failed {
            reason: texts::INVALID_PERMISSIONS.into(),
            kind: FailedKind::Configuration,
            why: Box::new(NotInvoked {
                why: refused.why,
                detail: refused.detail,
                grantable: refused.grantable,
                role: None,
            }),
        },
        InvokeError::CannotAssumeRole(role) => Failed {
            reason: texts::cannot_assume_role(&role).into(),
            kind: FailedKind::Configuration,
            why: not_invoked(
                "the role does not exist, is of another account or does not trust apigateway.amazonaws.com",
                Some(role),
            ),
        },
        InvokeError::TimedOut => Failed {
            reason: texts::TIMED_OUT.into(),
            kind: FailedKind::TimedOut,
            why: not_invoked("it gave no answer in time", None),
        },
        InvokeError::Run(error) => {
            let why = format!("the function did not run: {error}");
            Failed { reason: why.clone().into(), kind: FailedKind::Run, why: not_invoked(&why, None) }
        }
    })
}

fn not_invoked(why: &str, role: Option<String>) -> Box<NotInvoked> {
    Box::new(NotInvoked { why: why.to_owned(), detail: None, grantable: false, role })
}

/// Puts stage variables in for `${stageVariables.name}`.
fn substitute(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        out.push_str(before);
        let (name, after) = from.split_once('}').ok_or("a stage variable is not closed")?;
        let name = name.strip_prefix("stageVariables.").ok_or("only stage variables can stand in a URI")?;
        out.push_str(variables.get(name).ok_or_else(|| format!("the stage has no variable `{name}`"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The function's ARN: everything between `functions/` and the final `/invocations`.
fn function_arn(uri: &str) -> Result<String, String> {
    let bad = || format!("`{uri}` is not the invocation URI of a function");
    let mut parts = uri.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, subdomain) = (next(), next(), next(), next(), next());
    if arn != "arn" || partition.is_empty() || service != "apigateway" || region.is_empty() || subdomain != "lambda" {
        return Err(bad());
    }
    let inner = next().strip_prefix("path/2015-03-31/functions/").and_then(|rest| rest.strip_suffix("/invocations"));
    let inner = inner.ok_or_else(bad)?;
    let fields: Vec<&str> = inner.split(':').collect();
    let good = match fields.as_slice() {
        ["arn", partition, "lambda", region, account, "function", name, qualifier @ ..] => {
            !partition.is_empty()
                && !region.is_empty()
                && is_account(account)
                && is_word(name)
                && qualifier.len() <= 1
                && qualifier.iter().all(|word| is_word(word))
        }
        _ => false,
    };
    if good { Ok(inner.to_owned()) } else { Err(bad()) }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A function's name, alias or version.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte))
}

/// A role of the API's own account. The caller's own credentials (`arn:aws:iam::*:user/*`) need signed requests, which this
/// version does not take.
fn check_role(arn: &str, account: &str) -> Result<(), String> {
    let fields: Vec<&str> = arn.splitn(6, ':').collect();
    match fields.as_slice() {
        ["arn", partition, "iam", "", owner, resource]
            if !partition.is_empty() && *owner == account && resource.len() > 5 && resource.starts_with("role/") =>
        {
            Ok(())
        }
        _ => Err(format!("`{arn}` is not a role of the API's account")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lambda::invoke::Invoker;

    use super::{Call, Origin};

    const URI: &str = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/";

    fn compile(function: &str, role: Option<&str>) -> Result<Call, String> {
        let variables = BTreeMap::from([("fn".to_owned(), "f".to_owned()), ("alias".to_owned(), "live".to_owned())]);
        let origin = Origin { account: "111122223333", region: "us-east-1", partition: "aws", variables: &variables };
        Call::compile(&format!("{URI}{function}/invocations"), role, "api/authorizers/aid", &origin)
    }

    #[test]
    fn the_function_stands_between_functions_and_invocations() {
        for (written, read) in [
            ("arn:aws:lambda:us-east-1:444455556666:function:f", "arn:aws:lambda:us-east-1:444455556666:function:f"),
            (
                "arn:aws:lambda:us-east-1:444455556666:function:f:live",
                "arn:aws:lambda:us-east-1:444455556666:function:f:live",
            ),
            (
                "arn:aws:lambda:us-east-1:444455556666:function:${stageVariables.fn}:${stageVariables.alias}",
                "arn:aws:lambda:us-east-1:444455556666:function:f:live",
            ),
        ] {
            let call = compile(written, None).unwrap();
            assert_eq!(call.function_arn, read);
            let Invoker::ApiGateway { source_arn, source_account } = call.invoker else { panic!("a role") };
            assert_eq!(source_arn, "arn:aws:execute-api:us-east-1:111122223333:api/authorizers/aid");
            assert_eq!(source_account, "111122223333");
        }
    }

    #[test]
    fn a_function_elsewhere_lends_its_region_to_the_source_arn() {
        let call = compile("arn:aws:lambda:eu-west-1:444455556666:function:f", None).unwrap();
        let Invoker::ApiGateway { source_arn, .. } = call.invoker else { panic!("a role") };
        assert_eq!(source_arn, "arn:aws:execute-api:eu-west-1:111122223333:api/authorizers/aid");
    }

    #[test]
    fn what_is_no_function_or_no_role_does_not_compile() {
        for function in [
            "",
            "f",
            "arn:aws:lambda:us-east-1:444455556666:f",
            "arn:aws:lambda:us-east-1:4444:function:f",
            "arn:aws:lambda:us-east-1:444455556666:function:f:a:b",
            "arn:aws:lambda:us-east-1:444455556666:function:",
            "arn:aws:lambda: us-east-1:444455556666:function:f g",
            "arn:aws:lambda:us-east-1:444455556666:function:${stageVariables.none}",
            "arn:aws:lambda:us-east-1:444455556666:function:${fn}",
            "arn:aws:lambda:us-east-1:444455556666:function:${",
        ] {
            assert!(compile(function, None).is_err(), "{function}");
        }
        let function = "arn:aws:lambda:us-east-1:444455556666:function:f";
        assert!(compile(function, Some("arn:aws:iam::111122223333:role/r")).is_ok());
        for role in [
            "arn:aws:iam::*:user/*",
            "r",
            "arn:aws:iam::111122223333:user/u",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::999999999999:role/r",
        ] {
            assert!(compile(function, Some(role)).is_err(), "{role}");
        }
    }
}
