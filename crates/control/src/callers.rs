//! Who signed a data-plane request, for AWS_IAM methods.

use std::sync::{Arc, Weak};

use gateway::{Callers, IamCaller, SignatureRefusal, SignedRequest};
use lambda::invoke::BoxFuture;
use service::{Caller, Result, ServiceError, Tx};
use wire::sigv4::{self, Body, Dialect, RequestHead, Rules};

use crate::{
    Inner,
    authorize::{self, Policies},
    reader::SnapshotReader,
};

/// Name of the service that data-plane requests are signed for.
const SIGNING_NAME: &str = "execute-api";

/// A caller, or why there is none.
type Found = std::result::Result<Arc<IamCaller>, SignatureRefusal>;

/// The data plane's way to identities. Each signed request reads one snapshot of the store, so a key that is switched
/// off or a policy that changes counts from the next request on.
pub(crate) struct SignedCallers {
    inner: Weak<Inner>,
}

impl SignedCallers {
    pub(crate) fn new(inner: Weak<Inner>) -> Self {
        Self { inner }
    }
}

impl Callers for SignedCallers {
    fn authenticate(&self, request: SignedRequest) -> BoxFuture<'_, Found> {
        let inner = self.inner.upgrade();
        Box::pin(async move {
            let found = match inner {
                Some(inner) => tokio::task::spawn_blocking(move || find(&inner, &request)).await.ok(),
                None => None,
            };
            // Nothing that fails here may let anybody in.
            found.unwrap_or_else(|| Err(failed()))
        })
    }
}

fn failed() -> SignatureRefusal {
    SignatureRefusal::Invalid {
        error_type: "InternalFailure".to_owned(),
        message: "The caller's identity could not be looked up".to_owned(),
    }
}

fn find(inner: &Inner, request: &SignedRequest) -> Found {
    let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
    let head = RequestHead {
        method: &request.method,
        raw_path: &request.raw_path,
        raw_query: request.raw_query.as_deref(),
        headers: &headers,
    };
    check_region(&head, &request.region)?;
    let mut reader = SnapshotReader::new(&*inner.store, &inner.vault).map_err(|_| failed())?;
    let mut tx = Tx::new(&mut reader);
    let verifier = inner.verifier(inner.clock.now(), request.client);
    let found = verifier.authenticate(&head, Body::Bytes(&request.body), Dialect::RestJson, SIGNING_NAME, &mut tx);
    let caller = match found {
        Ok(found) => found.caller.ok_or(SignatureRefusal::Missing)?,
        Err(refused) if refused.error.code.starts_with("ExpiredToken") => {
            return Err(SignatureRefusal::Expired(refused.error.message));
        }
        Err(refused) => return Err(invalid(*refused.error)),
    };
    identify(inner, &mut tx, &caller).map(Arc::new).map_err(|_| failed())
}

fn invalid(error: ServiceError) -> SignatureRefusal {
    SignatureRefusal::Invalid { error_type: error.code.to_string(), message: error.message }
}

/// Refuses a signature for another region than the API's. Whether there is a signature, and a sound one, is not asked
/// here.
fn check_region(head: &RequestHead<'_>, region: &str) -> std::result::Result<(), SignatureRefusal> {
    let Ok(Some(signed)) = sigv4::parse(head) else { return Ok(()) };
    let rules = Rules::of(Dialect::RestJson, SIGNING_NAME).in_region(region);
    signed.check_scope(&rules).map_err(|failure| invalid(failure.to_error(Dialect::RestJson)))
}

/// The caller with everything that says what they may do.
fn identify(inner: &Inner, tx: &mut Tx<'_>, caller: &Caller) -> Result<IamCaller> {
    let Policies { identity, boundary, session } = Policies::of(&inner.compiled, caller, tx)?;
    Ok(IamCaller {
        account: caller.account.as_str().to_owned(),
        arn: caller.arn(),
        user_id: caller.user_id(),
        access_key_id: caller.access_key_id.clone(),
        principal: caller.principal(),
        is_root: caller.is_root(),
        identity,
        boundary,
        session,
        keys: authorize::caller_keys(caller),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_in_the_apis_region_only() {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261125/us-east-1/execute-api/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "0".repeat(64)
        );
        let headers: [(&str, &[u8]); 3] =
            [("Host", b"x"), ("X-Amz-Date", b"20261125T000000Z"), ("Authorization", authorization.as_bytes())];
        let head = RequestHead { method: "GET", raw_path: "/", raw_query: None, headers: &headers };
        assert_eq!(check_region(&head, "us-east-1"), Ok(()));
        let expected = SignatureRefusal::Invalid {
            error_type: "InvalidSignatureException".to_owned(),
            message: "Credential should be scoped to a valid region, not 'us-east-1'. ".to_owned(),
        };
        assert_eq!(check_region(&head, "eu-west-1"), Err(expected));
        assert_eq!(
            check_region(&RequestHead { headers: &[], ..head }, "eu-west-1"),
            Ok(()),
            "unsigned is not its matter"
        );
    }
}
