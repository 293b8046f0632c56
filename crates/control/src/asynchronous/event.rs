//! An event in the queue: what is kept of it, and how it is sealed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use service::Timestamp;
use store::queue::Lane;

use super::schedule::Progress;
use crate::{invoker::Attribution, vault::Vault};

/// The form of a stored head. Earlier forms still read.
const SCHEMA: u32 = 1;

/// Stands before a head that could not be opened, with the time from which on it could not. A sealed head begins with
/// twelve random bytes.
const UNOPENED: &[u8; 16] = b"unopened since: ";

/// A stored head that has been found unreadable: since when, milliseconds since 1970, and as it was. `None`: it has not.
fn unopened(stored: &[u8]) -> Option<(i64, &[u8])> {
    let (since, head) = stored.strip_prefix(UNOPENED)?.split_first_chunk()?;
    Some((i64::from_le_bytes(*since), head))
}

/// Notes on a stored head that it cannot be opened now, unless that stands there. Gives since when it cannot.
pub(super) fn note_unopened(stored: Vec<u8>, now_ms: i64) -> (i64, Vec<u8>) {
    match unopened(&stored) {
        Some((since_ms, _)) => (since_ms, stored),
        None => (now_ms, [UNOPENED, &now_ms.to_le_bytes()[..], &stored].concat()),
    }
}

/// Everything about an event but its payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    schema: u32,
    /// Binds the payload to this head.
    pub id: String,
    /// The same on all tries.
    pub request_id: String,
    /// The function as the caller qualified it.
    pub invoked_arn: String,
    /// Empty for none.
    pub qualifier: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_context: Option<String>,
    /// Who the records of all its tries name.
    pub attribution: Attribution,
    pub accepted_ms: i64,
    /// How often the function has run for it.
    #[serde(default)]
    pub tries: u32,
    /// Tries in a row that came to no run.
    #[serde(default)]
    pub faults: u32,
    /// How the last try ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// How many destinations led to it, one after the other.
    #[serde(default)]
    pub hops: u32,
}

/// How a try ended, as an invocation record says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Last {
    pub status_code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_error: Option<String>,
}

/// An event to be accepted.
pub(crate) struct NewEvent {
    /// Owner, region and name of the function.
    pub lane: Lane,
    pub request_id: String,
    pub invoked_arn: String,
    pub qualifier: String,
    pub client_context: Option<String>,
    pub attribution: Attribution,
    pub payload: Bytes,
    pub hops: u32,
}

impl NewEvent {
    /// Its head at the moment of acceptance.
    pub(crate) fn head(&self, id: String, now: Timestamp) -> Head {
        Head {
            schema: SCHEMA,
            id,
            request_id: self.request_id.clone(),
            invoked_arn: self.invoked_arn.clone(),
            qualifier: self.qualifier.clone(),
            client_context: self.client_context.clone(),
            attribution: self.attribution.clone(),
            accepted_ms: now.ms(),
            tries: 0,
            faults: 0,
            last: None,
            hops: self.hops,
        }
    }
}

impl Head {
    pub(crate) fn progress(&self) -> Progress {
        Progress { accepted_ms: self.accepted_ms, tries: self.tries, faults: self.faults }
    }

    /// Encrypted, for the lane it waits in. An event may hold anything, so it is kept as a function's environment is.
    pub(crate) fn seal(&self, vault: &Vault, lane: &Lane) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().map(|plain| vault.seal(&head_purpose(lane), &plain))
    }

    /// What [`Head::seal`] made, noted as unopened or not; `None` if it does not open or read.
    pub(crate) fn open(vault: &Vault, lane: &Lane, sealed: &[u8]) -> Option<Self> {
        let sealed = unopened(sealed).map_or(sealed, |(_, head)| head);
        let plain = vault.open_sealed(&head_purpose(lane), sealed)?;
        serde_json::from_slice(&plain).ok().filter(|head: &Self| head.schema <= SCHEMA)
    }

    pub(crate) fn seal_payload(&self, vault: &Vault, lane: &Lane, payload: &[u8]) -> Vec<u8> {
        vault.seal(&body_purpose(lane, &self.id), payload)
    }

    pub(crate) fn open_payload(&self, vault: &Vault, lane: &Lane, sealed: &[u8]) -> Option<Bytes> {
        vault.open_sealed(&body_purpose(lane, &self.id), sealed).map(Bytes::from)
    }
}

fn head_purpose(lane: &Lane) -> String {
    format!("event head\n{}\n{}\n{}", lane.account, lane.region, lane.name)
}

fn body_purpose(lane: &Lane, id: &str) -> String {
    format!("event body\n{}\n{}\n{}\n{id}", lane.account, lane.region, lane.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_head_still_reads() {
        let stored = r#"{"schema":1,"id":"i","request_id":"r","invoked_arn":"arn:aws:lambda:us-east-1:444455556666:function:f","qualifier":"","attribution":{"identity":{"type":"Root"},"source_ip":"127.0.0.1","user_agent":"u","source_arn":null,"foreign":false,"username":"root","access_key_id":"AKIA"},"accepted_ms":5}"#;
        let head: Head = serde_json::from_str(stored).unwrap();
        assert_eq!((head.tries, head.hops, head.attribution.username.as_deref()), (0, 0, Some("root")));
    }

    #[test]
    fn a_head_opens_in_its_lane_alone_and_a_payload_for_its_head_alone() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let lane = |name: &str| Lane { account: "1".into(), region: "r".into(), name: name.into() };
        let event = NewEvent {
            lane: lane("f"),
            request_id: "r".into(),
            invoked_arn: "a".into(),
            qualifier: String::new(),
            client_context: None,
            attribution: Attribution::default(),
            payload: Bytes::from_static(b"{}"),
            hops: 0,
        };
        let head = event.head("one".into(), Timestamp::from_ms(7));
        let sealed = head.seal(&vault, &lane("f")).unwrap();
        assert_eq!(Head::open(&vault, &lane("f"), &sealed).unwrap().accepted_ms, 7);
        assert!(Head::open(&vault, &lane("g"), &sealed).is_none());
        let (since_ms, noted) = note_unopened(sealed, 9);
        assert_eq!((since_ms, note_unopened(noted.clone(), 11)), (9, (9, noted.clone())), "the first time counts");
        assert_eq!(Head::open(&vault, &lane("f"), &noted).unwrap().accepted_ms, 7);
        let body = head.seal_payload(&vault, &lane("f"), b"{}");
        assert_eq!(head.open_payload(&vault, &lane("f"), &body).unwrap(), "{}");
        let other = event.head("two".into(), Timestamp::from_ms(7));
        assert!(other.open_payload(&vault, &lane("f"), &body).is_none());
    }
}
