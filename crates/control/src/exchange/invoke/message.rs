//! Messages of AWS's event streams, as an answer carries them.
//!
//! Prelude (length of the message, length of its headers, checksum of these eight bytes), headers, payload, checksum of
//! everything before. Numbers are big-endian, checksums CRC-32. Written here because it is fifty lines and never read
//! back: the crate for it brings the whole of AWS's runtime types along. Source: Smithy specification, "Event streams over
//! HTTP: Amazon event stream specification".

use bytes::Bytes;
use flate2::Crc;

/// The type of a header's value that is text.
const TEXT: u8 = 7;
/// Prelude and both checksums.
const FRAME_BYTES: usize = 16;

/// One event of that type. Types of events and of contents are names of ours, at most 255 bytes.
pub(super) fn event(kind: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let mut headers = Vec::with_capacity(128);
    for (name, value) in [(":message-type", "event"), (":event-type", kind), (":content-type", content_type)] {
        headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        headers.extend_from_slice(name.as_bytes());
        headers.push(TEXT);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let bytes = headers.len().saturating_add(payload.len()).saturating_add(FRAME_BYTES);
    let mut message = Vec::with_capacity(bytes);
    message.extend_from_slice(&length(bytes));
    message.extend_from_slice(&length(headers.len()));
    message.extend_from_slice(&checksum(&message));
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&checksum(&message));
    message.into()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_as_the_specification_says() {
        let message = event("E", "t", b"payload");
        let headers = b"\x0d:message-type\x07\x00\x05event\x0b:event-type\x07\x00\x01E\x0d:content-type\x07\x00\x01t";
        let (prelude, rest) = message.split_at(12);
        assert_eq!(prelude[..4], length(message.len()));
        assert_eq!(prelude[4..8], length(headers.len()));
        assert_eq!(prelude[8..], checksum(&prelude[..8]));
        assert_eq!(&rest[..headers.len()], headers);
        assert_eq!(&rest[headers.len()..rest.len() - 4], b"payload");
        assert_eq!(rest[rest.len() - 4..], checksum(&message[..message.len() - 4]));
        // The checksum every CRC-32 is told by.
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926_u32.to_be_bytes());
    }
}
