//! What was found: a table for the reader, a file for the next one.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::load::Sample;

/// The row everything is compared with.
const YARDSTICK: &str = "bare hyper";

/// A finished run.
pub struct Report<'a> {
    pub what: &'a str,
    /// Milliseconds to `Ready.`, one for each start.
    pub starts_ms: Vec<f64>,
    pub idle_rss_kb: u64,
    pub loaded_rss_kb: u64,
    pub connections: usize,
    /// Bytes of the answer both sides give.
    pub answer_bytes: usize,
    /// By target, one sample for each round.
    pub samples: &'a [(&'static str, Vec<Sample>)],
}

impl Report<'_> {
    /// Prints the table and writes `<date>-<what>.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let date = jiff::Timestamp::now().to_string();
        let date = date.split('T').next().unwrap_or_default();
        let mut rows = Vec::new();
        crate::say(
            "\n| target | requests/s | p50 µs | p99 µs | CPU µs/request | busy | requests/s to bare hyper | CPU to bare hyper |",
        )?;
        crate::say("|---|---:|---:|---:|---:|---:|---:|---:|")?;
        let bare = self.samples.iter().find(|(name, _)| *name == YARDSTICK).map(|(_, list)| list.as_slice());
        for (name, list) in self.samples {
            let of = |field: fn(&Sample) -> f64| median(list.iter().map(field).collect());
            // Each round against the yardstick of the same round: what the machine did then met both.
            let against = |ratio: fn(&Sample, &Sample) -> f64| {
                median(list.iter().zip(bare.unwrap_or_default()).map(|(own, bare)| ratio(own, bare)).collect())
            };
            let throughput = against(|own, bare| own.requests_per_s / bare.requests_per_s);
            let cpu = against(|own, bare| bare.cpu_us / own.cpu_us);
            crate::say(&format!(
                "| {name} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {throughput:.2} | {cpu:.2} |",
                of(|s| s.requests_per_s),
                of(|s| s.p50_us),
                of(|s| s.p99_us),
                of(|s| s.cpu_us),
                of(|s| s.busy),
            ))?;
            rows.push(json!({
                "target": name,
                "requests_per_s": of(|s| s.requests_per_s),
                "p50_us": of(|s| s.p50_us),
                "p99_us": of(|s| s.p99_us),
                "cpu_us_per_request": of(|s| s.cpu_us),
                "busy": of(|s| s.busy),
                "requests_per_s_to_bare_hyper": throughput,
                "cpu_to_bare_hyper": cpu,
                "rounds": list,
            }));
        }
        let start_ms = median(self.starts_ms.clone());
        crate::say(&format!(
            "\nStart to `Ready.`: {start_ms:.1} ms (median of {}). Memory: {:.1} MiB idle, {:.1} MiB after the load. \
             {} connections; answers of {} bytes.",
            self.starts_ms.len(),
            mib(self.idle_rss_kb),
            mib(self.loaded_rss_kb),
            self.connections,
            self.answer_bytes
        ))?;
        let result = json!({
            "date": date,
            "what": self.what,
            "machine": machine(),
            "connections": self.connections,
            "answer_bytes": self.answer_bytes,
            "start_ms": self.starts_ms,
            "start_ms_median": start_ms,
            "idle_rss_kib": self.idle_rss_kb,
            "loaded_rss_kib": self.loaded_rss_kb,
            "targets": rows,
        });
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{date}-{}.json", self.what));
        let text = serde_json::to_string_pretty(&result)? + "\n";
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        crate::say(&format!("written: {}", path.display()))
    }
}

/// What the figures depend on.
pub fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cores": cpu.lines().filter(|line| line.starts_with("processor")).count(),
        "kernel": kernel.trim(),
        "load_average_at_end": load.trim(),
    })
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        for (values, expected) in [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)] {
            assert!((median(values) - expected).abs() < f64::EPSILON);
        }
        assert!(median(Vec::new()).is_nan());
    }
}
