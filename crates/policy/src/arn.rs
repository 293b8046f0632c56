//! Names: accounts, regions, ARNs, and the loose functions that match patterns against them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Context;
use crate::arn_pattern::{ArnPattern, Cut, ResourcePattern};
use crate::wildcard::Pattern;

/// The longest ARN read: AWS's own model allows 2048 characters.
pub const ARN_BYTES_MAX: usize = 2048;
/// The longest region name read.
const REGION_BYTES_MAX: usize = 32;

/// Text that is not the account id, region or ARN it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseArnError {
    /// Not twelve ASCII digits.
    #[error("an account id is twelve digits")]
    AccountId,
    /// Empty, longer than 32 characters, or with a character other than `a-z`, `0-9` and `-`.
    #[error("a region is 1 to 32 of the characters a-z, 0-9 and -")]
    Region,
    /// Not `arn:partition:service:region:account:resource`, or with an empty partition, service or resource.
    #[error("an ARN has six parts: `arn:partition:service:region:account:resource`")]
    Arn,
    /// Longer than [`ARN_BYTES_MAX`] bytes.
    #[error("an ARN has at most 2048 bytes")]
    TooLong,
}

/// An AWS account: twelve ASCII digits, leading zeros kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    // INVARIANT: all twelve bytes are ASCII digits.
    digits: [u8; 12],
}

impl AccountId {
    /// The twelve digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The fallback is unreachable by the invariant above; it keeps the crate free of panics.
        std::str::from_utf8(&self.digits).unwrap_or("")
    }
}

impl FromStr for AccountId {
    type Err = ParseArnError;

    fn from_str(text: &str) -> Result<AccountId, ParseArnError> {
        let digits: [u8; 12] = text.as_bytes().try_into().map_err(|_| ParseArnError::AccountId)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(AccountId { digits }) } else { Err(ParseArnError::AccountId) }
    }
}

/// The name of a region, such as `us-east-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region {
    name: Box<str>,
}

impl Region {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl FromStr for Region {
    type Err = ParseArnError;

    fn from_str(text: &str) -> Result<Region, ParseArnError> {
        let fits = !text.is_empty() && text.len() <= REGION_BYTES_MAX;
        if fits && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            Ok(Region { name: text.into() })
        } else {
            Err(ParseArnError::Region)
        }
    }
}

/// One whole ARN, not a pattern: `arn:partition:service:region:account:resource`.
///
/// Region and account may be empty (`arn:aws:s3:::bucket`, `arn:aws:iam::111122223333:user/a`); the resource keeps
/// its own colons and slashes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    // INVARIANT: splits into six parts at the first five colons, the first being `arn`.
    text: Box<str>,
}

impl Arn {
    /// Reads an ARN of at most [`ARN_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`ParseArnError::Arn`] unless there are six parts, the first `arn`, with partition, service and resource not
    /// empty; [`ParseArnError::TooLong`].
    pub fn parse(text: &str) -> Result<Arn, ParseArnError> {
        if text.len() > ARN_BYTES_MAX {
            return Err(ParseArnError::TooLong);
        }
        let [head, partition, service, _, _, resource] = split_six(text).ok_or(ParseArnError::Arn)?;
        if head != "arn" || partition.is_empty() || service.is_empty() || resource.is_empty() {
            return Err(ParseArnError::Arn);
        }
        Ok(Arn { text: text.into() })
    }

    fn part(&self, index: usize) -> &str {
        self.text.splitn(6, ':').nth(index).unwrap_or("")
    }

    /// `aws`, `aws-cn`, `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.part(1)
    }

    /// The service's name as ARNs spell it, such as `execute-api`.
    #[must_use]
    pub fn service(&self) -> &str {
        self.part(2)
    }

    /// The region, empty for global resources.
    #[must_use]
    pub fn region(&self) -> &str {
        self.part(3)
    }

    /// The account, empty where the service leaves it out.
    #[must_use]
    pub fn account(&self) -> &str {
        self.part(4)
    }

    /// Everything after the fifth colon.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.part(5)
    }

    /// The whole ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Arn {
    type Err = ParseArnError;

    fn from_str(text: &str) -> Result<Arn, ParseArnError> {
        Arn::parse(text)
    }
}

/// The six parts of an ARN or an ARN pattern, cut at the first five colons.
pub(crate) fn split_six(text: &str) -> Option<[&str; 6]> {
    let mut parts = text.splitn(6, ':');
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

macro_rules! text_traits {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl TryFrom<&str> for $name {
            type Error = ParseArnError;

            fn try_from(text: &str) -> Result<$name, ParseArnError> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_traits!(AccountId Region Arn);

/// Whether an ARN matches a pattern under `ArnLike` and `ArnEquals`.
///
/// Both are cut at the first five colons, both must start with `arn:` and have six parts, and the parts are compared
/// one by one with case. `*` and `?` never cross a colon between parts; they do cross `/`, and in the sixth part, which
/// keeps its colons, anything.
///
/// Source: IAM User Guide, "Amazon Resource Name (ARN) condition operators".
#[must_use]
pub fn arn_like(pattern: &str, value: &str) -> bool {
    ArnPattern::parse(pattern, false).is_ok_and(|pattern| pattern.matches(value, &Context::new()))
}

/// Whether a text matches a pattern under `StringLike`: with case, `*` any run, `?` one character, in linear time.
#[must_use]
pub fn string_like(pattern: &str, value: &str) -> bool {
    Pattern::wildcards(pattern).matches(value)
}

/// Whether a resource matches one entry of a `Resource` element, variables being plain text.
///
/// As [`arn_like`], but `*` alone matches anything, and a pattern of fewer than six parts that ends in `*` matches
/// whatever follows.
///
/// Source: IAM User Guide, "IAM JSON policy elements: Resource".
#[must_use]
pub fn resource_matches(pattern: &str, value: &str) -> bool {
    ResourcePattern::parse(pattern, false)
        .is_ok_and(|pattern| pattern.matches(&Cut::new(value), &Context::new()) == Some(true))
}

/// Whether an action matches one entry of an `Action` element, without case.
///
/// Source: IAM User Guide, "IAM JSON policy elements: Action".
#[must_use]
pub fn action_matches(pattern: &str, action: &str) -> bool {
    Pattern::wildcards(&pattern.to_ascii_lowercase()).matches(&action.to_ascii_lowercase())
}
