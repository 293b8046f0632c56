//! The log of one environment: lines, bounds, and the last 4 KB of an invocation.

mod event;

use lambda::invoke::{Logging, SystemLevel};

pub(crate) use self::event::{Event, Report};
use crate::clock::{civil, epoch_ms};

/// Bytes of an invocation's log that `LogResult` carries.
const TAIL_BYTES: usize = 4 * 1_024;
/// A longer line is split, bytes.
const LINE_BYTES_MAX: usize = 256 * 1_024;
/// Lines are handed on when this much has gathered, bytes.
const BATCH_BYTES: usize = 256 * 1_024;
/// What one environment may log per second, bytes; a second's worth may come at once.
const RATE_BYTES_S: u64 = 10 * 1_024 * 1_024;
/// What a line costs beyond its bytes, so that empty ones are not free.
const LINE_COST: usize = 32;

/// Lines of one stream, as [`crate::LogSink`] takes them.
pub(crate) struct Batch {
    pub(crate) lines: Vec<(u64, String)>,
}

/// First bytes of a record in the output: a message of known length, whatever it holds. The fourth byte tells format
/// and level.
const RECORD_MARK: [u8; 3] = [0xa5, 0x5a, 0x00];
/// Mark and kind, length, time.
const RECORD_HEADER_BYTES: usize = 4 + 4 + 8;

/// What the next byte of the output belongs to.
enum Reading {
    Line,
    /// The header of a record, as far as it has come.
    Header(Vec<u8>),
    /// The text of a record, of which this much is to come.
    Record(usize),
}

/// Takes a runtime's output apart: lines, and the records our bootstraps (and AWS's clients) write so that a message of
/// several lines stays one event. A function may write either; it can confuse no log but its own.
pub(crate) struct Log {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// Events are JSON from this level on; text without.
    json: Option<SystemLevel>,
    reading: Reading,
    partial: Vec<u8>,
    lines: Vec<(u64, String)>,
    bytes: usize,
    tail: Vec<u8>,
    allowance: u64,
    refilled_ms: u64,
    dropped: u64,
}

impl Log {
    /// A log of a new environment of `function`; `id` makes the stream's name unique.
    pub(crate) fn new(function: &str, version: &str, id: &str, logging: &Logging) -> Log {
        let (year, month, day, ..) = civil(epoch_ms());
        Log {
            group: logging.group.clone().unwrap_or_else(|| format!("/aws/lambda/{function}")),
            json: logging.json.as_ref().map(|json| json.system_level),
            stream: format!("{year:04}/{month:02}/{day:02}/[{version}]{id}"),
            reading: Reading::Line,
            partial: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            tail: Vec::new(),
            allowance: RATE_BYTES_S,
            refilled_ms: 0,
            dropped: 0,
        }
    }

    /// Forgets the tail: an invocation begins.
    pub(crate) fn begin(&mut self) {
        self.tail.clear();
    }

    /// Takes output of the function, read at `now_ms` of the monotonic clock.
    pub(crate) fn feed(&mut self, mut chunk: &[u8], now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.refilled_ms);
        if elapsed_ms > 0 {
            self.refilled_ms = now_ms;
            let gained = elapsed_ms.min(1_000).saturating_mul(RATE_BYTES_S) / 1_000;
            self.allowance = self.allowance.saturating_add(gained).min(RATE_BYTES_S);
        }
        while !chunk.is_empty() {
            chunk = match &mut self.reading {
                Reading::Line => self.feed_line(chunk),
                Reading::Header(_) => self.feed_header(chunk),
                Reading::Record(left) => {
                    let (text, rest) = chunk.split_at_checked(*left).unwrap_or((chunk, &[]));
                    *left = left.saturating_sub(text.len());
                    let whole = *left == 0;
                    self.keep(text);
                    if whole {
                        self.end_record();
                    }
                    rest
                }
            };
        }
    }

    /// Takes text up to the end of a line or the beginning of a record; gives what is left.
    fn feed_line<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr2(b'\n', RECORD_MARK[0], chunk);
        let (text, rest) = chunk.split_at_checked(end.unwrap_or(chunk.len())).unwrap_or((chunk, &[]));
        self.keep(text);
        match rest.split_first() {
            Some((b'\n', rest)) => {
                self.flush_partial();
                rest
            }
            Some((_, rest)) => {
                self.reading = Reading::Header(vec![RECORD_MARK[0]]);
                rest
            }
            None => rest,
        }
    }

    /// Takes a byte of what may be the header of a record; what turns out not to be one is text.
    fn feed_header<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let Reading::Header(header) = &mut self.reading else { return chunk };
        let Some((byte, rest)) = chunk.split_first() else { return chunk };
        if RECORD_MARK.get(header.len()).is_some_and(|expected| expected != byte) {
            let text = std::mem::take(header);
            self.reading = Reading::Line;
            self.keep(&text);
            return chunk;
        }
        header.push(*byte);
        if header.len() == RECORD_HEADER_BYTES {
            let length = header.get(4..8).and_then(|bytes| bytes.first_chunk::<4>()).copied().unwrap_or_default();
            self.flush_partial();
            self.reading = Reading::Record(u32::from_be_bytes(length) as usize);
            if length == [0; 4] {
                self.end_record();
            }
        }
        rest
    }

    /// A message that ends its last line itself has no empty one behind it.
    fn end_record(&mut self) {
        self.reading = Reading::Line;
        if self.partial.last() == Some(&b'\n') {
            self.partial.pop();
        }
        self.flush_partial();
    }

    /// Keeps text if the allowance has room for it, in pieces of the longest line.
    fn keep(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let room = LINE_BYTES_MAX.saturating_sub(self.partial.len()).max(1);
            let (piece, rest) = text.split_at_checked(room).unwrap_or((text, &[]));
            let cost = (piece.len() + LINE_COST) as u64;
            if cost <= self.allowance {
                self.allowance -= cost;
                self.partial.extend_from_slice(piece);
            } else {
                self.dropped = self.dropped.saturating_add(piece.len() as u64 + 1);
            }
            if self.partial.len() >= LINE_BYTES_MAX {
                self.flush_partial();
            }
            text = rest;
        }
    }

    /// Adds what is to be told of an event, if it is.
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        if let Some(line) = event.line(self.json) {
            self.line(line);
        }
    }

    /// Adds a line of the platform.
    pub(crate) fn line(&mut self, text: String) {
        if let Reading::Header(header) = std::mem::replace(&mut self.reading, Reading::Line) {
            self.keep(&header);
        }
        self.flush_partial();
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            if let Some(line) = (Event::Dropped { bytes: dropped }).line(self.json) {
                self.push(line);
            }
        }
        self.push(text);
    }

    fn flush_partial(&mut self) {
        if !self.partial.is_empty() {
            let text = String::from_utf8_lossy(&self.partial).into_owned();
            self.partial.clear();
            if self.partial.capacity() > 16 * 1_024 {
                self.partial = Vec::new();
            }
            self.push(text);
        }
    }

    fn push(&mut self, text: String) {
        let from = text.len().saturating_sub(TAIL_BYTES);
        self.tail.extend_from_slice(text.as_bytes().get(from..).unwrap_or_default());
        self.tail.push(b'\n');
        if self.tail.len() > 4 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
        self.bytes = self.bytes.saturating_add(text.len() + LINE_COST);
        self.lines.push((epoch_ms(), text));
    }

    /// Lines gathered, when there are enough of them or `all` are wanted.
    pub(crate) fn take(&mut self, all: bool) -> Option<Batch> {
        if self.lines.is_empty() || !(all || self.bytes >= BATCH_BYTES) {
            return None;
        }
        self.bytes = 0;
        Some(Batch { lines: std::mem::take(&mut self.lines) })
    }

    /// The last 4 KB since [`Log::begin`].
    pub(crate) fn tail(&self) -> Vec<u8> {
        let from = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.get(from..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(log: &mut Log) -> Vec<String> {
        log.take(true).map(|batch| batch.lines.into_iter().map(|(_, text)| text).collect()).unwrap_or_default()
    }

    #[test]
    fn output_becomes_lines_however_it_is_cut() {
        let mut log = Log::new("f", "$LATEST", "0", &Logging::default());
        for chunk in ["a", "b\nc\n", "\n", "d"] {
            log.feed(chunk.as_bytes(), 0);
        }
        log.line("END".into());
        assert_eq!(texts(&mut log), ["ab", "c", "d", "END"]);
    }

    fn record(text: &str) -> Vec<u8> {
        [&[0xa5, 0x5a, 0, 3][..], &(text.len() as u32).to_be_bytes(), &[0; 8], text.as_bytes()].concat()
    }

    #[test]
    fn a_record_is_one_event_whatever_it_holds() {
        let mut log = Log::new("f", "$LATEST", "0", &Logging::default());
        let wire = [
            b"raw ".to_vec(),
            record("two\nlines\n"),
            record(""),
            b"\xa5\x5a\xff is no record\n".to_vec(),
            record("end"),
            b"\xa5".to_vec(),
        ]
        .concat();
        for size in [1, 2, 7, wire.len()] {
            wire.chunks(size).for_each(|chunk| log.feed(chunk, 0));
            log.line("END".into());
            let expected = ["raw ", "two\nlines", "\u{fffd}Z\u{fffd} is no record", "end", "\u{fffd}", "END"];
            assert_eq!(texts(&mut log), expected, "{size}");
        }
    }

    #[test]
    fn a_record_that_never_ends_holds_nothing_up() {
        let mut log = Log::new("f", "$LATEST", "0", &Logging::default());
        log.feed(&[0xa5, 0x5a, 0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, b'x', b'\n', b'y'], 0);
        log.line("END".into());
        log.feed(b"next\n", 0);
        assert_eq!(texts(&mut log), ["x\ny", "END", "next"]);
    }

    #[test]
    fn long_lines_are_split_and_floods_are_counted() {
        let mut log = Log::new("f", "$LATEST", "0", &Logging::default());
        log.feed(&vec![b'x'; LINE_BYTES_MAX + 3], 0);
        log.line("END".into());
        assert_eq!(texts(&mut log).iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 3, 3]);

        for _ in 0..200 {
            log.feed(&[vec![b'x'; 100_000], vec![b'\n']].concat(), 0);
        }
        log.line("END".into());
        let kept = texts(&mut log);
        assert!(kept.iter().map(String::len).sum::<usize>() < RATE_BYTES_S as usize + 1_000);
        assert!(kept.iter().any(|line| line.contains("bytes of log were dropped")));
    }

    #[test]
    fn the_tail_is_the_last_four_kilobytes() {
        let mut log = Log::new("f", "$LATEST", "0", &Logging::default());
        log.begin();
        for number in 0..10_000 {
            log.line(format!("line {number}"));
        }
        let tail = String::from_utf8(log.tail()).unwrap();
        assert_eq!(tail.len(), TAIL_BYTES);
        assert!(tail.ends_with("line 9999\n"));
    }
}
