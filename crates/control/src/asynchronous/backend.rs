//! What a try asks of the control plane: records, functions, roles.

use std::sync::Arc;

use lambda::{
    directory::{QualifierKey, Target},
    event_invoke_config::{EVENT_AGE_S_DEFAULT, EventInvokeConfig, RETRIES_DEFAULT},
    invoke::{Invocation, InvokeError, Outcome, RunError},
};
use service::{Result, Scope, ServiceError, Tx};
use store::queue::Lane;

use super::{
    schedule::Rules,
    serve::{Backend, Configured, Found},
};
use crate::{
    Inner,
    functions::{Function, FunctionKey},
    invoker::{Attribution, Permitted},
    reader::SnapshotReader,
    role::Acting,
};

/// The control plane itself.
pub(super) struct Control(pub Arc<Inner>);

fn function_key(lane: &Lane) -> FunctionKey {
    FunctionKey { account: lane.account.clone(), region: lane.region.clone(), name: lane.name.clone() }
}

fn qualifier_key(lane: &Lane, qualifier: &str) -> QualifierKey {
    QualifierKey {
        account: lane.account.clone(),
        region: lane.region.clone(),
        function: lane.name.clone(),
        qualifier: qualifier.to_owned(),
    }
}

/// How many events of a function may run at once: its reserved concurrency, if it has one. One that is stopped is still
/// asked for its events, which are given up.
pub(super) fn limit(inner: &Inner, lane: &Lane) -> Option<usize> {
    let function = inner.functions.known(&function_key(lane)).flatten()?;
    let reserved = function.target("")?.reserved_concurrency.filter(|reserved| *reserved > 0)?;
    usize::try_from(reserved).ok()
}

impl Control {
    async fn is_stored(&self, lane: &Lane) -> Result<bool> {
        let (inner, lane) = (Arc::clone(&self.0), lane.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
            let scope = Scope::regional(lane.account, lane.region);
            let function = Tx::new(&mut reader).get::<lambda::function::Function>(&scope, "", &lane.name)?;
            Ok(function.is_some())
        });
        read.await.map_err(|error| ServiceError::internal(error.to_string()))?
    }
}

impl Backend for Control {
    type Target = (Arc<Function>, Arc<Target>, QualifierKey);

    async fn configured(&self, lane: &Lane, qualifier: &str) -> Result<Configured> {
        let (inner, lane, qualifier) = (Arc::clone(&self.0), lane.clone(), qualifier.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
            let scope = Scope::regional(lane.account, lane.region);
            EventInvokeConfig::of(&scope, &lane.name, &qualifier, &mut Tx::new(&mut reader))
        });
        let config = read.await.map_err(|error| ServiceError::internal(error.to_string()))??;
        let retries_max = config.as_ref().map_or(RETRIES_DEFAULT, EventInvokeConfig::retries_max);
        let age_s_max = config.as_ref().map_or(EVENT_AGE_S_DEFAULT, EventInvokeConfig::event_age_s_max);
        let destinations = config.map(|config| config.destination_config).unwrap_or_default();
        Ok(Configured {
            rules: Rules { retries_max, age_ms_max: i64::from(age_s_max).saturating_mul(1000) },
            on_success: destinations.on_success.destination,
            on_failure: destinations.on_failure.destination,
        })
    }

    async fn find(&self, lane: &Lane, qualifier: &str) -> Result<Option<Found<Self::Target>>> {
        let Some(function) = self.0.function(function_key(lane)).await else {
            // What could not be read is not served either: only the store knows that a function is gone.
            return if self.is_stored(lane).await? {
                Err(ServiceError::internal("the function is there and cannot be run"))
            } else {
                Ok(None)
            };
        };
        let target = function.target(qualifier).map(Arc::clone);
        Ok(target.map(|target| Found {
            role_arn: target.revision.role_arn.clone(),
            is_stopped: target.reserved_concurrency == Some(0),
            target: (function, target, qualifier_key(lane, qualifier)),
        }))
    }

    async fn run(
        &self,
        _lane: &Lane,
        found: Found<Self::Target>,
        attribution: Attribution,
        invocation: Invocation,
    ) -> std::result::Result<Outcome, RunError> {
        let (function, target, key) = found.target;
        let invoked_arn = invocation.invoked_arn.clone();
        self.0.run_permitted(Permitted { key, function, target, attribution }, invoked_arn, invocation).await
    }

    async fn permit(
        &self,
        function: &Lane,
        role_arn: &str,
        destination_arn: &str,
    ) -> Result<std::result::Result<Attribution, String>> {
        const MISSING: &str = "there is no such function, or its account does not let the execution role invoke it";
        let Some(key) = QualifierKey::parse(destination_arn) else {
            return Ok(Err("it is no ARN of a function".into()));
        };
        let lane = Lane { account: key.account.clone(), region: key.region.clone(), name: key.function.clone() };
        let Some(found) = self.find(&lane, &key.qualifier).await? else { return Ok(Err(MISSING.into())) };
        let (acting, target) = (Acting::function(&function.name), found.target.1);
        let permitted = self.0.permit_role(acting, &target, &key, destination_arn, role_arn, &function.account).await;
        let error = match permitted {
            Ok(attribution) => return Ok(Ok(attribution)),
            Err(error) => error,
        };
        // A role that could not be read looks like one that is not there: asked again if nothing can be read.
        self.is_stored(function).await?;
        Ok(Err(match error {
            InvokeError::NotPermitted(refused) => refused.why,
            InvokeError::CannotAssumeRole(role) => format!("the execution role {role} cannot be assumed by Lambda"),
            InvokeError::TimedOut | InvokeError::Run(_) => MISSING.to_owned(),
        }))
    }

    fn uuid(&self) -> String {
        self.0.uuid()
    }
}
