//! The body of a request, taken apart as it comes.

use super::head::{Length, Malformed};

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
    /// A size line is next.
    Size,
    /// This much of a chunk is to come.
    Chunk(u64),
    /// The line end behind a chunk is next.
    ChunkEnd,
    Trailers,
    Ended,
}

impl Body {
    pub(crate) fn new(length: Length) -> Body {
        Body(match length {
            Length::Exact(0) => State::Ended,
            Length::Exact(bytes) => State::Exact(bytes),
            Length::Chunked => State::Size,
        })
    }

    /// Looks at what has come; the caller drops what is used and asks again.
    ///
    /// # Errors
    /// [`Malformed`] when this is no chunked body.
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
                    self.0 = State::Size;
                }
                State::Size => match httparse::parse_chunk_size(rest) {
                    Ok(httparse::Status::Complete((used, size))) => {
                        skip = skip.saturating_add(used);
                        self.0 = if size == 0 { State::Trailers } else { State::Chunk(size) };
                    }
                    Ok(httparse::Status::Partial) if rest.len() <= SIZE_LINE_BYTES_MAX => {
                        return Ok(Piece::More { used: skip });
                    }
                    _ => return Err(Malformed),
                },
                State::Trailers => return self.trailers(rest, skip),
            }
        }
    }

    fn trailers(&mut self, rest: &[u8], skip: usize) -> Result<Piece, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        match httparse::parse_headers(rest, &mut fields) {
            Ok(httparse::Status::Complete((used, fields))) => {
                let value = |name: &str| {
                    let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
                    std::str::from_utf8(field.value).ok().map(|value| value.trim().to_owned())
                };
                let trailers = Trailers {
                    error_type: value("lambda-runtime-function-error-type"),
                    error_body: value("lambda-runtime-function-error-body"),
                };
                self.0 = State::Ended;
                Ok(Piece::End { used: skip.saturating_add(used), trailers })
            }
            Ok(httparse::Status::Partial) if rest.len() <= TRAILER_BYTES_MAX => Ok(Piece::More { used: skip }),
            _ => Err(Malformed),
        }
    }
}
