//! Why a function gets no connection, in the words of whoever reads it: the client's status line and body, and the
//! operator's log.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use super::policy::Denied;

/// Longest name that a status line repeats: what is longer is called `it`.
const NAME_IN_REASON_BYTES_MAX: usize = 80;

/// Why there is no connection.
pub(super) enum Refusal {
    Malformed(&'static str),
    Busy,
    /// By the rules; the address that was looked at, if there was one.
    Denied(Denied, Option<IpAddr>, Box<Named>),
    Unknown(io::Error),
    Unreachable(io::Error),
    Late,
}

/// What was asked for, for sentences about it.
pub(super) struct Named {
    pub account: String,
    pub host: String,
    pub port: u16,
    /// Whether the client named the address itself, so that repeating it tells nothing.
    pub is_literal: bool,
}

impl Refusal {
    pub(super) fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::Busy => 503,
            Refusal::Denied(..) => 403,
            Refusal::Unknown(_) | Refusal::Unreachable(_) => 502,
            Refusal::Late => 504,
        }
    }

    /// The reason phrase of the status line, which is all that many clients show of a refused CONNECT: printable ASCII
    /// of at most some 200 bytes.
    pub(super) fn reason(&self) -> String {
        let (denied, named) = match self {
            Refusal::Malformed(_) => return "Bad Request".to_owned(),
            Refusal::Busy => return "Too many connections".to_owned(),
            Refusal::Unknown(_) => return "Name not found".to_owned(),
            Refusal::Unreachable(_) => return "Not reachable".to_owned(),
            Refusal::Late => return "Timed out".to_owned(),
            Refusal::Denied(denied, _, named) => (denied, named),
        };
        let plain = |host: &str| host.len() <= NAME_IN_REASON_BYTES_MAX && host.bytes().all(|b| b.is_ascii_graphic());
        let host = if plain(&named.host) { named.host.as_str() } else { "it" };
        let why = match denied {
            Denied::Off => "there is no way out; see egress".to_owned(),
            Denied::Listed(_) => format!("{host} is refused; see egress_deny"),
            Denied::Kind(kind) => {
                let see = if kind.is_never_opened() { "no setting opens it" } else { "see egress_allow" };
                format!("{host} {} {}; {see}", named.verb(), kind.described())
            }
        };
        format!("Refused by the egress policy: {why}")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (denied, named) = match self {
            Refusal::Malformed(text) => return f.write_str(text),
            Refusal::Busy => return f.write_str("functions have too many connections to the outside open"),
            // Why a name is unknown or a place unreachable is the node's affair; its log has it.
            Refusal::Unknown(_) => return f.write_str("the name has no address"),
            Refusal::Unreachable(_) => return f.write_str("none of its addresses takes a connection"),
            Refusal::Late => return f.write_str("it did not answer in time"),
            Refusal::Denied(denied, _, named) => (denied, named),
        };
        let (account, place) = (&named.account, named.place());
        write!(f, "functions of account {account} may not connect to {place}: ")?;
        match denied {
            Denied::Off => write!(
                f,
                "they have no way out. The operator opens one with egress = \"proxy\" in the settings, or mode = \
                 \"proxy\" under [egress_accounts.{account}]."
            ),
            Denied::Listed(rule) => write!(f, "the operator's setting egress_deny lists {rule}."),
            Denied::Kind(kind) => {
                write!(
                    f,
                    "it {} {}, and functions reach public addresses alone unless the settings list others. ",
                    named.verb(),
                    kind.described()
                )?;
                match kind {
                    kind if kind.is_never_opened() => f.write_str("No setting opens this one."),
                    kind if kind.is_near() && !named.is_literal => write!(
                        f,
                        "The operator opens it with that very address in egress_allow, or in allow under \
                         [egress_accounts.{account}]."
                    ),
                    _ => write!(
                        f,
                        "The operator opens it with egress_allow = [\"{place}\"], or with allow = [\"{place}\"] \
                         under [egress_accounts.{account}]."
                    ),
                }
            }
        }
    }
}

impl Named {
    fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn verb(&self) -> &'static str {
        if self.is_literal { "is" } else { "leads to" }
    }

    /// Why, with the setting that decides. Unlike the client the operator may know where a name leads.
    pub(super) fn for_operator(&self, denied: &Denied, address: Option<IpAddr>) -> String {
        let account = &self.account;
        match denied {
            Denied::Off => format!(
                "there is no way out; egress = \"proxy\" opens one, or mode = \"proxy\" under [egress_accounts.{account}]"
            ),
            Denied::Listed(rule) => format!("egress_deny lists {rule}"),
            Denied::Kind(kind) if kind.is_never_opened() => {
                format!("it {} {}; no setting opens it", self.verb(), kind.described())
            }
            Denied::Kind(kind) => {
                let place = match address {
                    Some(address) if kind.is_near() => SocketAddr::new(address, self.port).to_string(),
                    _ => self.place(),
                };
                format!(
                    "it {} {}; egress_allow = [\"{place}\"] opens it, or allow under [egress_accounts.{account}]",
                    self.verb(),
                    kind.described()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::policy::Kind, *};

    fn named(host: &str) -> Named {
        let is_literal = host.parse::<IpAddr>().is_ok();
        Named { account: "111111111111".to_owned(), host: host.to_owned(), port: 443, is_literal }
    }

    #[test]
    fn a_refusal_names_kind_and_setting_to_client_and_operator() {
        let long = "a".repeat(200);
        for (host, denied, reason, operator) in [
            (
                "10.0.0.1",
                Denied::Kind(Kind::Private),
                "10.0.0.1 is a private address; see egress_allow",
                "it is a private address; egress_allow = [\"10.0.0.1:443\"] opens it, or allow under \
                 [egress_accounts.111111111111]",
            ),
            (
                "db.internal",
                Denied::Kind(Kind::Loopback),
                "db.internal leads to a loopback address; see egress_allow",
                "it leads to a loopback address; egress_allow = [\"127.0.0.9:443\"] opens it, or allow under \
                 [egress_accounts.111111111111]",
            ),
            (
                "224.0.0.1",
                Denied::Kind(Kind::Multicast),
                "224.0.0.1 is a multicast address; no setting opens it",
                "it is a multicast address; no setting opens it",
            ),
            (&long, Denied::Listed("x".to_owned()), "it is refused; see egress_deny", "egress_deny lists x"),
            (
                "example.com",
                Denied::Off,
                "there is no way out; see egress",
                "there is no way out; egress = \"proxy\" opens one, or mode = \"proxy\" under \
                 [egress_accounts.111111111111]",
            ),
        ] {
            let address = Some("127.0.0.9".parse().unwrap());
            assert_eq!(named(host).for_operator(&denied, address), operator);
            let refusal = Refusal::Denied(denied, address, Box::new(named(host)));
            assert_eq!(refusal.reason(), format!("Refused by the egress policy: {reason}"));
        }
    }

    #[test]
    fn a_reason_phrase_is_one_short_line_whatever_was_asked_for() {
        for host in ["x\r\nSet-Cookie: y", "\u{e9}", &"a.".repeat(5_000), ""] {
            let refusal = Refusal::Denied(Denied::Kind(Kind::Own), None, Box::new(named(host)));
            let reason = refusal.reason();
            assert!(reason.len() < 220 && reason.bytes().all(|b| (b' '..=b'~').contains(&b)), "{reason:?}");
        }
    }
}
