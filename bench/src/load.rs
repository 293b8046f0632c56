//! The load: a closed loop over a fixed number of kept-alive connections.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::call;
use crate::process::Answering;

/// The longest one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// One request, sent over and over.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: &'static str,
    /// The whole request as bytes.
    pub request: String,
}

/// When a measurement ends: at whichever comes first.
pub struct Limits {
    pub connections: usize,
    pub requests_max: u64,
    pub time_max: Duration,
}

/// What one measurement gave.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    pub requests: u64,
    pub requests_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the answering process for one request.
    pub cpu_us: f64,
    /// How busy the answering process was; well below 1, the asking side was the limit.
    pub busy: f64,
}

/// Sends the target's request for as long as the limits allow.
///
/// # Errors
/// When a connection fails, an answer is not 200, or one takes too long.
pub fn measure(target: &Target, answering: &dyn Answering, limits: &Limits) -> Result<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut streams = Vec::new();
        for _ in 0..limits.connections {
            let stream = TcpStream::connect(answering.address()).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let left = Rc::new(Cell::new(limits.requests_max));
        let cpu = answering.cpu_ns()?;
        let began = Instant::now();
        let deadline = began + limits.time_max;
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                let (request, left) = (target.request.clone(), Rc::clone(&left));
                tokio::task::spawn_local(one_connection(stream, request, left, deadline))
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            let all = tokio::time::timeout(limits.time_max + ANSWER_MAX, task).await;
            latencies.extend(all.context("an answer takes too long")???);
        }
        let took = began.elapsed();
        let cpu = answering.cpu_ns()? - cpu;
        Ok(summary(latencies, took, cpu))
    })
}

async fn one_connection(
    mut stream: TcpStream,
    request: String,
    left: Rc<Cell<u64>>,
    deadline: Instant,
) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        let sent = Instant::now();
        if sent >= deadline || left.get() == 0 {
            return Ok(latencies);
        }
        left.set(left.get() - 1);
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                bail!("the connection was closed before the answer was whole");
            }
            if let Some(length) = call::whole(&buffer)? {
                if length != buffer.len() {
                    bail!("{} bytes follow an answer of {length}", buffer.len() - length);
                }
                break;
            }
            if buffer.len() > ANSWER_BYTES_MAX {
                bail!("an answer is longer than {ANSWER_BYTES_MAX} bytes");
            }
        }
        if !buffer.starts_with(b"HTTP/1.1 200 ") {
            bail!("not 200: {}", String::from_utf8_lossy(&buffer));
        }
        latencies.push(u32::try_from(sent.elapsed().as_nanos() / 10).unwrap_or(u32::MAX));
    }
}

/// `latencies` in hundredths of a microsecond.
#[expect(clippy::cast_precision_loss, reason = "counts and times here are far below 2^52")]
fn summary(mut latencies: Vec<u32>, took: Duration, cpu_ns: u64) -> Sample {
    latencies.sort_unstable();
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).map_or(0.0, |l| f64::from(*l) / 100.0)
    };
    let requests = latencies.len() as f64;
    Sample {
        requests: latencies.len() as u64,
        requests_per_s: requests / took.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        cpu_us: cpu_ns as f64 / 1e3 / requests.max(1.0),
        busy: cpu_ns as f64 / took.as_nanos() as f64,
    }
}
