//! Prints how long a warm invocation of a small Node and Python function takes: `cargo run --release --example warm`.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{
    io::{Cursor, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use environment::{LogSink, NoCredentials, Options, Supervisor, package};
use lambda::invoke::{Invocation, Revision, Run};

struct Nowhere;

impl LogSink for Nowhere {
    fn write(&self, _: &str, _: &str, _group: &str, _stream: &str, _lines: Vec<(u64, String)>) {}
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let data = tempfile::tempdir()?;
    let options = Options {
        data_dir: data.path().join("functions"),
        node: find("node"),
        python: find("python3"),
        ..Options::default()
    };
    let handle = tokio::runtime::Handle::current();
    let supervisor = Supervisor::start(options, handle, Arc::new(NoCredentials), Arc::new(Nowhere))?;
    let node = "exports.handler = (event, context, callback) => callback(null, { principalId: event.token });";
    let python = "def handler(event, context):\n    return {'principalId': event['token']}\n";
    for (runtime, name, code) in [("nodejs18.x", "index.js", node), ("python3.8", "app.py", python)] {
        let revision = Arc::new(revision(data.path(), runtime, name, code)?);
        let mut times: Vec<Duration> = Vec::new();
        for number in 0..20_000u32 {
            let begun = Instant::now();
            let invocation = Invocation {
                request_id: format!("00000000-0000-4000-8000-{number:012}"),
                invoked_arn: "arn:aws:lambda:us-east-1:111122223333:function:warm".into(),
                payload: Bytes::from_static(b"{\"token\":\"allow\"}"),
                trace_id: None,
                client_context: None,
                log_tail: false,
            };
            supervisor
                .run(Arc::clone(&revision), invocation)
                .await
                .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
            times.push(begun.elapsed());
        }
        let cold = times.remove(0);
        times.sort();
        let at = |permille: usize| times.get(times.len() * permille / 1_000).copied().unwrap_or_default();
        println!("{runtime}: cold {cold:?}, warm p50 {:?}, p99 {:?}", at(500), at(990));
    }
    supervisor.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn revision(directory: &std::path::Path, runtime: &str, name: &str, code: &str) -> std::io::Result<Revision> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file(name, zip::write::SimpleFileOptions::default())?;
    writer.write_all(code.as_bytes())?;
    let zip = writer.finish()?.into_inner();
    let inspected = package::inspect(&zip).map_err(std::io::Error::other)?;
    let code_zip = directory.join(&inspected.sha256_hex);
    std::fs::write(&code_zip, zip)?;
    Ok(Revision {
        account: "111122223333".into(),
        region: "us-east-1".into(),
        function: "warm".into(),
        version: "$LATEST".into(),
        revision_id: "1".into(),
        role_arn: "arn:aws:iam::111122223333:role/warm".into(),
        runtime: runtime.into(),
        handler: format!("{}.handler", name.split('.').next().unwrap_or_default()),
        memory_mb: 128,
        timeout_s: 3,
        ephemeral_storage_mb: 512,
        environment: Default::default(),
        code_sha256: inspected.sha256_hex,
        code_zip,
        layers: Vec::new(),
        logging: lambda::invoke::Logging::default(),
    })
}
