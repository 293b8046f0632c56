//! What every request has from its first moment: when it came and the ids it is known by.

use base64::{Engine, engine::general_purpose::STANDARD};
use service::Timestamp;

use crate::Random;

/// Time and ids of one request.
pub(crate) struct Envelope {
    pub(crate) time_ms: i64,
    request_id: [u8; 36],
    extended_id: [u8; 16],
    trace: [u8; 12],
    edge: [u8; 40],
}

impl Envelope {
    pub(crate) fn new(time_ms: i64, random: &dyn Random) -> Self {
        let mut dice = [0_u8; 16 + 11 + 12 + 40];
        random.fill(&mut dice);
        let (mut uuid, mut short, mut trace, mut edge) = ([0; 16], [0; 11], [0; 12], [0; 40]);
        uuid.copy_from_slice(&dice[..16]);
        short.copy_from_slice(&dice[16..27]);
        trace.copy_from_slice(&dice[27..39]);
        edge.copy_from_slice(&dice[39..]);
        let mut request_id = [0; 36];
        uuid::Builder::from_random_bytes(uuid).into_uuid().hyphenated().encode_lower(&mut request_id);
        let mut extended_id = [0; 16];
        // Eleven bytes become fifteen characters and one `=`, the form AWS's extended ids have.
        let _written = STANDARD.encode_slice(short, &mut extended_id);
        Self { time_ms, request_id, extended_id, trace, edge }
    }

    /// `x-amzn-RequestId`: a UUID.
    pub(crate) fn request_id(&self) -> &str {
        std::str::from_utf8(&self.request_id).unwrap_or_default()
    }

    /// The request id where it is to be kept.
    pub(crate) fn request_id_bytes(&self) -> [u8; 36] {
        self.request_id
    }

    /// `x-amz-apigw-id`.
    pub(crate) fn extended_id(&self) -> &str {
        std::str::from_utf8(&self.extended_id).unwrap_or_default()
    }

    /// `Root=1-{epoch seconds}-{24 hex digits}`.
    pub(crate) fn trace_root(&self) -> String {
        let seconds = u32::try_from(self.time_ms.div_euclid(1000)).unwrap_or_default();
        let mut text = format!("Root=1-{seconds:08x}-");
        for byte in self.trace {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    /// `X-Amz-Cf-Id` of edge-optimized APIs.
    pub(crate) fn edge_id(&self) -> String {
        base64::engine::general_purpose::URL_SAFE.encode(self.edge)
    }

    /// `dd/MMM/yyyy:HH:mm:ss +0000`.
    pub(crate) fn time_clf(&self) -> String {
        Timestamp::from_ms(self.time_ms).format("%d/%b/%Y:%H:%M:%S +0000")
    }
}

#[cfg(test)]
mod tests {
    use super::Envelope;
    use crate::Random;

    struct Sevens;

    impl Random for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0x77);
        }
    }

    #[test]
    fn ids_have_the_forms_aws_gives_them() {
        let envelope = Envelope::new(1_764_037_614_007, &Sevens);
        assert_eq!(envelope.request_id(), "77777777-7777-4777-b777-777777777777");
        assert!(uuid::Uuid::parse_str(envelope.request_id()).is_ok());
        assert_eq!(envelope.extended_id(), "d3d3d3d3d3d3d3c=");
        assert_eq!(envelope.trace_root(), "Root=1-692513ee-777777777777777777777777");
        assert_eq!(envelope.edge_id().len(), 56);
        assert_eq!(envelope.time_clf(), "25/Nov/2025:02:26:54 +0000");
    }
}
