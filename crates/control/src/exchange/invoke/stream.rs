//! InvokeWithResponseStream: the answer travels while the function still makes it.
//!
//! Everything up to the run is Invoke's. The head of the answer goes out with the first byte the function writes, or with
//! the end of a run that wrote none; whatever happens later is told by the last message of the stream.
//!
//! Source: Lambda API Reference, "InvokeWithResponseStream", "InvokeWithResponseStreamCompleteEvent".

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lambda::invoke::{BoxFuture, Invocation, Outcome, RunError, SinkClosed, StreamPart, StreamSink};
use serde_json::{Map, Value};
use service::ServiceError;
use tokio::{sync::mpsc, task::JoinHandle};
use wire::protocol;

use super::{Kind, SignedInvoke, message, run_error};
use crate::{
    Inner,
    answer::{Answer, Body},
    dispatch::Response,
    invoker::Permitted,
};

/// Parts on their way from the function, and messages on their way to the client: a slow reader slows the function.
const PARTS_MAX: usize = 4;
/// The largest piece of the answer in one message; clients hold a message in memory.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Hands parts over to whoever writes the messages.
struct Parts(mpsc::Sender<StreamPart>);

impl StreamSink for Parts {
    fn take(&mut self, part: StreamPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move { self.0.send(part).await.map_err(|_| SinkClosed) })
    }
}

type Run = JoinHandle<Result<Outcome, RunError>>;

impl SignedInvoke {
    /// Runs it and answers with a stream.
    pub(crate) async fn stream(self, inner: &Arc<Inner>) -> Answer {
        let (service, request_id) = (self.service, self.request_id.clone());
        match self.streamed(inner).await {
            Ok(answer) => answer,
            Err(error) => Response::from(protocol::encode_error(service, &error, &request_id)).into(),
        }
    }

    async fn streamed(self, inner: &Arc<Inner>) -> Result<Answer, ServiceError> {
        let request_id = self.request_id.clone();
        let (function, target) = self.found(inner).await?;
        if self.kind == Kind::DryRun {
            return Ok(super::answer(204, &request_id, Vec::new(), Bytes::new()).into());
        }
        let invocation = Invocation {
            request_id: request_id.clone(),
            invoked_arn: self.invoked_arn.clone(),
            payload: self.payload,
            trace_id: None,
            client_context: self.client_context,
            log_tail: self.log_tail,
        };
        let permitted = Permitted { key: self.key, function, target, attribution: self.attribution };
        let invoked_arn = self.invoked_arn;
        let admitted = inner.admit(permitted, invoked_arn, &request_id).await.map_err(run_error)?;
        let version = admitted.revision.version.clone();
        let (parts, mut taken) = mpsc::channel(PARTS_MAX);
        let runner = inner.runner.clone();
        // A task of its own: a function that has begun goes to its end when its client goes away.
        let run: Run =
            tokio::spawn(async move { admitted.run_streaming(&runner, invocation, Box::new(Parts(parts))).await });
        let first = taken.recv().await;
        let (messages, body) = mpsc::channel(PARTS_MAX);
        match first {
            Some(part) => {
                tokio::spawn(async move { hand_on(part, taken, run, messages).await });
            }
            None => {
                // Nothing was written: what hinders a run is an error of the call as long as no head has gone out.
                let outcome = joined(run).await.map_err(run_error)?;
                // There is room for the only message.
                let _ = messages.try_send(complete(Ok(outcome)));
            }
        }
        let headers = vec![
            ("X-Amz-Executed-Version".to_owned(), version),
            ("x-amzn-RequestId".to_owned(), request_id),
            ("Content-Type".to_owned(), "application/vnd.amazon.eventstream".to_owned()),
        ];
        Ok(Answer { status: 200, headers, body: Body::Streamed(body) })
    }
}

/// Writes the messages of a stream that has begun. Ends early when nobody reads; the function then learns it.
async fn hand_on(mut part: StreamPart, mut taken: mpsc::Receiver<StreamPart>, run: Run, messages: mpsc::Sender<Bytes>) {
    loop {
        if let StreamPart::Chunk(bytes) = part {
            for piece in bytes.chunks(CHUNK_BYTES_MAX) {
                let message = message::event("PayloadChunk", "application/octet-stream", piece);
                if messages.send(message).await.is_err() {
                    return;
                }
            }
        }
        match taken.recv().await {
            Some(next) => part = next,
            None => break,
        }
    }
    let _ = messages.send(complete(joined(run).await)).await;
}

async fn joined(run: Run) -> Result<Outcome, RunError> {
    run.await.unwrap_or_else(|error| Err(RunError::Unavailable(error.to_string())))
}

/// The last message: how it ended.
///
/// [U] what `ErrorCode` AWS gives for an error of the function: here it is what Invoke's `X-Amz-Function-Error` is.
fn complete(ended: Result<Outcome, RunError>) -> Bytes {
    let mut members = Map::new();
    let mut set = |name: &str, value: String| members.insert(name.to_owned(), Value::String(value));
    match ended {
        Ok(outcome) => {
            if let Some(error) = outcome.function_error {
                set("ErrorCode", super::function_error(error).to_owned());
                set("ErrorDetails", String::from_utf8_lossy(&outcome.payload).into_owned());
            }
            if let Some(tail) = outcome.log_tail {
                set("LogResult", STANDARD.encode(tail));
            }
        }
        Err(error) => {
            let error = run_error(error);
            set("ErrorCode", error.code.into_owned());
            set("ErrorDetails", error.message);
        }
    }
    message::event("InvokeComplete", "application/json", Value::Object(members).to_string().as_bytes())
}
