//! API Gateway's TestInvokeAuthorizer and TestInvokeMethod.
//!
//! What is tried is the API as it is now: it is read, narrowed down to the one thing tried and compiled for this call
//! alone. The functions asked are those of whoever owns them: their policies must permit it and their accounts' records
//! show the invocation, as for a client's request.
//!
//! The calls themselves are never in CloudTrail, refused ones neither. Source: API Gateway Developer Guide, "Logging calls
//! to Amazon API Gateway APIs with AWS CloudTrail".

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use apigateway::test_invoke::{
    self, Test, TestInvokeAuthorizerInput, TestInvokeAuthorizerOutput, TestInvokeMethodInput, TestInvokeMethodOutput,
};
use gateway::{Headers, Program, TestRequest, TestedMethod};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use service::{ServiceError, Tx};
use wire::{protocol, table::Operation};

use crate::{
    Inner, authorize,
    dispatch::{Known, Refusal, Response},
    reader::SnapshotReader,
};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    Authorizer,
    Method,
}

/// A test that is authorized and waits to run.
pub(crate) struct TestInvoke {
    op: &'static Operation,
    request_id: String,
    tried: Tried,
    program: Program,
    request: TestRequest,
}

/// Whether a call of this operation, however it ends, stands in no trail.
pub(crate) fn is_unrecorded(op: &Operation) -> bool {
    op.service.name == "apigateway" && matches!(op.name, "TestInvokeAuthorizer" | "TestInvokeMethod")
}

impl TestInvoke {
    /// Everything before the run: permission, names, limits. Blocks.
    ///
    /// # Errors
    /// API Gateway's errors; nothing has run.
    pub(crate) fn prepare(known: &Known<'_>, tried: Tried, params: &Value) -> Result<Self, Refusal> {
        Ok(Self::checked(known, tried, params)?)
    }

    fn checked(known: &Known<'_>, tried: Tried, params: &Value) -> Result<Self, ServiceError> {
        let inner = known.call.inner;
        let mut reader = SnapshotReader::new(&*inner.store, &inner.vault)?;
        let mut tx = Tx::new(&mut reader);
        // Who may not test learns nothing about the API.
        let needs = [known.default_need("apigateway:POST", params)];
        authorize::check(&inner.compiled, known.op.service, &known.caller, &needs, &known.circumstances(), &mut tx)?;
        let Test { snapshot, stage, request } = known.with_cx(|cx| match tried {
            Tried::Authorizer => {
                test_invoke::authorizer(input::<TestInvokeAuthorizerInput>(known.op, params)?, cx, &mut tx)
            }
            Tried::Method => test_invoke::method(input::<TestInvokeMethodInput>(known.op, params)?, cx, &mut tx),
        })?;
        let program = Program::compile(&snapshot, &stage).map_err(|error| {
            ServiceError::internal(format!("the API {} does not compile: {error}", snapshot.rest_api.id))
        })?;
        Ok(Self {
            op: known.op,
            request_id: known.call.request_id.clone(),
            tried,
            program,
            request: made_up(request, known.call.request.client)?,
        })
    }

    /// Runs it and answers.
    pub(crate) async fn run(self, inner: &Arc<Inner>) -> Response {
        let Self { op, request_id, tried, program, request } = self;
        let gateway = inner.gateway();
        let output = match tried {
            Tried::Authorizer => {
                let tested = gateway.test_authorizer(program, request).await;
                value(TestInvokeAuthorizerOutput {
                    client_status: tested.client_status,
                    log: tested.log,
                    latency: tested.latency_ms,
                    principal_id: tested.principal_id,
                    policy: tested.policy,
                })
            }
            Tried::Method => value(method_output(gateway.test_method(program, request).await)),
        };
        match output {
            Ok(output) => protocol::encode(op, &output, &request_id).into(),
            Err(error) => protocol::encode_error(op.service, &error, &request_id).into(),
        }
    }
}

/// The table has already checked types, so a mismatch here is a shape the noun does not take.
fn input<T: DeserializeOwned>(op: &Operation, params: &Value) -> Result<T, ServiceError> {
    T::deserialize(params).map_err(|error| {
        ServiceError::new("SerializationException", 400, format!("Could not read the input of {}: {error}", op.name))
    })
}

fn value(output: impl Serialize) -> Result<Value, ServiceError> {
    serde_json::to_value(output).map_err(|error| ServiceError::internal(format!("the output of a test: {error}")))
}

fn made_up(request: test_invoke::Request, client: IpAddr) -> Result<TestRequest, ServiceError> {
    let bytes = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let mut headers = Headers::with_capacity(request.headers.len(), bytes);
    for (name, value) in &request.headers {
        headers.push(name, value.as_bytes());
    }
    let verb = request.verb.parse().map_err(|_| ServiceError::internal("a checked verb does not parse"))?;
    Ok(TestRequest {
        verb,
        path_with_query: request.path_with_query,
        headers,
        body: request.body.into(),
        client: request.source_ip.unwrap_or(client),
    })
}

fn method_output(tested: TestedMethod) -> TestInvokeMethodOutput {
    let TestedMethod { answer, log, latency_ms } = tested;
    let (mut headers, mut multi_value_headers) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
    for (name, value) in answer.headers {
        multi_value_headers.entry(name.to_string()).or_default().push(value.to_string());
        headers.insert(name.into_owned(), value.into_owned());
    }
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    TestInvokeMethodOutput { status: answer.status, body, headers, multi_value_headers, log, latency: latency_ms }
}
