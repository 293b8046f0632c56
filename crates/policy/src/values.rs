//! The values that operators other than the string and ARN ones compare: numbers, dates, booleans, addresses.

use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// A decimal number of any length, compared exactly: 0.d1d2d3... times ten to the `point`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    // INVARIANT: the digits are `whole` and then `fraction`, without zeros at either end; zero has none, and point 0.
    whole: &'a str,
    fraction: &'a str,
    point: i64,
}

impl<'a> Decimal<'a> {
    /// Reads `-12.50`, `.5`, `1e3`; no blanks, no infinities.
    pub(crate) fn parse(text: &'a str) -> Option<Decimal<'a>> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits_only = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits_only(whole) || !digits_only(fraction) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let (whole, fraction, point) = if whole.is_empty() {
            let kept = fraction.trim_start_matches('0');
            let zeros = i64::try_from(fraction.len().saturating_sub(kept.len())).ok()?;
            ("", kept, exponent.saturating_sub(zeros))
        } else {
            let point = exponent.saturating_add(i64::try_from(whole.len()).ok()?);
            (if fraction.is_empty() { whole.trim_end_matches('0') } else { whole }, fraction, point)
        };
        if whole.is_empty() && fraction.is_empty() {
            return Some(Decimal { negative: false, whole, fraction, point: 0 });
        }
        Some(Decimal { negative, whole, fraction, point })
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    fn sign(&self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    pub(crate) fn order(&self, other: &Decimal<'_>) -> Ordering {
        let by_size = || self.point.cmp(&other.point).then_with(|| self.digits().cmp(other.digits()));
        self.sign().cmp(&other.sign()).then_with(|| if self.negative { by_size().reverse() } else { by_size() })
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// A moment, as seconds since 1970 in UTC and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    second: i64,
    nanosecond: i32,
}

impl Moment {
    /// Reads the forms of W3C's profile of ISO 8601 (`2026`, `2026-01`, `2026-01-02`, with `T10:20Z`, `T10:20:30Z`,
    /// `T10:20:30.5+01:00`) and seconds since 1970. Four digits are a year.
    ///
    /// Source: IAM User Guide, "Date condition operators"; W3C note "Date and Time Formats".
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        if text.len() != 4
            && let Some(moment) = Moment::parse_epoch(text)
        {
            return Some(moment);
        }
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut fields = date.split('-');
        let year = digits(fields.next()?, 4)?;
        let month = fields.next().map_or(Some(1), |month| digits(month, 2))?;
        let day = fields.next().map_or(Some(1), |day| digits(day, 2))?;
        if fields.next().is_some() || (time.is_some() && date.len() != 10) {
            return None;
        }
        let date = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        let (time, offset) = time.map_or(Some((Time::midnight(), Offset::UTC)), parse_time)?;
        let at = offset.to_timestamp(date.to_datetime(time)).ok()?;
        Some(Moment { second: at.as_second(), nanosecond: at.subsec_nanosecond() })
    }

    fn parse_epoch(text: &str) -> Option<Moment> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole_digits = whole.strip_prefix('-').unwrap_or(whole);
        // Before 1970 a fraction would count the other way round; nobody writes one.
        if whole_digits.len() != whole.len() && !fraction.is_empty() {
            return None;
        }
        if whole_digits.is_empty() || !whole_digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let nanosecond = parse_fraction(fraction)?;
        Some(Moment { second: whole.parse().ok()?, nanosecond })
    }
}

/// Exactly `count` ASCII digits.
fn digits(text: &str, count: usize) -> Option<i32> {
    if text.len() == count && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The digits after the point, as nanoseconds; further digits are dropped.
fn parse_fraction(text: &str) -> Option<i32> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine = text.bytes().chain(std::iter::repeat(b'0')).take(9);
    nine.map(|b| i32::from(b & 0x0f)).try_fold(0_i32, |sum, digit| sum.checked_mul(10)?.checked_add(digit))
}

fn parse_time(text: &str) -> Option<(Time, Offset)> {
    let (clock, offset) = match text.strip_suffix('Z') {
        Some(clock) => (clock, Offset::UTC),
        None => {
            let at = text.find(['+', '-'])?;
            let (clock, zone) = text.split_at_checked(at)?;
            (clock, parse_offset(zone)?)
        }
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((_, "")) => return None,
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let mut fields = clock.split(':');
    let hour = digits(fields.next()?, 2)?;
    let minute = digits(fields.next()?, 2)?;
    let second = fields.next().map(|second| digits(second, 2));
    if fields.next().is_some() || (fraction.is_some() && second.is_none()) {
        return None;
    }
    let second = second.unwrap_or(Some(0))?;
    let nanosecond = parse_fraction(fraction.unwrap_or(""))?;
    let small = |n: i32| i8::try_from(n).ok();
    Some((Time::new(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()?, offset))
}

/// `+hh:mm` or `-hh:mm`.
fn parse_offset(text: &str) -> Option<Offset> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    Offset::from_seconds(if negative { seconds.checked_neg()? } else { seconds }).ok()
}

/// `true` or `false`, in any case.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A block of addresses, its host bits cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cidr {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

impl Cidr {
    /// Reads `203.0.113.0/24`, `2001:db8::/32` or a lone address.
    pub(crate) fn parse(text: &str) -> Option<Cidr> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => {
                let fits = prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit());
                (address, Some(prefix.parse::<u32>().ok().filter(|_| fits)?))
            }
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => Cidr::v4(address.to_bits(), prefix.unwrap_or(32)),
            IpAddr::V6(address) => {
                let prefix = prefix.unwrap_or(128);
                // An IPv4 block written in IPv6 holds the same callers as the plain one.
                match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    (Some(mapped), Some(prefix)) => Cidr::v4(mapped.to_bits(), prefix),
                    _ => {
                        let host = 128_u32.checked_sub(prefix)?;
                        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
                        Some(Cidr::V6 { network: address.to_bits() & mask, mask })
                    }
                }
            }
        }
    }

    fn v4(bits: u32, prefix: u32) -> Option<Cidr> {
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
        Some(Cidr::V4 { network: bits & mask, mask })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Cidr::V4 { network, mask }, IpAddr::V4(address)) => address.to_bits() & mask == *network,
            (Cidr::V6 { network, mask }, IpAddr::V6(address)) => address.to_bits() & mask == *network,
            _ => false,
        }
    }
}
