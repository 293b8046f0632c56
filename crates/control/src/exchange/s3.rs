//! S3: objects move as bytes, so its calls are exchanges rather than pure changes of state.
//!
//! A call passes four stations. `arrive` verifies the signature by our own verifier, undoes aws-chunked framing, checks
//! checksums and refuses what is not enforced. The request then goes on without its signature, in path style, to the
//! protocol crate s3s, which routes it and turns bytes into inputs and outputs into bytes; it is given no authentication
//! of its own, and the call with its proven caller travels beside the request as an extension. `operations` names the
//! operations; each is one function of a [`call::Step`], which authorizes and works on one revision of the store and is
//! run again when somebody else committed first. `answer` adds what every answer of S3 carries.
//!
//! Whatever s3s routes to is what is authorized, recorded and done: no second opinion of the operation exists.
//!
//! Differences from AWS: a bucket is reached through any region's signature; bodies are at most 64 MB; nothing is said to
//! be encrypted at rest, since nothing is.

mod answer;
mod arrive;
mod bucket;
mod call;
mod checksum;
mod convert;
mod listing;
mod object;
mod operations;
mod unset;
mod upload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    Inner,
    dispatch::{Request, Response},
};

/// AWS's names of the operations that are served.
pub(crate) const OPERATIONS: &[&str] = operations::NAMES;

/// Answers a request that `wire::route::service_of` says is for s3. Never fails: an error is an answer too.
pub(crate) async fn handle(inner: &Arc<Inner>, request: Request) -> Response {
    let is_head = request.method == "HEAD";
    let worker = Arc::clone(inner);
    let call = match tokio::task::spawn_blocking(move || arrive::admit(&worker, request)).await {
        Ok(Ok(call)) => Arc::new(call),
        Ok(Err(refused)) => return refused,
        Err(error) => {
            tracing::error!(%error, "a call of s3 panicked");
            return answer::failed(is_head);
        }
    };
    match arrive::plain_request(&call) {
        Ok(plain) => answer::of(&call, operations::service().call(plain).await).await,
        Err(error) => answer::refusal(&call, error),
    }
}
