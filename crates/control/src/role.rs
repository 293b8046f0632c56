//! A service acting through a role: the gateway calling a function (`authorizerCredentials`, `credentials`), Lambda
//! telling a destination.
//!
//! The role must trust the service, its own policies must allow the call, and for a function of another account that
//! function's policy must admit the role too. Sources: API Gateway Developer Guide, "Configure a cross-account API
//! Gateway Lambda authorizer"; Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations"; IAM User
//! Guide, "Cross-account policy evaluation logic".

use std::sync::Arc;

use lambda::{
    directory::{QualifierKey, Target},
    invoke::{InvokeError, NotPermitted},
};
use platform::{
    cloudtrail::record::{GATEWAY_INVOKED_BY, UserIdentity},
    iam,
};
use policy::{AccountId, Context, Decide, Decision, Effect, Kind, Policy, Principal, Request, decide};
use service::{Caller, Need, ServiceError, Session, Tx};
use wire::table::Service;

use crate::{
    Inner, authorize,
    invoker::{Attribution, GATEWAY_PRINCIPAL},
    reader::SnapshotReader,
};

/// How the gateway names the session it takes of a role.
const SESSION_NAME: &str = "BackplaneAssumeRoleSession";
/// The service principal of Lambda, which is also how it names itself in records.
const LAMBDA_PRINCIPAL: &str = "lambda.amazonaws.com";

/// A service that acts through a role.
pub(crate) struct Acting {
    /// Whom the role must trust.
    principal: &'static str,
    session_name: String,
    /// How it names itself in records.
    invoked_by: &'static str,
}

impl Acting {
    /// API Gateway.
    pub(crate) fn gateway() -> Self {
        Self { principal: GATEWAY_PRINCIPAL, session_name: SESSION_NAME.into(), invoked_by: GATEWAY_INVOKED_BY }
    }

    /// Lambda for a function, whose sessions carry its name.
    pub(crate) fn function(name: &str) -> Self {
        Self { principal: LAMBDA_PRINCIPAL, session_name: name.to_owned(), invoked_by: LAMBDA_PRINCIPAL }
    }

    /// The session the service would hold, if the role is of `account` and trusts the service.
    fn assume(&self, inner: &Inner, role_arn: &str, account: &str, tx: &mut Tx<'_>) -> Option<Caller> {
        let id = AccountId::try_from(account).ok()?;
        if policy::Arn::parse(role_arn).ok()?.account() != account {
            return None;
        }
        let (role, trust) = iam::role::trust_document(tx, role_arn).ok()??;
        let trust = inner.compiled.get(&trust, Kind::Trust).ok()?;
        let context = Context::new();
        let verdict = trust.evaluate(&Request {
            action: "sts:AssumeRole",
            resource: role_arn,
            principal: &Principal::Service(self.principal.into()),
            context: &context,
        });
        if verdict.effect != Some(Effect::Allow) {
            return None;
        }
        let identity = iam::principal::role_identity(tx, account, &role.role_name, &self.session_name).ok()??;
        let now = inner.clock.now();
        let session =
            Session { issued_at: now, expires_at: now.plus_s(3600), policies: Vec::new(), source_identity: None };
        Some(Caller { account: id, identity, access_key_id: String::new(), session: Some(session) })
    }
}

/// What a session of a role asks for.
struct Asked<'a> {
    action: &'a str,
    resource: &'a str,
    resource_policy: Option<&'a Policy>,
    same_account: bool,
}

/// Whether a session of `role_arn` may do it.
///
/// # Errors
/// Why not, for the log.
fn permit(inner: &Inner, caller: &Caller, role_arn: &str, asked: &Asked<'_>, tx: &mut Tx<'_>) -> Result<(), String> {
    let documents = iam::principal::documents(tx, caller).map_err(|_| "its policies cannot be read".to_owned())?;
    let compile =
        |text: &String, kind| inner.compiled.get(text, kind).map_err(|_| "a policy does not parse".to_owned());
    let identity: Vec<Arc<Policy>> =
        documents.identity.iter().map(|text| compile(text, Kind::Identity)).collect::<Result<_, _>>()?;
    let boundary = documents.boundary.as_ref().map(|text| compile(text, Kind::Boundary)).transpose()?;
    let identity: Vec<&Policy> = identity.iter().map(Arc::as_ref).collect();
    let principal = caller.principal();
    let mut context = Context::new();
    context.insert("aws:PrincipalArn", role_arn);
    context.insert("aws:PrincipalAccount", caller.account.as_str());
    context.insert("aws:PrincipalType", "AssumedRole");
    context.insert("aws:userid", caller.user_id());
    let decision = decide(&Decide {
        identity: &identity,
        boundary: boundary.as_deref(),
        session: None,
        resource: asked.resource_policy,
        same_account: asked.same_account,
        is_root: false,
        request: &Request { action: asked.action, resource: asked.resource, principal: &principal, context: &context },
    });
    match decision {
        Decision::Allowed => Ok(()),
        Decision::Denied(denial) => Err(denial.sentence(&caller.arn(), asked.action, asked.resource)),
    }
}

/// Checks what the roles a call names need to be allowed, each as Lambda would act through it.
///
/// # Errors
/// The need's refusal; Lambda's own when the role is not there or does not trust it.
pub(crate) fn check_needs(
    inner: &Inner,
    service: &Service,
    needs: &[Need],
    tx: &mut Tx<'_>,
) -> Result<(), ServiceError> {
    for need in needs {
        let Some(role_arn) = need.by_role.as_deref() else { continue };
        let account = policy::Arn::parse(role_arn).map(|arn| arn.account().to_owned()).unwrap_or_default();
        let Some(caller) = Acting::function("function").assume(inner, role_arn, &account, tx) else {
            let text = "The role defined for the function cannot be assumed by Lambda.";
            return Err(ServiceError::new("InvalidParameterValueException", 400, text).with_field("Type", "User"));
        };
        let policy = need.resource_policy.as_deref();
        let policy = policy.map(|text| inner.compiled.get(text, Kind::Resource)).transpose()?;
        let asked = Asked {
            action: &need.action,
            resource: &need.resource,
            resource_policy: policy.as_deref(),
            same_account: need.account == account,
        };
        permit(inner, &caller, role_arn, &asked, tx).map_err(|sentence| match &need.refusal {
            Some(refusal) => (**refusal).clone().with_cause(sentence),
            None => authorize::access_denied(service, sentence),
        })?;
    }
    Ok(())
}

impl Inner {
    /// Whether a service may run `target` through a session of `role_arn`, a role of `account`.
    ///
    /// # Errors
    /// [`InvokeError::CannotAssumeRole`] when the role is not there, is of another account or does not trust the service;
    /// [`InvokeError::NotPermitted`] when the session may not invoke.
    pub(crate) async fn permit_role(
        self: &Arc<Self>,
        acting: Acting,
        target: &Arc<Target>,
        key: &QualifierKey,
        function_arn: &str,
        role_arn: &str,
        account: &str,
    ) -> Result<Attribution, InvokeError> {
        let question = Question {
            acting,
            target: Arc::clone(target),
            same_account: key.account == account,
            function_arn: function_arn.to_owned(),
            role_arn: role_arn.to_owned(),
            account: account.to_owned(),
        };
        let inner = Arc::clone(self);
        let role = question.role_arn.clone();
        let answer = tokio::task::spawn_blocking(move || question.answer(&inner)).await;
        answer.unwrap_or(Err(InvokeError::CannotAssumeRole(role)))
    }
}

struct Question {
    acting: Acting,
    target: Arc<Target>,
    same_account: bool,
    function_arn: String,
    role_arn: String,
    /// The role's.
    account: String,
}

impl Question {
    fn answer(&self, inner: &Inner) -> Result<Attribution, InvokeError> {
        let cannot = || InvokeError::CannotAssumeRole(self.role_arn.clone());
        let mut reader = SnapshotReader::new(&*inner.store, &inner.vault).map_err(|_| cannot())?;
        let mut tx = Tx::new(&mut reader);
        let caller = self.acting.assume(inner, &self.role_arn, &self.account, &mut tx).ok_or_else(cannot)?;
        let asked = Asked {
            action: "lambda:InvokeFunction",
            resource: &self.function_arn,
            resource_policy: self.target.resource_policy.as_deref(),
            same_account: self.same_account,
        };
        permit(inner, &caller, &self.role_arn, &asked, &mut tx).map_err(|why| {
            InvokeError::NotPermitted(NotPermitted::because(format!("role {}: {why}", self.role_arn)))
        })?;
        Ok(self.attribution(&caller))
    }

    fn attribution(&self, caller: &Caller) -> Attribution {
        let invoked_by = self.acting.invoked_by;
        let mut identity = UserIdentity::Caller(caller).to_value();
        if let Some(members) = identity.as_object_mut() {
            members.remove("accessKeyId");
            members.insert("invokedBy".into(), invoked_by.into());
        }
        Attribution {
            identity,
            source_ip: invoked_by.into(),
            user_agent: invoked_by.into(),
            source_arn: None,
            foreign: !self.same_account,
            username: Some(self.acting.session_name.clone()),
            access_key_id: None,
        }
    }
}
