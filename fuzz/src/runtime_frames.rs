//! Frames of a runtime: read alike however they come, bounded, and each is its kind, its sequence and its body.
//!
//! Input: how many bytes come at once, the sequence asked for, then what the runtime sends.

use environment::frame::{self, Answer, FRAME_BYTES_MAX, Found, HEADER_BYTES, Order};

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((&[piece_bytes, asked], wire)) = input.split_first_chunk::<2>() else { return };
    let (wire, asked) = (wire.get(..crate::INPUT_BYTES_MAX).unwrap_or(wire), u64::from(asked));
    let mut rest = wire;
    loop {
        let whole = frame::decode(rest, asked);
        in_pieces(rest, asked, usize::from(piece_bytes).max(1));
        match whole {
            Ok(Some(found)) => {
                is_what_was_sent(rest, asked, &found);
                rest = &rest[found.consumed..];
            }
            Ok(None) => {
                assert!(frame::expected(rest).is_none_or(|bytes| bytes > rest.len() && bytes <= FRAME_BYTES_MAX + 4));
                break;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
    orders(wire, asked);
}

/// Nothing is decided before it can be, and nothing otherwise once more has come.
fn in_pieces(wire: &[u8], asked: u64, piece_bytes: usize) {
    let whole = frame::decode(wire, asked);
    for end in (0..wire.len()).step_by(piece_bytes) {
        match frame::decode(&wire[..end], asked) {
            Ok(None) => assert!(end < HEADER_BYTES || whole != Ok(None) || frame::expected(wire).is_some()),
            decided => {
                assert_eq!(decided, whole, "decided after {end} bytes");
                break;
            }
        }
    }
}

fn is_what_was_sent(wire: &[u8], asked: u64, found: &Found<'_>) {
    let (kind, flags, body) = match found.answer {
        Answer::Hello => (16, None, &1_u32.to_le_bytes()[..]),
        Answer::Ready => (17, None, &[][..]),
        Answer::Result(body) => (18, None, body),
        Answer::Error { document, exiting } => (19, Some(exiting), document),
        Answer::InitError(body) => (20, None, body),
        Answer::StreamStart(body) => (21, None, body),
        Answer::StreamChunk(body) => (22, None, body),
        Answer::StreamEnd(body) => (23, None, body),
    };
    let sent = &wire[..found.consumed];
    assert!(sent.len() <= FRAME_BYTES_MAX + 4 && frame::expected(wire) == Some(sent.len()));
    assert_eq!(sent[..4], u32::try_from(sent.len() - 4).expect("a short input").to_le_bytes());
    assert_eq!((sent[4], &sent[5..HEADER_BYTES]), (kind, &asked.to_le_bytes()[..]));
    match flags {
        None => assert_eq!(&sent[HEADER_BYTES..], body),
        Some(exiting) => {
            assert_eq!(sent[HEADER_BYTES] & 1 == 1, exiting);
            assert_eq!(&sent[HEADER_BYTES + 1..], body);
        }
    }
}

/// What goes the other way is its parts, and a runtime's reader of answers never takes it for one.
fn orders(bytes: &[u8], asked: u64) {
    let (about, event) = bytes.split_at(bytes.len() / 3);
    let mut out = Vec::new();
    assert!(frame::encode(asked, Order::Invoke { about, event }, &mut out));
    let invoke = [&(about.len() as u32).to_le_bytes()[..], about, event].concat();
    assert_eq!(out, sent(2, asked, &invoke));
    assert_eq!(frame::decode(&out, asked), Err(frame::Error::Kind(2)));
    out.clear();
    assert!(frame::encode(asked, Order::Load(bytes), &mut out));
    assert_eq!(out, sent(1, asked, bytes));
}

fn sent(kind: u8, sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + HEADER_BYTES - 4).expect("a short input");
    [&length.to_le_bytes()[..], &[kind], &sequence.to_le_bytes(), body].concat()
}
