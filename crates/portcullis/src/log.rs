//! The server's log: standard error, one line an event.
//!
//! Where standard error takes no more, as on a full disk or after the other end of a pipe has gone, the server goes on:
//! events are counted instead, and the count is told with the next one that can be written.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::anyhow;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{settings::LogFormat, terminal};

/// Begins to log. Done once in a process; later calls change nothing.
///
/// # Errors
/// When the filter makes no sense.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        anyhow!("log is `{filter}`, which is no level or filter ({error}); try info, debug or info,control=debug")
    })?;
    let log = Log { lost: Arc::default(), format };
    // By itself the subscriber tells of events it cannot write with `eprintln!`, which panics where standard error is
    // the very thing that fails.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(log);
    // Refused only if a log has been started before.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(terminal::is_coloured()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Makes a writer for each event, all of which share the count.
struct Log {
    lost: Arc<AtomicU64>,
    format: LogFormat,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Event<io::StderrLock<'static>>;

    fn make_writer(&'a self) -> Self::Writer {
        Event { out: io::stderr().lock(), lost: Arc::clone(&self.lost), format: self.format }
    }
}

/// Takes one event with each `write`, and never fails.
struct Event<W> {
    out: W,
    lost: Arc<AtomicU64>,
    format: LogFormat,
}

impl<W: Write> Write for Event<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // The lock on the output is held, so nobody else counts or tells meanwhile.
        let lost = self.lost.load(Ordering::Relaxed);
        let told = if lost > 0 { self.out.write_all(notice(lost, self.format).as_bytes()) } else { Ok(()) };
        if told.is_ok() {
            self.lost.store(0, Ordering::Relaxed);
        }
        if told.and_then(|()| self.out.write_all(event)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Standard error keeps nothing back.
        Ok(())
    }
}

fn notice(lost: u64, format: LogFormat) -> String {
    match format {
        LogFormat::Text => format!("{lost} events of this log could not be written and are lost\n"),
        LogFormat::Json => {
            let document = serde_json::json!({
                "level": "WARN",
                "message": "events of this log could not be written and are lost",
                "lost": lost,
                "target": "portcullis::log",
            });
            format!("{document}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes events while there is room.
    struct Disk<'a> {
        written: &'a mut Vec<u8>,
        is_full: bool,
    }

    impl Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn events_that_cannot_be_written_are_counted_and_the_count_is_told_once() {
        for (format, expected) in [
            (LogFormat::Text, "first\n2 events of this log could not be written and are lost\nfourth\nfifth\n"),
            (
                LogFormat::Json,
                "first\n{\"level\":\"WARN\",\"message\":\"events of this log could not be written and are \
                 lost\",\"lost\":2,\"target\":\"portcullis::log\"}\nfourth\nfifth\n",
            ),
        ] {
            let (mut written, lost) = (Vec::new(), Arc::default());
            for (event, is_full) in
                [("first\n", false), ("second\n", true), ("third\n", true), ("fourth\n", false), ("fifth\n", false)]
            {
                let mut writer =
                    Event { out: Disk { written: &mut written, is_full }, lost: Arc::clone(&lost), format };
                writer.write_all(event.as_bytes()).unwrap();
            }
            assert_eq!(String::from_utf8(written).unwrap(), expected);
            assert_eq!(lost.load(Ordering::Relaxed), 0);
        }
    }
}
