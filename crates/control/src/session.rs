//! Sessions of execution roles: the credentials a function finds in its environment.

use std::sync::Arc;

use environment::{Credentials, RoleCredentials};
use platform::{iam, sts};
use policy::{Context, Effect, Kind, Policy, Principal, Request};
use service::Tx;
use store::Store;

use crate::{clock::Clock, host::NodeHost, reader::SnapshotReader, vault::Vault};

/// Life of an execution role's session.
const DURATION_S: i64 = 12 * 3600;

/// Issues sessions of roles that trust Lambda.
pub struct RoleSessions {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl RoleSessions {
    /// Over the records of this installation.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { store, vault, clock }
    }

    fn issue(&self, role_arn: &str, session: &str) -> service::Result<Option<RoleCredentials>> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        let mut tx = Tx::new(&mut reader);
        let Some((role, trust)) = iam::role::trust_document(&mut tx, role_arn)? else { return Ok(None) };
        let trusts = Policy::parse(&trust, Kind::Trust).is_ok_and(|trust| {
            let verdict = trust.evaluate(&Request {
                action: "sts:AssumeRole",
                resource: role_arn,
                principal: &Principal::Service("lambda.amazonaws.com".into()),
                context: &Context::new(),
            });
            verdict.effect == Some(Effect::Allow)
        });
        let account = policy::Arn::parse(role_arn).map(|arn| arn.account().to_owned()).unwrap_or_default();
        let identity = iam::principal::role_identity(&mut tx, &account, &role.role_name, session)?;
        let (Some(identity), true) = (identity, trusts) else { return Ok(None) };
        let mut host = NodeHost { vault: Arc::clone(&self.vault), functions: None };
        let issued = sts::issue(&mut host, self.clock.now(), &account, identity, DURATION_S, Vec::new());
        Ok(Some(RoleCredentials {
            access_key_id: issued.access_key_id,
            secret_access_key: issued.secret_access_key,
            session_token: issued.session_token,
            expires_at_ms: u64::try_from(issued.expires_at.ms()).unwrap_or_default(),
        }))
    }
}

impl Credentials for RoleSessions {
    fn for_role(&self, role_arn: &str, session: &str) -> Option<RoleCredentials> {
        match self.issue(role_arn, session) {
            Ok(issued) => issued,
            Err(error) => {
                tracing::error!(role_arn, cause = ?error.cause, "no session of an execution role could be issued");
                None
            }
        }
    }
}
