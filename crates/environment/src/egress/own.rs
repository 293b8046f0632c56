//! The addresses of this node, asked from the kernel.

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// How long an answer is believed. An address that comes up later is refused after that; a connection to it is found
/// out besides, for both of its ends are the same.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of one part of an answer; the kernel sends at most 32 KiB.
const PART_BYTES_MAX: usize = 64 << 10;
/// Parts of an answer. A node with more addresses than fit is refused its way out rather than misjudged.
const PARTS_MAX: usize = 4_096;

/// `RTM_GETADDR`. Source: rtnetlink(7).
const GET_ADDRESSES: u16 = 22;
/// `RTM_NEWADDR`.
const ADDRESS: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`. Source: netlink(7).
const DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `IFA_ADDRESS` and `IFA_LOCAL`; they differ on point-to-point links, where the first is the other end's.
const PEER_ADDRESS: u16 = 1;
const LOCAL_ADDRESS: u16 = 2;
const HEADER_BYTES: usize = 16;
const ADDRESS_HEADER_BYTES: usize = 8;

/// Knows the node's addresses, and asks anew when that knowledge is old.
#[derive(Default)]
pub(super) struct Own {
    known: Mutex<Option<(Instant, Vec<IpAddr>)>>,
}

impl Own {
    /// The addresses as of about now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some((at, addresses)) if at.elapsed() < FRESH => Ok(addresses.clone()),
            _ => {
                let addresses = ask()?;
                *known = Some((Instant::now(), addresses.clone()));
                Ok(addresses)
            }
        }
    }
}

fn ask() -> io::Result<Vec<IpAddr>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut question = Vec::with_capacity(HEADER_BYTES + ADDRESS_HEADER_BYTES);
    question.extend_from_slice(&24_u32.to_ne_bytes());
    question.extend_from_slice(&GET_ADDRESSES.to_ne_bytes());
    question.extend_from_slice(&DUMP.to_ne_bytes());
    // Sequence, our port, and an address header that asks for every family.
    question.extend_from_slice(&[0; 16]);
    send(&socket, &question, SendFlags::empty())?;
    let mut addresses = Vec::new();
    let mut part = vec![0; PART_BYTES_MAX];
    for _ in 0..PARTS_MAX {
        let (_, length) = recv(&socket, part.as_mut_slice(), RecvFlags::TRUNC)?;
        let read = part.get(..length).ok_or_else(malformed)?;
        if take(read, &mut addresses)? {
            return Ok(addresses);
        }
    }
    Err(io::Error::other("this node has too many addresses"))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of addresses is malformed")
}

/// Reads the messages of one part; whether the list is at its end.
fn take(mut part: &[u8], addresses: &mut Vec<IpAddr>) -> io::Result<bool> {
    while !part.is_empty() {
        let length = u32_at(part, 0).and_then(|length| usize::try_from(length).ok()).ok_or_else(malformed)?;
        let kind = u16_at(part, 4).ok_or_else(malformed)?;
        let message = part.get(HEADER_BYTES..length).ok_or_else(malformed)?;
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(io::Error::other("the kernel does not list addresses")),
            ADDRESS => take_address(message.get(ADDRESS_HEADER_BYTES..).ok_or_else(malformed)?, addresses)?,
            _ => {}
        }
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads the attributes of one address.
fn take_address(mut attributes: &[u8], addresses: &mut Vec<IpAddr>) -> io::Result<()> {
    let (mut local, mut peer) = (None, None);
    while attributes.len() >= 4 {
        let length = usize::from(u16_at(attributes, 0).ok_or_else(malformed)?);
        let kind = u16_at(attributes, 2).ok_or_else(malformed)?;
        let value = attributes.get(4..length).ok_or_else(malformed)?;
        match kind {
            LOCAL_ADDRESS => local = address(value),
            PEER_ADDRESS => peer = address(value),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    addresses.extend(local.or(peer));
    Ok(())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_the_loopback_address() {
        let addresses = Own::default().addresses().unwrap();
        assert!(addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
    }

    #[test]
    fn a_torn_list_is_an_error_and_never_a_short_list() {
        let mut whole = Vec::new();
        whole.extend_from_slice(&32_u32.to_ne_bytes());
        whole.extend_from_slice(&ADDRESS.to_ne_bytes());
        whole.extend_from_slice(&[0; 10]);
        whole.extend_from_slice(&[2, 32, 0, 0, 1, 0, 0, 0]);
        whole.extend_from_slice(&8_u16.to_ne_bytes());
        whole.extend_from_slice(&LOCAL_ADDRESS.to_ne_bytes());
        whole.extend_from_slice(&[10, 1, 2, 3]);
        let mut found = Vec::new();
        assert!(!take(&whole, &mut found).unwrap());
        assert_eq!(found, [IpAddr::from([10, 1, 2, 3])]);
        for length in 1..whole.len() {
            let torn = whole.get(..length).unwrap();
            assert!(take(torn, &mut Vec::new()).is_err(), "{length}");
        }
    }
}
