//! The body of a request, taken apart as it comes.

use super::head::{self, Length, Malformed};

/// Longest line that gives a chunk's size, with its extensions, bytes.
const SIZE_LINE_BYTES_MAX: usize = 4 * 1024;
/// Longest trailer section, bytes: an error document of a broken stream comes in it.
const TRAILER_BYTES_MAX: usize = 1024 * 1024;
/// Most fields in a trailer section.
const TRAILERS_MAX: usize = 16;

/// What a streamed answer says at its end when it failed, from the trailers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Trailers {
    /// `Lambda-Runtime-Function-Error-Type`.
    pub(crate) error_type: Option<String>,
    /// `Lambda-Runtime-Function-Error-Body`, base64 of a document.
    pub(crate) error_body: Option<String>,
}

/// What the next bytes of a body are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More must come first. The count is of bytes that are used up all the same.
    More { used: usize },
    /// `bytes` of the body after `skip` of framing.
    Data { skip: usize, bytes: usize },
    /// The body is whole; `used` bytes of framing ended it.
    End { used: usize, trailers: Trailers },
}

/// How far a body has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This much is to come.
    Exact(u64),
    /// A size line is next, and so much of it has been searched for its end.
    Size {
        searched: usize,
    },
    /// This much of a chunk is to come.
    Chunk(u64),
    /// The line end behind a chunk is next.
    ChunkEnd,
    /// Trailers are next, and so much of them has been searched for their end.
    Trailers {
        searched: usize,
    },
    Ended,
}

impl Body {
    pub(crate) fn new(length: Length) -> Body {
        Body(match length {
            Length::Exact(0) => State::Ended,
            Length::Exact(bytes) => State::Exact(bytes),
            Length::Chunked => State::Size { searched: 0 },
        })
    }

    /// Looks at what has come; the caller drops what is used, and nothing else, and asks again with what then has come.
    /// What a look found no end in is not looked at by the next, so that a body costs in proportion to its length
    /// however it trickles in.
    ///
    /// # Errors
    /// [`Malformed`] when this is no chunked body, or a line or its trailers are longer than a runtime needs. What is
    /// refused does not depend on the pieces it came in.
    pub(crate) fn next(&mut self, buffer: &[u8]) -> Result<Piece, Malformed> {
        let mut skip = 0;
        loop {
            let rest = buffer.get(skip..).unwrap_or_default();
            match self.0 {
                State::Ended => return Ok(Piece::End { used: skip, trailers: Trailers::default() }),
                State::Exact(left) | State::Chunk(left) => {
                    let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    if bytes == 0 {
                        return Ok(Piece::More { used: skip });
                    }
                    let left = left.saturating_sub(bytes as u64);
                    self.0 = match (self.0, left) {
                        (State::Exact(_), 0) => State::Ended,
                        (State::Exact(_), left) => State::Exact(left),
                        (_, 0) => State::ChunkEnd,
                        (_, left) => State::Chunk(left),
                    };
                    return Ok(Piece::Data { skip, bytes });
                }
                State::ChunkEnd => {
                    let end = match rest {
                        [b'\r', b'\n', ..] => 2,
                        [b'\n', ..] => 1,
                        [] | [b'\r'] => return Ok(Piece::More { used: skip }),
                        _ => return Err(Malformed),
                    };
                    skip = skip.saturating_add(end);
                    self.0 = State::Size { searched: 0 };
                }
                State::Size { searched } => {
                    let Some(end) = head::line_end(rest, searched) else {
                        self.0 = State::Size { searched: rest.len() };
                        return waits(rest, SIZE_LINE_BYTES_MAX, skip);
                    };
                    let size = chunk_size(rest.get(..end).unwrap_or_default())?;
                    skip = skip.saturating_add(end);
                    self.0 = if size == 0 { State::Trailers { searched: 0 } } else { State::Chunk(size) };
                }
                State::Trailers { searched } => {
                    let Some(end) = trailers_end(rest, searched) else {
                        self.0 = State::Trailers { searched: rest.len() };
                        return waits(rest, TRAILER_BYTES_MAX, skip);
                    };
                    let trailers = parse_trailers(rest.get(..end).unwrap_or_default())?;
                    self.0 = State::Ended;
                    return Ok(Piece::End { used: skip.saturating_add(end), trailers });
                }
            }
        }
    }
}

/// What to do about something that has no end yet: wait, unless it is longer than it may be.
fn waits(rest: &[u8], bytes_max: usize, used: usize) -> Result<Piece, Malformed> {
    if rest.len() > bytes_max { Err(Malformed) } else { Ok(Piece::More { used }) }
}

/// Reads a whole size line.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    // The parser takes a line without a number for the last chunk.
    if line.len() > SIZE_LINE_BYTES_MAX || !line.first().is_some_and(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((used, size))) if used == line.len() => Ok(size),
        // A line feed without its carriage return, which others take for the end of the line or not.
        _ => Err(Malformed),
    }
}

/// Where trailers at the start of `rest` end; mostly there are none.
fn trailers_end(rest: &[u8], searched: usize) -> Option<usize> {
    match rest {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => head::end(rest, searched),
    }
}

/// Reads a whole trailer section.
fn parse_trailers(section: &[u8]) -> Result<Trailers, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    if section.len() > TRAILER_BYTES_MAX {
        return Err(Malformed);
    }
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((used, fields))) if used == section.len() => {
            let value = |name: &str| {
                let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(field.value).ok().map(|value| value.trim().to_owned())
            };
            Ok(Trailers {
                error_type: value("lambda-runtime-function-error-type"),
                error_body: value("lambda-runtime-function-error-body"),
            })
        }
        _ => Err(Malformed),
    }
}
