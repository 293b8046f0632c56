//! The gateway calling a function through a role of the API's account (`authorizerCredentials`, `credentials`).
//!
//! The role must trust the gateway, its own policies must allow the call, and for a function of another account that
//! function's policy must admit the role too. Sources: API Gateway Developer Guide, "Configure a cross-account API
//! Gateway Lambda authorizer"; IAM User Guide, "Cross-account policy evaluation logic".

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
use service::{Caller, Session, Tx};

use crate::{
    Inner,
    invoker::{Attribution, GATEWAY_PRINCIPAL},
    reader::SnapshotReader,
};

/// How the gateway names the session it takes of a role.
const SESSION_NAME: &str = "BackplaneAssumeRoleSession";

impl Inner {
    /// Whether the gateway may run `target` as a session of `role_arn`.
    ///
    /// # Errors
    /// [`InvokeError::CannotAssumeRole`] when the role is not there, is of another account or does not trust the gateway;
    /// [`InvokeError::NotPermitted`] when the session may not invoke.
    pub(crate) async fn permit_role(
        self: &Arc<Self>,
        target: &Arc<Target>,
        key: &QualifierKey,
        function_arn: &str,
        role_arn: &str,
        source_account: &str,
    ) -> Result<Attribution, InvokeError> {
        let question = Question {
            target: Arc::clone(target),
            same_account: key.account == source_account,
            function_arn: function_arn.to_owned(),
            role_arn: role_arn.to_owned(),
            source_account: source_account.to_owned(),
        };
        let inner = Arc::clone(self);
        let role = question.role_arn.clone();
        let answer = tokio::task::spawn_blocking(move || question.answer(&inner)).await;
        answer.unwrap_or(Err(InvokeError::CannotAssumeRole(role)))
    }
}

struct Question {
    target: Arc<Target>,
    same_account: bool,
    function_arn: String,
    role_arn: String,
    source_account: String,
}

impl Question {
    fn answer(&self, inner: &Inner) -> Result<Attribution, InvokeError> {
        let cannot = || InvokeError::CannotAssumeRole(self.role_arn.clone());
        let mut reader = SnapshotReader::new(&*inner.store, &inner.vault).map_err(|_| cannot())?;
        let mut tx = Tx::new(&mut reader);
        let caller = self.assume(inner, &mut tx).ok_or_else(cannot)?;
        let refused =
            |text: &str| InvokeError::NotPermitted(NotPermitted::because(format!("role {}: {text}", self.role_arn)));
        let documents =
            iam::principal::documents(&mut tx, &caller).map_err(|_| refused("its policies cannot be read"))?;
        let compile =
            |text: &String, kind| inner.compiled.get(text, kind).map_err(|_| refused("a policy does not parse"));
        let identity: Vec<Arc<Policy>> =
            documents.identity.iter().map(|text| compile(text, Kind::Identity)).collect::<Result<_, _>>()?;
        let boundary = documents.boundary.as_ref().map(|text| compile(text, Kind::Boundary)).transpose()?;
        let identity: Vec<&Policy> = identity.iter().map(Arc::as_ref).collect();
        let principal = caller.principal();
        let mut context = Context::new();
        context.insert("aws:PrincipalArn", self.role_arn.as_str());
        context.insert("aws:PrincipalAccount", self.source_account.as_str());
        context.insert("aws:PrincipalType", "AssumedRole");
        context.insert("aws:userid", caller.user_id());
        let decision = decide(&Decide {
            identity: &identity,
            boundary: boundary.as_deref(),
            session: None,
            resource: self.target.resource_policy.as_deref(),
            same_account: self.same_account,
            is_root: false,
            request: &Request {
                action: "lambda:InvokeFunction",
                resource: &self.function_arn,
                principal: &principal,
                context: &context,
            },
        });
        if let Decision::Denied(denial) = decision {
            return Err(refused(&denial.sentence(&caller.arn(), "lambda:InvokeFunction", &self.function_arn)));
        }
        Ok(self.attribution(&caller))
    }

    /// The session the gateway would hold, if the role is the API account's own and trusts the gateway.
    fn assume(&self, inner: &Inner, tx: &mut Tx<'_>) -> Option<Caller> {
        let account = AccountId::try_from(self.source_account.as_str()).ok()?;
        if policy::Arn::parse(&self.role_arn).ok()?.account() != self.source_account {
            return None;
        }
        let (role, trust) = iam::role::trust_document(tx, &self.role_arn).ok()??;
        let trust = inner.compiled.get(&trust, Kind::Trust).ok()?;
        let context = Context::new();
        let verdict = trust.evaluate(&Request {
            action: "sts:AssumeRole",
            resource: &self.role_arn,
            principal: &Principal::Service(GATEWAY_PRINCIPAL.into()),
            context: &context,
        });
        if verdict.effect != Some(Effect::Allow) {
            return None;
        }
        let identity =
            iam::principal::role_identity(tx, &self.source_account, &role.role_name, SESSION_NAME).ok()??;
        let now = inner.clock.now();
        let session =
            Session { issued_at: now, expires_at: now.plus_s(3600), policies: Vec::new(), source_identity: None };
        Some(Caller { account, identity, access_key_id: String::new(), session: Some(session) })
    }

    fn attribution(&self, caller: &Caller) -> Attribution {
        let mut identity = UserIdentity::Caller(caller).to_value();
        if let Some(members) = identity.as_object_mut() {
            members.remove("accessKeyId");
            members.insert("invokedBy".into(), GATEWAY_INVOKED_BY.into());
        }
        Attribution {
            identity,
            source_ip: GATEWAY_INVOKED_BY.into(),
            user_agent: GATEWAY_INVOKED_BY.into(),
            source_arn: None,
            foreign: !self.same_account,
            username: Some(SESSION_NAME.into()),
            access_key_id: None,
        }
    }
}
