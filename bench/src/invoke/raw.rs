//! A runtime without a supervisor: a frame is written, a frame is read, and nothing else happens.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use environment::{
    RUNTIME_DIR,
    frame::{self, Answer, Order},
    launch::{Launch, Layout, Process, Spec},
};
use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use super::{
    Host,
    functions::{ARN, EVENT, Function, Language, REQUEST_ID},
};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A bootstrap that has loaded its function.
pub struct Raw {
    socket: UnixStream,
    process: Box<dyn Process>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sequence: u64,
    _output: std::os::fd::OwnedFd,
}

impl Raw {
    /// Starts one and loads the function, whose code lies unpacked already. Must be called inside a runtime.
    pub async fn start(host: &Host, launcher: &dyn Launch, function: &Function) -> Result<Raw> {
        let data = host.folder.path().join("functions").canonicalize()?;
        let code = data.join("code").join(&function.revision(0).code_sha256);
        let own = launcher.layout() == Layout::Own;
        let (task, runtime) =
            if own { ("/var/task".into(), "/var/runtime".into()) } else { (code.clone(), data.join(RUNTIME_DIR)) };
        let interpreter = host.interpreter(function.language).context("no interpreter")?.canonicalize()?;
        let bootstrap = |name: &str| PathBuf::from(&runtime).join(name).into_os_string();
        let arguments = match function.language {
            Language::Node => {
                vec!["--max-old-space-size=96".into(), "--max-semi-space-size=2".into(), bootstrap("bootstrap.cjs")]
            }
            Language::Python => {
                vec!["-B".into(), "-s".into(), "-X".into(), "utf8".into(), bootstrap("bootstrap.py")]
            }
        };
        // With the name it knows that it is no standby.
        let name = ("AWS_LAMBDA_FUNCTION_NAME", "authorizer");
        let variables = [("PATH", "/usr/bin:/bin"), ("LANG", "en_US.UTF-8"), ("TZ", ":UTC"), name];
        let spec = Spec {
            program: interpreter,
            arguments,
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            directory: task.clone(),
            code: Some(code),
            memory_mb: 128,
            tmp_mb: 512,
            scratch: data.join("tmp/raw"),
            ..Spec::default()
        };
        let launched = launcher.launch(&spec)?;
        launched.socket.set_nonblocking(true)?;
        let mut raw = Raw {
            socket: UnixStream::from_std(launched.socket)?,
            process: launched.process,
            inbox: Vec::new(),
            outbox: Vec::new(),
            sequence: 0,
            _output: launched.output,
        };
        let load = serde_json::json!({ "handler": "index.handler", "taskRoot": task, "callbacks": true, "ensureAscii": true,
            "functionName": "authorizer", "functionVersion": "$LATEST", "memorySize": "128", "logGroup": "", "logStream": "" });
        let document = load.to_string().into_bytes();
        if !frame::encode(0, Order::Load(&document), &mut raw.outbox) {
            bail!("a frame that is too long");
        }
        raw.send().await?;
        raw.receive(|answer| matches!(answer, Answer::Hello)).await.context("no greeting")?;
        raw.receive(|answer| matches!(answer, Answer::Ready)).await.context("the function was not loaded")?;
        Ok(raw)
    }

    /// One call: the whole of what a supervisor cannot save.
    pub async fn call(&mut self) -> Result<()> {
        self.sequence += 1;
        self.outbox.clear();
        let about = format!(r#"{{"id":"{REQUEST_ID}","arn":"{ARN}","deadline":9999999999999}}"#);
        if !frame::encode(self.sequence, Order::Invoke { about: about.as_bytes(), event: EVENT }, &mut self.outbox) {
            bail!("a frame that is too long");
        }
        self.send().await?;
        self.receive(|answer| matches!(answer, Answer::Result(policy) if policy.len() > 200)).await
    }

    async fn send(&mut self) -> Result<()> {
        Ok(self.socket.write_all(&self.outbox).await?)
    }

    async fn receive(&mut self, wanted: impl Fn(&Answer<'_>) -> bool) -> Result<()> {
        loop {
            if let Some(found) = frame::decode(&self.inbox, self.sequence)? {
                if !wanted(&found.answer) {
                    bail!("it answered {:?}", found.answer);
                }
                let consumed = found.consumed;
                self.inbox.drain(..consumed);
                return Ok(());
            }
            self.inbox.reserve(4_096);
            match self.socket.try_read_buf(&mut self.inbox) {
                Ok(0) => bail!("the runtime has ended: {:?}", self.process.exited()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.socket.readable().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts, loads and calls it once, as a cold invocation does.
    pub async fn cold(host: &Host, launcher: &dyn Launch, function: &Function) -> Result<Raw> {
        let begun = async {
            let mut raw = Raw::start(host, launcher, function).await?;
            raw.call().await?;
            Ok(raw)
        };
        tokio::time::timeout(ANSWER_MAX, begun).await?
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.process.kill();
        for _ in 0..1_000 {
            if self.process.exited().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        self.process.reap();
    }
}
