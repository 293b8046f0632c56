//! Shapes: what a value may be, and where its members travel.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// Most memory one compiled pattern may take; the largest of the models needs about a tenth.
const PATTERN_BYTES_MAX: usize = 64 << 20;

/// A shape of the tables.
pub type ShapeRef = &'static Shape;

/// One shape of a service model.
pub struct Shape {
    /// The model's name of it.
    pub name: &'static str,
    /// Whether the model calls the value sensitive: it is never printed, neither in logs nor in error texts.
    pub sensitive: bool,
    /// What it is.
    pub kind: Kind,
}

/// What a shape is, with the constraints the model puts on it.
pub enum Kind {
    /// Named members.
    Structure(Structure),
    /// Elements of one shape.
    List {
        /// Shape of an element.
        member: ShapeRef,
        /// Whether the XML protocols leave out the element around the list.
        flattened: bool,
        /// XML name of an element.
        item: &'static str,
        /// Number of elements.
        limits: Limits,
    },
    /// String keys to values of one shape.
    Map {
        /// Shape of a key.
        key: ShapeRef,
        /// Shape of a value.
        value: ShapeRef,
        /// Number of entries.
        limits: Limits,
    },
    /// Text.
    String {
        /// The values allowed; empty where any is.
        values: &'static [&'static str],
        /// The regular expression to satisfy.
        pattern: Option<&'static Pattern>,
        /// Length in characters.
        limits: Limits,
    },
    /// 32-bit integer.
    Integer {
        /// Range.
        limits: Limits,
    },
    /// 64-bit integer.
    Long {
        /// Range.
        limits: Limits,
    },
    /// Floating-point number.
    Double {
        /// Range; the models use whole numbers only.
        limits: Limits,
    },
    /// True or false.
    Boolean,
    /// Bytes, base64 wherever they are not a whole body.
    Blob {
        /// Length in bytes.
        limits: Limits,
    },
    /// An instant: epoch seconds in a [`serde_json::Value`].
    Timestamp {
        /// How it is spelled on the wire.
        format: TimestampFormat,
    },
}

/// Members of a structure.
pub struct Structure {
    /// In model order.
    pub members: &'static [Member],
    /// The member that is the whole body, where there is one.
    pub payload: Option<&'static str>,
    /// Whether the structure is an event stream, which only streaming operations write.
    pub event_stream: bool,
}

/// One member of a structure.
pub struct Member {
    /// The model's name: the key in a [`serde_json::Value`].
    pub name: &'static str,
    /// The name on the wire.
    pub wire: &'static str,
    /// Where it travels.
    pub location: Location,
    /// Whether it must be there.
    pub required: bool,
    /// Whether a map keeps entries that are `null` (API Gateway's templates).
    pub sparse: bool,
    /// What it is.
    pub shape: ShapeRef,
}

/// Where a member travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the body.
    Body,
    /// As a label of the path.
    Uri,
    /// In the query.
    Query,
    /// As one header.
    Header,
    /// As all headers with a prefix.
    Headers,
    /// As the HTTP status.
    Status,
}

/// Smallest and largest: length, number or value, as the shape says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Not less than this.
    pub min: Option<i64>,
    /// Not more than this.
    pub max: Option<i64>,
}

/// A regular expression of the model.
pub struct Pattern {
    /// As AWS prints it, in Java's dialect; the whole value must match.
    pub text: &'static str,
    /// The same in the dialect of the `regex` crate.
    pub regex: &'static str,
    /// What Java's look-around forbids besides: the value must not match this, in the same dialect. Empty for nothing.
    pub forbid: &'static str,
    /// Both, compiled when first needed; `None` if either cannot be, which a test excludes.
    compiled: OnceLock<Option<(Regex, Option<Regex>)>>,
}

/// How an instant is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Whatever the protocol does: seconds as a number in JSON, ISO 8601 in XML and queries.
    Protocol,
    /// `2025-01-01T00:00:00Z`.
    Iso8601,
    /// Seconds as a number.
    Epoch,
}

impl Pattern {
    /// Whether a value satisfies the pattern. An expression that does not compile admits nothing.
    #[must_use]
    pub fn admits(&self, value: &str) -> bool {
        match self.compiled() {
            Some((wanted, forbidden)) => {
                wanted.is_match(value) && !forbidden.as_ref().is_some_and(|forbidden| forbidden.is_match(value))
            }
            None => false,
        }
    }

    pub(crate) fn compiled(&self) -> Option<&(Regex, Option<Regex>)> {
        let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        let both = || {
            let wanted = compile(self.regex).ok()?;
            if self.forbid.is_empty() {
                return Some((wanted, None));
            }
            Some((wanted, Some(compile(self.forbid).ok()?)))
        };
        self.compiled.get_or_init(both).as_ref()
    }
}

impl Shape {
    /// The structure, if the shape is one.
    #[must_use]
    pub fn structure(&self) -> Option<&Structure> {
        match &self.kind {
            Kind::Structure(structure) => Some(structure),
            _ => None,
        }
    }
}

impl Structure {
    /// The member of that model name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The member that is the whole body.
    #[must_use]
    pub fn payload_member(&self) -> Option<&'static Member> {
        self.payload.and_then(|name| self.member(name))
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A member, for the generated tables.
pub(super) const fn m(
    name: &'static str,
    wire: &'static str,
    location: Location,
    required: bool,
    sparse: bool,
    shape: ShapeRef,
) -> Member {
    Member { name, wire, location, required, sparse, shape }
}

/// No limits, for the generated tables.
pub(super) const NONE: Limits = Limits { min: None, max: None };

/// A pattern, for the generated tables.
pub(super) const fn p(text: &'static str, regex: &'static str, forbid: &'static str) -> Pattern {
    Pattern { text, regex, forbid, compiled: OnceLock::new() }
}
