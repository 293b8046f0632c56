//! `Authorized` -> `Metered`: API keys, usage plans, throttles, quotas.
//!
//! Counts live in this node's memory: a restart begins every bucket full and every quota anew.
//!
//! Source: API Gateway Developer Guide, "Creating and using usage plans with API keys", "Throttle requests to your REST
//! APIs".

mod bucket;
mod keys;

use self::keys::Refused;
pub(crate) use self::{bucket::Bucket, keys::Keys};
use crate::{
    Shared,
    authorize::{Authorized, Granted},
    envelope::Envelope,
    journal::{Journal, Step},
    logging::{Level, starred},
    reject::{Rejection, ResponseType},
    texts,
};

/// A request that may use its method now.
pub(crate) struct Metered {
    authorized: Authorized,
}

impl Metered {
    pub(crate) fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    pub(crate) fn authorized_mut(&mut self) -> &mut Authorized {
        &mut self.authorized
    }
}

/// Checks the API key where the method wants one, then the key's plan, then the method's own throttle. The authorizer
/// has run by then: the key may come from it.
///
/// # Errors
/// 403 `Forbidden` without a key that is enabled and in a plan of this stage; 429 over a rate or a quota.
pub(crate) fn meter(
    authorized: Authorized,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Metered, Rejection> {
    let matched = authorized.matched();
    let (program, method) = (matched.program(), matched.method());
    if method.api_key_required {
        let value = if program.keys_from_authorizer() {
            authorized.granted().and_then(Granted::usage_identifier_key)
        } else {
            matched.arrived().headers.last("x-api-key")
        };
        let value = value.unwrap_or_default();
        let stage = || format!("{}/{}", program.api_id(), program.stage());
        journal.line(Level::Info, || texts::verifying_usage_plan(envelope.request_id(), &starred(value), &stage()));
        let admitted = shared.keys.admit(program, value, envelope.time_ms);
        let (kind, found, key_id) = match admitted {
            Ok(key_id) => {
                journal.line(Level::Info, || texts::usage_plan_succeeded(&starred(value), &stage()));
                (None, "the key is enabled and in a usage plan of this stage".into(), Some(key_id))
            }
            Err(Refused::NotSent) if program.keys_from_authorizer() => {
                (Some(ResponseType::InvalidApiKey), "the authorizer named no usageIdentifierKey".into(), None)
            }
            Err(Refused::NotSent) => {
                (Some(ResponseType::InvalidApiKey), "the request has no x-api-key header".into(), None)
            }
            Err(Refused::Unknown) => {
                (Some(ResponseType::InvalidApiKey), "no API key of this account and region has that value".into(), None)
            }
            Err(Refused::Disabled(id)) => {
                (Some(ResponseType::InvalidApiKey), "the API key is not enabled".into(), Some(id))
            }
            Err(Refused::NotInPlan(id)) => {
                let found = "the API key is in no usage plan that has this stage";
                (Some(ResponseType::InvalidApiKey), found.into(), Some(id))
            }
            Err(Refused::Throttled(id)) => {
                (Some(ResponseType::Throttled), "the usage plan's rate is used up".into(), Some(id))
            }
            Err(Refused::OverQuota(id)) => {
                (Some(ResponseType::QuotaExceeded), "the usage plan's quota is used up".into(), Some(id))
            }
        };
        journal.step(Step::ApiKey { found, key_id });
        if let Some(kind) = kind {
            return Err(Rejection::of(kind));
        }
    } else {
        journal.line(Level::Info, || texts::key_not_required(&format!("{} {}", method.verb, method.resource_path)));
    }
    if method.throttle.as_ref().is_some_and(|bucket| !bucket.take(envelope.time_ms)) {
        return Err(Rejection::of(ResponseType::Throttled).because("the stage's rate for this method is used up"));
    }
    Ok(Metered { authorized })
}
