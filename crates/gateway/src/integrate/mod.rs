//! `Outgoing` -> `Returned`: what answers a method.

mod lambda_proxy;
mod mock;

use apigateway::method::Method as Record;

pub(crate) use self::lambda_proxy::LambdaProxy;
pub(crate) use self::mock::Mock;
use crate::{
    Shared, Text,
    authorize::Authorized,
    call::Origin,
    envelope::Envelope,
    journal::Journal,
    meter::Metered,
    reject::Rejection,
    texts,
    transform::{Outgoing, Payload},
};

/// A method's integration, compiled.
#[derive(Debug)]
pub(crate) enum Integration {
    Mock(Mock),
    LambdaProxy(LambdaProxy),
    /// Not possible, with the reason: every request is refused.
    Broken(Text),
}

impl Integration {
    /// Compiles a method's integration. `place` is the end of the source ARN presented to functions:
    /// `API/STAGE/METHOD/resource-path`, method and path as configured.
    pub(crate) fn compile(record: &Record, place: &str, origin: &Origin<'_>) -> Self {
        let Some(integration) = &record.method_integration else {
            return Self::Broken("the method has no integration".into());
        };
        let compiled = match integration.kind.as_str() {
            "MOCK" => Mock::compile(record, integration, origin).map(Self::Mock),
            "AWS_PROXY" => LambdaProxy::compile(integration, place, origin).map(Self::LambdaProxy),
            other => Err(format!("integrations of type `{other}` are not served")),
        };
        compiled.unwrap_or_else(|reason| Self::Broken(reason.into()))
    }
}

/// A request whose integration has answered.
pub(crate) struct Returned {
    metered: Metered,
    outcome: Outcome,
}

/// What an integration answered.
pub(crate) enum Outcome {
    /// The status a MOCK chose.
    Mock(u16),
    /// A whole answer.
    Proxy(Proxied),
}

/// The answer of an AWS_PROXY function, names and values checked.
pub(crate) struct Proxied {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: bytes::Bytes,
}

impl Returned {
    pub(crate) fn authorized(&self) -> &Authorized {
        self.metered.authorized()
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        self.outcome
    }
}

/// Asks the integration.
///
/// # Errors
/// 500 for a MOCK without a status and a function that may not or cannot be called, 502 for a function's failure or
/// malformed answer, 504 for none in time.
pub(crate) async fn call(
    outgoing: Outgoing,
    shared: &Shared,
    envelope: &Envelope,
    journal: &mut Journal,
) -> Result<Returned, Rejection> {
    let (metered, payload) = outgoing.into_parts();
    let outcome = match (&metered.authorized().matched().method().integration, payload) {
        (Integration::Mock(_), Payload::Mock(text)) => Outcome::Mock(mock::status(&text)?),
        (Integration::LambdaProxy(proxy), Payload::Event(event)) => {
            Outcome::Proxy(lambda_proxy::call(proxy, event, shared, envelope, journal).await?)
        }
        _ => return Err(Rejection::api_configuration(texts::INVALID_ENDPOINT)),
    };
    Ok(Returned { metered, outcome })
}
