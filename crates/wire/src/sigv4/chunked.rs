//! The aws-chunked body: decoding it piece by piece while its chunk signatures are checked.
//!
//! Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in
//! Multiple Chunks" and its sibling "... Including Trailing Headers".

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::RequestHead;
use super::canonical::trim;
use super::failure::{Dialect, Failure};
use super::key::{SigningKey, sha256};
use crate::ServiceError;

/// A chunk's head line: sixteen digits, the signature and their punctuation, with room to spare.
const MAX_LINE: usize = 256;
/// One trailer line.
const MAX_TRAILER_LINE: usize = 4 * 1024;
/// All trailers together.
const MAX_TRAILERS: usize = 8 * 1024;
/// S3 takes no smaller chunk but the last.
const MIN_CHUNK: u64 = 8192;
/// S3's largest single upload, 5 GiB.
const MAX_LENGTH: u64 = 5 * 1024 * 1024 * 1024;
/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where decoding starts: the request's own signature (unless chunks are unsigned), the declared length and trailers.
#[derive(Debug)]
pub struct Seed {
    chain: Option<Chain>,
    trailers: Option<Vec<String>>,
    length: u64,
}

impl Seed {
    /// Reads `x-amz-decoded-content-length` and `x-amz-trailer`; `chain` is key, signature, date and scope.
    pub(super) fn read(
        head: &RequestHead<'_>,
        chain: Option<(SigningKey, String, String, String)>,
        trailer: bool,
    ) -> Result<Self, Failure> {
        let mut lengths = head.values("x-amz-decoded-content-length");
        let length = lengths
            .next()
            .and_then(|value| std::str::from_utf8(trim(value)).ok())
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|length| *length <= MAX_LENGTH);
        let (Some(length), None) = (length, lengths.next()) else {
            return Err(Failure::LengthUndeclared);
        };
        let names = head
            .values("x-amz-trailer")
            .flat_map(|value| value.split(|b| *b == b','))
            .map(|name| String::from_utf8_lossy(trim(name)).to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .take(16)
            .collect();
        let chain = chain.map(|(key, previous, date, scope)| Chain { key, previous, date, scope });
        Ok(Self { chain, trailers: trailer.then_some(names), length })
    }

    /// Length of the body once decoded, as declared and to be enforced.
    #[must_use]
    pub fn decoded_length(&self) -> u64 {
        self.length
    }

    /// Starts decoding.
    #[must_use]
    pub fn decoder(self) -> Decoder {
        Decoder {
            chain: self.chain,
            declared: self.trailers,
            length: self.length,
            decoded: 0,
            state: State::Head,
            line: Vec::new(),
            hash: Sha256::new(),
            signature: Vec::new(),
            short_chunk: false,
            trailers: Vec::new(),
            trailer_bytes: 0,
        }
    }
}

/// The chain of signatures, each over the one before.
#[derive(Debug)]
struct Chain {
    key: SigningKey,
    previous: String,
    date: String,
    scope: String,
}

impl Chain {
    /// Checks `sent` against the next link and moves on to it.
    fn advance(&mut self, kind: &str, digests: &str, sent: &[u8]) -> Result<(), ChunkFailure> {
        let text = format!("{}-{kind}\n{}\n{}\n{}\n{digests}", super::ALGORITHM, self.date, self.scope, self.previous);
        let expected = self.key.sign(text.as_bytes());
        if !bool::from(expected.as_bytes().ct_eq(sent)) {
            return Err(ChunkFailure::Mismatch);
        }
        self.previous = expected;
        Ok(())
    }
}

/// Why an aws-chunked body was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkFailure {
    /// The framing is broken.
    Malformed,
    /// A chunk's or the trailers' signature is another one.
    Mismatch,
    /// A chunk below 8 KiB that was not the last.
    ShortChunk,
    /// Another length than declared, or the body broke off.
    Length,
    /// Trailers that do not parse, or other ones than declared.
    Trailer,
}

impl ChunkFailure {
    /// S3's error for it.
    #[must_use]
    pub fn to_error(self) -> ServiceError {
        match self {
            Self::Malformed => ServiceError::new("IncompleteBody", 400, "The request body terminated unexpectedly"),
            Self::Mismatch => Failure::Mismatch.to_error(Dialect::S3),
            Self::ShortChunk => {
                let text = "Only the last chunk is allowed to have a size less than 8192 bytes";
                ServiceError::new("InvalidChunkSizeError", 403, text)
            }
            Self::Length => {
                let text = "You did not provide the number of bytes specified by the Content-Length HTTP header.";
                ServiceError::new("IncompleteBody", 400, text)
            }
            Self::Trailer => {
                let text = "The request contained trailing data that was not well-formed or did not conform to our \
                            published schema.";
                ServiceError::new("MalformedTrailerError", 400, text)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Data {
        left: u64,
    },
    /// The line end after a chunk's data.
    DataEnd,
    /// The empty line after the last chunk, where no trailers follow.
    LastEnd,
    Trailers,
    Done,
    Failed(ChunkFailure),
}

/// Decodes an aws-chunked body in pieces of any size. Memory is bounded by the longest line, whatever the chunk size.
///
/// Data is handed on before the signature of its chunk has been checked, for a chunk may be as large as the body:
/// nothing may be made of it until [`Decoder::finish`] has succeeded.
pub struct Decoder {
    chain: Option<Chain>,
    /// Names of the trailers to come; `None` if the body has none.
    declared: Option<Vec<String>>,
    length: u64,
    decoded: u64,
    state: State,
    line: Vec<u8>,
    hash: Sha256,
    signature: Vec<u8>,
    short_chunk: bool,
    trailers: Vec<(String, String)>,
    trailer_bytes: usize,
}

impl Decoder {
    /// Takes the next piece as received and appends what it decodes to.
    ///
    /// # Errors
    /// [`ChunkFailure`]; once failed, always failed.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), ChunkFailure> {
        let result = self.run(input, out);
        if let Err(failure) = result {
            self.state = State::Failed(failure);
        }
        result
    }

    /// Ends the body; gives the trailers in order, names in lower case.
    ///
    /// # Errors
    /// [`ChunkFailure`] if anything failed before, is missing, or the length is not the declared one.
    pub fn finish(self) -> Result<Vec<(String, String)>, ChunkFailure> {
        match self.state {
            State::Failed(failure) => Err(failure),
            State::Done if self.decoded == self.length => Ok(self.trailers),
            State::Done => Err(ChunkFailure::Length),
            _ => Err(ChunkFailure::Malformed),
        }
    }

    fn run(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), ChunkFailure> {
        while !input.is_empty() {
            match self.state {
                State::Failed(failure) => return Err(failure),
                State::Done => return Err(ChunkFailure::Malformed),
                State::Data { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at_checked(take).unwrap_or((input, &[]));
                    input = rest;
                    if self.chain.is_some() {
                        self.hash.update(data);
                    }
                    out.extend_from_slice(data);
                    let left = left.saturating_sub(data.len() as u64);
                    self.state = State::Data { left };
                    if left == 0 {
                        self.end_chunk()?;
                        self.state = State::DataEnd;
                    }
                }
                State::Head | State::DataEnd | State::LastEnd | State::Trailers => {
                    if let Some(line) = self.take_line(&mut input)? {
                        self.line_read(&line)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Collects up to the next line feed; gives the line without its end.
    fn take_line(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, ChunkFailure> {
        let limit = if self.state == State::Trailers { MAX_TRAILER_LINE } else { MAX_LINE };
        let end = input.iter().position(|b| *b == b'\n');
        let take = end.map_or(input.len(), |at| at.saturating_add(1));
        let (piece, rest) = input.split_at_checked(take).unwrap_or((input, &[]));
        if self.line.len().saturating_add(piece.len()) > limit {
            return Err(ChunkFailure::Malformed);
        }
        self.line.extend_from_slice(piece);
        *input = rest;
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        // Trailers end in a bare line feed in S3's own examples; chunk heads always end in both.
        match line.last() {
            Some(b'\r') => {
                line.pop();
            }
            _ if self.state == State::Trailers => {}
            _ => return Err(ChunkFailure::Malformed),
        }
        Ok(Some(line))
    }

    fn line_read(&mut self, line: &[u8]) -> Result<(), ChunkFailure> {
        match self.state {
            State::Head => self.head(line),
            State::DataEnd if line.is_empty() => {
                self.state = State::Head;
                Ok(())
            }
            State::LastEnd if line.is_empty() => {
                self.state = State::Done;
                Ok(())
            }
            State::Trailers => self.trailer(line),
            _ => Err(ChunkFailure::Malformed),
        }
    }

    /// `size;chunk-signature=hex`, or `size` alone where chunks are unsigned.
    fn head(&mut self, line: &[u8]) -> Result<(), ChunkFailure> {
        let line = std::str::from_utf8(line).map_err(|_| ChunkFailure::Malformed)?;
        let (size, extension) = match line.split_once(';') {
            Some((size, extension)) => (size, Some(extension)),
            None => (line, None),
        };
        let digits = (1..=16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| digits).ok_or(ChunkFailure::Malformed)?;
        self.signature = match (extension.map(|e| e.strip_prefix("chunk-signature=")), self.chain.is_some()) {
            (Some(Some(signature)), true) => signature.as_bytes().to_vec(),
            (None, false) => Vec::new(),
            _ => return Err(ChunkFailure::Malformed),
        };
        if size == 0 {
            self.end_chunk()?;
            self.state = if self.declared.is_some() { State::Trailers } else { State::LastEnd };
            return Ok(());
        }
        if self.short_chunk {
            return Err(ChunkFailure::ShortChunk);
        }
        self.short_chunk = size < MIN_CHUNK;
        self.decoded = self.decoded.checked_add(size).filter(|sum| *sum <= self.length).ok_or(ChunkFailure::Length)?;
        self.state = State::Data { left: size };
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), ChunkFailure> {
        let Some(chain) = &mut self.chain else {
            return Ok(());
        };
        let digest = hex::encode(self.hash.finalize_reset());
        chain.advance("PAYLOAD", &format!("{EMPTY}\n{digest}"), &self.signature)
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), ChunkFailure> {
        self.trailer_bytes = self.trailer_bytes.saturating_add(line.len()).saturating_add(2);
        if self.trailer_bytes > MAX_TRAILERS {
            return Err(ChunkFailure::Trailer);
        }
        let signature_due = self.chain.is_some() && self.signature_open();
        if line.is_empty() {
            // S3's examples put an empty line between trailers and their signature.
            return if signature_due { Ok(()) } else { self.end_trailers() };
        }
        let text = std::str::from_utf8(line).map_err(|_| ChunkFailure::Trailer)?;
        let (name, value) = text.split_once(':').ok_or(ChunkFailure::Trailer)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == "x-amz-trailer-signature" {
            return self.trailer_signature(value);
        }
        if self.chain.is_some() && !signature_due {
            return Err(ChunkFailure::Trailer);
        }
        let expected = self.declared.as_ref().is_some_and(|names| names.contains(&name));
        if !expected || self.trailers.iter().any(|(there, _)| *there == name) {
            return Err(ChunkFailure::Trailer);
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }

    /// Whether the trailers' signature is still to come: checking it clears the last chunk's.
    fn signature_open(&self) -> bool {
        !self.signature.is_empty()
    }

    fn trailer_signature(&mut self, sent: &str) -> Result<(), ChunkFailure> {
        let open = self.signature_open();
        let Some(chain) = &mut self.chain else {
            return Err(ChunkFailure::Trailer);
        };
        if !open {
            return Err(ChunkFailure::Trailer);
        }
        let text: String = self.trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        chain.advance("TRAILER", &hex::encode(sha256(text.as_bytes())), sent.as_bytes())?;
        self.signature.clear();
        Ok(())
    }

    fn end_trailers(&mut self) -> Result<(), ChunkFailure> {
        if self.declared.as_ref().is_some_and(|names| names.len() != self.trailers.len()) {
            return Err(ChunkFailure::Trailer);
        }
        self.state = State::Done;
        Ok(())
    }
}
