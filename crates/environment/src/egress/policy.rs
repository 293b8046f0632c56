//! Which addresses a function may connect to. Pure: it is told the address, and which addresses are the node's own.
//!
//! Without further rules functions reach public addresses alone, as an AWS function outside a VPC does. What is looked
//! at is the address that is connected to, never the name it was found under, so that a name cannot lead to where its
//! address may not.
//!
//! Source: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6890.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Whether a way out exists at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Every connection is refused.
    None,
    /// The HTTP proxy inside the sandbox connects, as the rules allow.
    #[default]
    Proxy,
}

/// Why an address is no public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unspecified,
    Loopback,
    LinkLocal,
    /// Where a cloud's metadata service answers.
    Metadata,
    Private,
    /// Carrier-grade NAT.
    Shared,
    Multicast,
    Documentation,
    Reserved,
    /// An address of this node.
    Own,
}

impl Kind {
    /// As part of a sentence: "it is ...".
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Kind::Unspecified => "an unspecified address",
            Kind::Loopback => "a loopback address",
            Kind::LinkLocal => "a link-local address",
            Kind::Metadata => "a metadata service's address",
            Kind::Private => "a private address",
            Kind::Shared => "an address of shared (carrier-grade NAT) space",
            Kind::Multicast => "a multicast address",
            Kind::Documentation => "an address reserved for documentation",
            Kind::Reserved => "an address of a reserved range",
            Kind::Own => "an address of this node",
        }
    }

    /// Whether a rule must name the very place: neither a wide range nor a name opens the node itself by accident.
    pub(super) fn is_near(self) -> bool {
        matches!(self, Kind::Loopback | Kind::LinkLocal | Kind::Metadata | Kind::Own)
    }

    /// Connecting to these means something else than what was written, so no rule opens them.
    pub(super) fn is_never_opened(self) -> bool {
        matches!(self, Kind::Unspecified | Kind::Multicast)
    }
}

/// A range of addresses, such as `10.0.0.0/8`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u32) -> Network {
        Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_bits }
    }

    const fn v6(first: u16, second: u16, third: u16, prefix_bits: u32) -> Network {
        Network { address: IpAddr::V6(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0)), prefix_bits }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix_bits)).unwrap_or(0);
                (ours.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix_bits)).unwrap_or(0);
                (ours.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// Whether all of it lies in `other`.
    fn is_within(self, other: Network) -> bool {
        self.prefix_bits >= other.prefix_bits && other.contains(self.address)
    }

    fn is_single(self) -> bool {
        self.prefix_bits == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.prefix_bits) }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits: u32 = match prefix {
            None => bits,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or(())?,
        };
        // Mapped addresses are looked at as what they stand for, so a rule of them would never match.
        match address {
            IpAddr::V6(v6) if prefix_bits >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => Ok(Network { address: v4.into(), prefix_bits: prefix_bits.saturating_sub(96) }),
                None => Ok(Network { address, prefix_bits }),
            },
            _ => Ok(Network { address, prefix_bits }),
        }
    }
}

/// Where a rule leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Network(Network),
    /// A name, lower case, without a final dot.
    Name(String),
}

/// One entry of a list: `10.0.0.0/8`, `10.1.2.3:443`, `[fd00::/8]:443`, `db.example.internal:5432`. Without a port it
/// means every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    place: Place,
    port: Option<u16>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.port) {
            (Place::Network(network), None) => network.fmt(f),
            (Place::Network(network), Some(port)) if network.address.is_ipv6() => write!(f, "[{network}]:{port}"),
            (Place::Network(network), Some(port)) => write!(f, "{network}:{port}"),
            (Place::Name(name), None) => f.write_str(name),
            (Place::Name(name), Some(port)) => write!(f, "{name}:{port}"),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no address, range or name with an optional port, such as 10.0.0.0/8, 10.1.2.3:443, \
                 [fd00::/8]:443 or db.example.internal:5432"
            )
        };
        if let Ok(network) = text.parse() {
            return Ok(Rule { place: Place::Network(network), port: None });
        }
        let (place, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, rest) = rest.split_once(']').ok_or_else(wrong)?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) };
                (inner, port)
            }
            None => text.rsplit_once(':').map_or((text, None), |(place, port)| (place, Some(port))),
        };
        let port = match port {
            None => None,
            Some(port) => Some(port.parse().ok().filter(|port: &u16| *port > 0).ok_or_else(wrong)?),
        };
        if let Ok(network) = place.parse() {
            return Ok(Rule { place: Place::Network(network), port });
        }
        let name = plain_name(place).ok_or_else(wrong)?;
        // `10.0.0` and the like are addresses to a resolver and mistakes to a reader.
        if text.starts_with('[') || !name.contains(|c: char| c.is_ascii_alphabetic()) {
            return Err(wrong());
        }
        Ok(Rule { place: Place::Name(name), port })
    }
}

/// A host name in lower case without a final dot; `None` if it is none.
#[must_use]
pub fn plain_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let plain = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    plain.then(|| name.to_ascii_lowercase())
}

/// Why a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// There is no way out for this account.
    Off,
    /// A rule of the list of refusals.
    Listed(String),
    /// No public address, and no rule opens it.
    Kind(Kind),
}

/// The rules of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    /// Opened besides public addresses.
    pub allow: Vec<Rule>,
    /// Closed, whatever else says.
    pub deny: Vec<Rule>,
}

impl Policy {
    /// Decides about one address under which `name` was found (or which was given as it stands).
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, name: &str, address: SocketAddr, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Denied> {
        if self.mode == Mode::None {
            return Err(Denied::Off);
        }
        let forms = forms(address.ip());
        let listed = self.deny.iter().find(|rule| {
            rule.fits_port(address.port())
                && match &rule.place {
                    Place::Network(network) => forms.iter().flatten().any(|form| network.contains(*form)),
                    Place::Name(own) => own == name,
                }
        });
        if let Some(rule) = listed {
            return Err(Denied::Listed(rule.to_string()));
        }
        for form in forms.into_iter().flatten() {
            // That loopback is the node's own is known.
            let own = || is_own(form).then_some(Kind::Own);
            let kinds = match kind(form) {
                Some(kind) if kind.is_near() => [Some(kind), None],
                kind => [kind, own()],
            };
            for kind in kinds.into_iter().flatten() {
                if !self.opens(name, form, address.port(), kind) {
                    return Err(Denied::Kind(kind));
                }
            }
        }
        Ok(())
    }

    fn opens(&self, name: &str, address: IpAddr, port: u16, kind: Kind) -> bool {
        !kind.is_never_opened()
            && self.allow.iter().any(|rule| {
                rule.fits_port(port)
                    && match &rule.place {
                        Place::Name(own) => !kind.is_near() && own == name,
                        Place::Network(network) if kind.is_near() => {
                            network.contains(address)
                                && (network.is_single()
                                    || RANGES.iter().any(|(range, of)| *of == kind && network.is_within(*range)))
                        }
                        Place::Network(network) => network.contains(address),
                    }
            })
    }
}

impl Rule {
    fn fits_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

/// The rules of all accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// Of accounts that have none of their own.
    pub base: Policy,
    /// By account id. What stands here holds instead of the base.
    pub accounts: BTreeMap<String, Policy>,
}

impl Policies {
    /// An account's rules.
    #[must_use]
    pub fn of(&self, account: &str) -> &Policy {
        self.accounts.get(account).unwrap_or(&self.base)
    }
}

/// What an address stands for: itself, or the IPv4 address inside it, or both where a translator may make one of the
/// other.
fn forms(address: IpAddr) -> [Option<IpAddr>; 2] {
    let IpAddr::V6(v6) = address else { return [Some(address), None] };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return [Some(v4.into()), None];
    }
    let segments = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::from([a, b, c, d]))
    };
    match segments {
        // NAT64, RFC 6052: nothing but the address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [v4(high, low), None],
        // 6to4, RFC 3056.
        [0x2002, high, low, ..] => [Some(address), v4(high, low)],
        _ => [Some(address), None],
    }
}

/// Ranges that are not public; the first that fits counts. What lies in none of the IPv6 ones and outside 2000::/3 is
/// reserved.
const RANGES: &[(Network, Kind)] = &[
    (Network::v4(0, 0, 0, 0, 8), Kind::Unspecified),
    (Network::v4(127, 0, 0, 0, 8), Kind::Loopback),
    (Network::v4(169, 254, 169, 254, 32), Kind::Metadata),
    (Network::v4(169, 254, 170, 0, 24), Kind::Metadata),
    (Network::v4(169, 254, 0, 0, 16), Kind::LinkLocal),
    (Network::v4(100, 100, 100, 200, 32), Kind::Metadata),
    // The virtual address of a public cloud's host, in public space.
    (Network::v4(168, 63, 129, 16, 32), Kind::Metadata),
    (Network::v4(10, 0, 0, 0, 8), Kind::Private),
    (Network::v4(172, 16, 0, 0, 12), Kind::Private),
    (Network::v4(192, 168, 0, 0, 16), Kind::Private),
    (Network::v4(100, 64, 0, 0, 10), Kind::Shared),
    (Network::v4(192, 0, 2, 0, 24), Kind::Documentation),
    (Network::v4(198, 51, 100, 0, 24), Kind::Documentation),
    (Network::v4(203, 0, 113, 0, 24), Kind::Documentation),
    (Network::v4(192, 0, 0, 0, 24), Kind::Reserved),
    (Network::v4(192, 88, 99, 0, 24), Kind::Reserved),
    (Network::v4(198, 18, 0, 0, 15), Kind::Reserved),
    (Network::v4(224, 0, 0, 0, 4), Kind::Multicast),
    (Network::v4(240, 0, 0, 0, 4), Kind::Reserved),
    (Network { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix_bits: 128 }, Kind::Unspecified),
    (Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 }, Kind::Loopback),
    (
        Network { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), prefix_bits: 128 },
        Kind::Metadata,
    ),
    (
        Network { address: IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), prefix_bits: 128 },
        Kind::Metadata,
    ),
    (Network::v6(0xfe80, 0, 0, 10), Kind::LinkLocal),
    (Network::v6(0xfc00, 0, 0, 7), Kind::Private),
    // Site-local, long deprecated and still routed somewhere.
    (Network::v6(0xfec0, 0, 0, 10), Kind::Private),
    (Network::v6(0xff00, 0, 0, 8), Kind::Multicast),
    (Network::v6(0x2001, 0xdb8, 0, 32), Kind::Documentation),
    (Network::v6(0x3fff, 0, 0, 20), Kind::Documentation),
    // Teredo, ORCHID, benchmarking.
    (Network::v6(0x2001, 0, 0, 23), Kind::Reserved),
];

/// All public IPv6 addresses.
const GLOBAL_V6: Network = Network::v6(0x2000, 0, 0, 3);

/// Why an address is no public one; `None` if it is.
fn kind(address: IpAddr) -> Option<Kind> {
    let found = RANGES.iter().find(|(network, _)| network.contains(address)).map(|(_, kind)| *kind);
    found.or_else(|| (address.is_ipv6() && !GLOBAL_V6.contains(address)).then_some(Kind::Reserved))
}
