//! Whose address counts as the client's.

use std::{net::IpAddr, str::FromStr};

use control::FUNCTION_CLIENT;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Whoever has this address.
    Network(IpAddr),
    /// A function in its sandbox. It connects over a loopback of its own, which says nothing of this host's: no trust
    /// in loopback or in any proxy is ever its.
    Function,
}

/// A range of addresses, such as `10.0.0.0/8`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix_bits).unwrap_or(0);
                (ours.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix_bits).unwrap_or(0);
                (ours.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address or range of addresses, such as 10.0.0.0/8 or 192.0.2.7");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?,
        };
        Ok(Self { address, prefix_bits })
    }
}

/// The address of the client behind `peer`.
///
/// A function is [`FUNCTION_CLIENT`] whatever it writes. Only a trusted peer's `X-Forwarded-For` is read, from the right: the first address that is no trusted proxy is the
/// client. An entry that is no address ends the search, for whoever wrote it cannot be trusted further.
pub(super) fn client<'a>(
    peer: Peer,
    trusted: &[Network],
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let Peer::Network(peer) = peer else { return FUNCTION_CLIENT };
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let entries = forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    for entry in entries {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = std::str::from_utf8(entry).ok().and_then(|text| text.trim().parse::<IpAddr>().ok()) else {
            break;
        };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let trusted: Vec<Network> =
            ["127.0.0.0/8", "10.1.2.3", "fd00::/8"].iter().map(|t| t.parse().unwrap()).collect();
        for (peer, forwarded, expected) in [
            ("127.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1", "203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1, nonsense, 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("10.1.2.4", &["203.0.113.9"], "10.1.2.4"),
            ("::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            let values = forwarded.iter().map(|value| value.as_bytes());
            let found = client(Peer::Network(peer.parse().unwrap()), &trusted, values);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn without_trusted_proxies_the_peer_is_the_client() {
        let forwarded: [&[u8]; 1] = [b"203.0.113.9"];
        let peer = Peer::Network([192, 0, 2, 1].into());
        assert_eq!(client(peer, &[], forwarded.into_iter()), IpAddr::from([192, 0, 2, 1]));
    }

    #[test]
    fn a_function_is_a_function_whatever_it_claims() {
        let trusted = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let forwarded: [&[u8]; 1] = [b"203.0.113.9"];
        assert_eq!(client(Peer::Function, &trusted, forwarded.into_iter()), FUNCTION_CLIENT);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains([1, 2, 3, 4].into()));
    }
}
