//! The frames exchanged with a runtime over its socket: a pure, bounded codec.
//!
//! ```text
//! u32 LE length of the rest | u8 kind | u64 LE sequence | body
//! ```
//! The server sends [`Load`](Order) once and then one invocation at a time; every answer repeats the sequence of what
//! it answers. An answer is one frame, or, when it is streamed, a start, any number of chunks and an end. Nothing received is trusted, for the function itself can write to the socket: a frame that is too
//! long, of an unknown kind or out of sequence is an [`Error`], after which the environment must be killed.

/// Longest frame in either direction, without the length field, bytes.
pub const FRAME_BYTES_MAX: usize = 6 * 1024 * 1024 + 64 * 1024;
/// Longest result a function may answer with, bytes.
pub const RESULT_BYTES_MAX: usize = 6_291_556;
/// Longest event, bytes.
pub const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Longest answer that comes in pieces, bytes.
///
/// Source: AWS Lambda Developer Guide, "Lambda quotas".
pub const STREAM_BYTES_MAX: u64 = 200 * 1024 * 1024;
/// Longest content type of a streamed answer, bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 1024;
/// Length field, kind and sequence.
pub const HEADER_BYTES: usize = 4 + 1 + 8;
/// The only version of this protocol.
pub const PROTOCOL_VERSION: u32 = 1;
/// Set in the first byte of an error's body when the runtime is about to exit.
pub const FLAG_EXITING: u8 = 1;

const KIND_LOAD: u8 = 1;
const KIND_INVOKE: u8 = 2;
const KIND_HELLO: u8 = 16;
const KIND_READY: u8 = 17;
const KIND_RESULT: u8 = 18;
const KIND_ERROR: u8 = 19;
const KIND_INIT_ERROR: u8 = 20;
const KIND_STREAM_START: u8 = 21;
const KIND_STREAM_CHUNK: u8 = 22;
const KIND_STREAM_END: u8 = 23;

/// A frame to a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order<'a> {
    /// Load the function; the body is a JSON document with the handler and the constants of the context.
    Load(&'a [u8]),
    /// Run it: a JSON document about the invocation, and the event as the caller sent it.
    Invoke {
        /// Request id, deadline and the like, JSON.
        about: &'a [u8],
        /// The event.
        event: &'a [u8],
    },
}

/// A frame from a runtime, as its sequence and body lie in the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The bootstrap runs and speaks this protocol.
    Hello,
    /// The function is loaded.
    Ready,
    /// The invocation's result.
    Result(&'a [u8]),
    /// The invocation failed.
    Error {
        /// The error document.
        document: &'a [u8],
        /// The runtime exits after this frame: the environment is not used again.
        exiting: bool,
    },
    /// The function could not be loaded; the runtime exits.
    InitError(&'a [u8]),
    /// The result comes in pieces from here on; the content type, which is UTF-8.
    StreamStart(&'a [u8]),
    /// A piece of the result.
    StreamChunk(&'a [u8]),
    /// The result is whole, or (when not empty) the error document of what cut it short.
    StreamEnd(&'a [u8]),
}

/// Why bytes from a runtime are not frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`FRAME_BYTES_MAX`], or too short to hold kind and sequence.
    #[error("a frame of {0} bytes")]
    Length(u32),
    /// A kind a runtime may not send.
    #[error("a frame of kind {0}")]
    Kind(u8),
    /// An answer to something else than what was asked.
    #[error("an answer to {answered} when {asked} was asked")]
    Sequence {
        /// The sequence sent.
        asked: u64,
        /// The sequence found.
        answered: u64,
    },
    /// A body that does not fit its kind.
    #[error("a frame with a malformed body")]
    Body,
    /// Open files came with the bytes.
    #[error("descriptors were sent along")]
    Descriptors,
    /// A version of the protocol that is not ours.
    #[error("version {0} of the protocol")]
    Version(u32),
}

/// A frame found at the start of a buffer, and how many bytes it takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The frame.
    pub answer: Answer<'a>,
    /// Bytes to drop from the buffer once it has been read.
    pub consumed: usize,
}

/// Appends an order to `out`. `false`, with nothing appended, when it would be longer than [`FRAME_BYTES_MAX`].
#[must_use]
pub fn encode(sequence: u64, order: Order<'_>, out: &mut Vec<u8>) -> bool {
    match order {
        Order::Load(document) => {
            header(sequence, KIND_LOAD, document.len(), out) && {
                out.extend_from_slice(document);
                true
            }
        }
        Order::Invoke { about, event } => {
            encode_head(sequence, about, event.len(), out) && {
                out.extend_from_slice(event);
                true
            }
        }
    }
}

/// Appends an invocation but for its event, which the caller writes behind it. `false`, with nothing appended, when
/// both would be longer than [`FRAME_BYTES_MAX`].
#[must_use]
pub fn encode_head(sequence: u64, about: &[u8], event_bytes: usize, out: &mut Vec<u8>) -> bool {
    let body = 4usize.saturating_add(about.len()).saturating_add(event_bytes);
    if !header(sequence, KIND_INVOKE, body, out) {
        return false;
    }
    // Fits: `about` is part of a length that fitted.
    out.extend_from_slice(&(about.len() as u32).to_le_bytes());
    out.extend_from_slice(about);
    true
}

fn header(sequence: u64, kind: u8, body: usize, out: &mut Vec<u8>) -> bool {
    let length = body.saturating_add(HEADER_BYTES - 4);
    let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX) else {
        return false;
    };
    out.extend_from_slice(&prefix.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&sequence.to_le_bytes());
    true
}

/// Looks for one whole frame at the start of `buffer`. `None`: more bytes are needed.
///
/// The length is checked as soon as it is there, so a buffer never has to grow beyond [`FRAME_BYTES_MAX`] + 4.
///
/// # Errors
/// [`Error`] when what is there can never become an answer to `asked`.
pub fn decode(buffer: &[u8], asked: u64) -> Result<Option<Found<'_>>, Error> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let prefix = u32::from_le_bytes(*prefix);
    let length = prefix as usize;
    if !(HEADER_BYTES - 4..=FRAME_BYTES_MAX).contains(&length) {
        return Err(Error::Length(prefix));
    }
    let Some(kind) = buffer.get(4).copied() else { return Ok(None) };
    if !(KIND_HELLO..=KIND_STREAM_END).contains(&kind) {
        return Err(Error::Kind(kind));
    }
    let Some(sequence) = buffer.get(5..HEADER_BYTES).and_then(|bytes| bytes.first_chunk::<8>()) else {
        return Ok(None);
    };
    let answered = u64::from_le_bytes(*sequence);
    if answered != asked {
        return Err(Error::Sequence { asked, answered });
    }
    let Some(body) = buffer.get(HEADER_BYTES..4 + length) else { return Ok(None) };
    let answer = match kind {
        KIND_HELLO => {
            let version = body.first_chunk::<4>().filter(|_| body.len() == 4).ok_or(Error::Body)?;
            let version = u32::from_le_bytes(*version);
            if version != PROTOCOL_VERSION {
                return Err(Error::Version(version));
            }
            Answer::Hello
        }
        KIND_READY if body.is_empty() => Answer::Ready,
        KIND_READY => return Err(Error::Body),
        KIND_RESULT => Answer::Result(body),
        KIND_ERROR => {
            let (flags, document) = body.split_first().ok_or(Error::Body)?;
            Answer::Error { document, exiting: flags & FLAG_EXITING != 0 }
        }
        KIND_STREAM_START if body.len() <= CONTENT_TYPE_BYTES_MAX && std::str::from_utf8(body).is_ok() => {
            Answer::StreamStart(body)
        }
        KIND_STREAM_START => return Err(Error::Body),
        KIND_STREAM_CHUNK => Answer::StreamChunk(body),
        KIND_STREAM_END => Answer::StreamEnd(body),
        KIND_INIT_ERROR => Answer::InitError(body),
        _ => return Err(Error::Kind(kind)),
    };
    Ok(Some(Found { answer, consumed: 4 + length }))
}

/// How many bytes the frame at the start of `buffer` will have, if its length is known and allowed.
#[must_use]
pub fn expected(buffer: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*buffer.first_chunk::<4>()?) as usize;
    (length <= FRAME_BYTES_MAX).then_some(length + 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(kind: u8, sequence: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((body.len() + 9) as u32).to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn answers_are_read_and_everything_else_is_refused() {
        let found = |answer| Ok(Some(answer));
        for (bytes, expected) in [
            (raw(16, 7, &1u32.to_le_bytes()), found(Answer::Hello)),
            (raw(16, 7, &2u32.to_le_bytes()), Err(Error::Version(2))),
            (raw(16, 7, &[1]), Err(Error::Body)),
            (raw(17, 7, b""), found(Answer::Ready)),
            (raw(17, 7, b"x"), Err(Error::Body)),
            (raw(18, 7, b"{}"), found(Answer::Result(b"{}"))),
            (raw(18, 7, b""), found(Answer::Result(b""))),
            (raw(19, 7, b"\x01{}"), found(Answer::Error { document: b"{}", exiting: true })),
            (raw(19, 7, b"\x00{}"), found(Answer::Error { document: b"{}", exiting: false })),
            (raw(19, 7, b""), Err(Error::Body)),
            (raw(20, 7, b"{}"), found(Answer::InitError(b"{}"))),
            (raw(18, 6, b"{}"), Err(Error::Sequence { asked: 7, answered: 6 })),
            (raw(18, 8, b"{}"), Err(Error::Sequence { asked: 7, answered: 8 })),
            (raw(1, 7, b"{}"), Err(Error::Kind(1))),
            (raw(21, 7, b"text/html"), found(Answer::StreamStart(b"text/html"))),
            (raw(21, 7, b"\xff"), Err(Error::Body)),
            (raw(21, 7, &[b'x'; 2_000]), Err(Error::Body)),
            (raw(22, 7, b"piece"), found(Answer::StreamChunk(b"piece"))),
            (raw(23, 7, b""), found(Answer::StreamEnd(b""))),
            (raw(24, 7, b"{}"), Err(Error::Kind(24))),
            (b"GET / HTTP/1.1\r\n".to_vec(), Err(Error::Length(u32::from_le_bytes(*b"GET ")))),
            (vec![8, 0, 0, 0], Err(Error::Length(8))),
            (vec![255, 255, 255, 255], Err(Error::Length(u32::MAX))),
            (vec![9, 0, 0], Ok(None)),
        ] {
            assert_eq!(decode(&bytes, 7).map(|found| found.map(|found| found.answer)), expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_order_beyond_the_limit_is_not_written() {
        let event = vec![b' '; FRAME_BYTES_MAX];
        let mut out = Vec::new();
        assert!(!encode(1, Order::Invoke { about: b"{}", event: &event }, &mut out));
        assert!(out.is_empty());
        assert!(encode(1, Order::Invoke { about: b"{}", event: &event[..EVENT_BYTES_MAX] }, &mut out));
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_never_asks_for_more_than_the_limit(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            asked in 0u64..4,
        ) {
            if let Ok(Some(found)) = decode(&bytes, asked) {
                prop_assert!(found.consumed <= bytes.len());
            }
        }

        #[test]
        fn every_prefix_of_a_frame_waits_for_the_rest(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            more in proptest::collection::vec(any::<u8>(), 0..20),
            sequence: u64,
        ) {
            let whole = raw(18, sequence, &body);
            for end in 0..whole.len() {
                prop_assert_eq!(decode(&whole[..end], sequence), Ok(None));
            }
            let mut buffer = whole.clone();
            buffer.extend_from_slice(&more);
            let found = Found { answer: Answer::Result(&body), consumed: whole.len() };
            prop_assert_eq!(decode(&buffer, sequence), Ok(Some(found)));
            prop_assert_eq!(expected(&buffer), Some(whole.len()));
        }
    }
}
