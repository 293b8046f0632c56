//! A function on AWS's `lambda_runtime` crate; what it does is in the event.

use std::time::Duration;

use lambda_runtime::{Context, Error, LambdaEvent, run, service_fn, streaming};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("_HANDLER").is_ok_and(|handler| handler == "streams") {
        return run(service_fn(stream)).await;
    }
    run(service_fn(serve)).await
}

async fn serve(event: LambdaEvent<Value>) -> Result<Value, Error> {
    match event.payload["way"].as_str() {
        Some("context") => Ok(about(&event.context)),
        Some("error") => Err("it says no".into()),
        Some("panic") => panic!("it gives up"),
        Some("exit") => std::process::exit(5),
        Some("large") => Ok(json!("x".repeat(5_000_000))),
        Some("hang") => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(Value::Null)
        }
        _ => Ok(event.payload),
    }
}

fn about(context: &Context) -> Value {
    json!([
        context.request_id,
        context.invoked_function_arn,
        context.env_config.function_name,
        context.env_config.memory,
        context.deadline > 0,
        context.xray_trace_id,
        context.client_context,
    ])
}

async fn stream(event: LambdaEvent<Value>) -> Result<streaming::Response<streaming::Body>, Error> {
    let (mut sender, body) = streaming::channel();
    tokio::spawn(async move {
        for part in ["one ", "two ", "three"] {
            if sender.send_data(part.into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if event.payload["way"] == "break" {
            sender.abort();
        }
    });
    Ok(streaming::Response::from(body))
}

/// The few names of `lambda_runtime::streaming` used above, under one roof.
mod streaming_names {}
