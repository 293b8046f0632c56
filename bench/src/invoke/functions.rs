//! The function that is measured: the authorizer AWS publishes, in two languages.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Cursor, Write as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use environment::package;
use lambda::invoke::{Invocation, Outcome, Revision};

/// The event of a TOKEN authorizer, 124 bytes.
pub const EVENT: &[u8] = br#"{"type":"TOKEN","authorizationToken":"allow","methodArn":"arn:aws:execute-api:us-east-1:111122223333:a123456789/prod/GET/"}"#;
pub const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
pub const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:authorizer";

const NODE: &str = "exports.handler = function (event, context, callback) {
  if (event.authorizationToken !== 'allow') return callback('Unauthorized');
  callback(null, { principalId: 'user', policyDocument: { Version: '2012-10-17', Statement: [{
    Action: 'execute-api:Invoke', Effect: 'Allow', Resource: event.methodArn }] },
    context: { stringKey: 'stringval', numberKey: 123, booleanKey: true } });
};
";
const PYTHON: &str = "def handler(event, context):
    if event['authorizationToken'] != 'allow':
        raise Exception('Unauthorized')
    return {'principalId': 'user', 'policyDocument': {'Version': '2012-10-17', 'Statement': [{
        'Action': 'execute-api:Invoke', 'Effect': 'Allow', 'Resource': event['methodArn']}]},
        'context': {'stringKey': 'stringval', 'numberKey': 123, 'booleanKey': True}}
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Node,
    Python,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Node => "Node",
            Language::Python => "Python",
        })
    }
}

/// A function of one file.
pub struct Function {
    pub language: Language,
    revision: Revision,
}

impl Function {
    pub fn authorizer(folder: &Path, language: Language) -> Result<Function> {
        let code = match language {
            Language::Node => NODE,
            Language::Python => PYTHON,
        };
        Function::of(folder, language, code)
    }

    /// One with code of the caller's.
    pub fn of(folder: &Path, language: Language, code: &str) -> Result<Function> {
        let (runtime, name) = match language {
            Language::Node => ("nodejs20.x", "index.js"),
            Language::Python => ("python3.11", "index.py"),
        };
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file(name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(code.as_bytes())?;
        let zip = writer.finish()?.into_inner();
        let inspected = package::inspect(&zip)?;
        let code_zip = folder.join(&inspected.sha256_hex);
        std::fs::write(&code_zip, zip)?;
        let revision = Revision {
            account: "111122223333".into(),
            region: "us-east-1".into(),
            function: "authorizer".into(),
            version: "$LATEST".into(),
            revision_id: "1".into(),
            role_arn: "arn:aws:iam::111122223333:role/authorizer".into(),
            runtime: runtime.into(),
            handler: "index.handler".into(),
            memory_mb: 128,
            timeout_s: 3,
            ephemeral_storage_mb: 512,
            environment: BTreeMap::new(),
            code_sha256: inspected.sha256_hex,
            code_zip,
            layers: Vec::new(),
            logging: lambda::invoke::Logging::default(),
        };
        Ok(Function { language, revision })
    }

    /// The same under another name.
    pub fn renamed(&self, name: &str) -> Revision {
        Revision { function: name.to_owned(), ..self.revision.clone() }
    }

    /// One that shares nothing with the others but its code.
    pub fn revision(&self, number: usize) -> Arc<Revision> {
        Arc::new(Revision { revision_id: number.to_string(), ..self.revision.clone() })
    }
}

pub fn invocation() -> Invocation {
    Invocation {
        request_id: REQUEST_ID.into(),
        invoked_arn: ARN.into(),
        payload: Bytes::from_static(EVENT),
        trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793".into()),
        client_context: None,
        log_tail: false,
    }
}

/// Refuses to count what is no answer.
pub fn check(outcome: &Outcome) -> Result<()> {
    let text = String::from_utf8_lossy(&outcome.payload);
    ensure!(outcome.function_error.is_none() && text.contains("execute-api:Invoke"), "the function answered {text}");
    Ok(())
}
