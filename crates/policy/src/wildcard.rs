//! Patterns with `*` (any run, also empty) and `?` (exactly one character), matched in linear time.
//!
//! A pattern is cut at its `*` into segments; each is looked for once, leftmost first, and never again, because a
//! later start can only leave less room for the rest. A segment without `?` is found by the standard library's linear
//! search; one with `?` by a bit-parallel automaton that reads each character of the value once and touches one
//! machine word per 64 characters of the segment. No pattern, however hostile, makes the matcher back up.

use std::iter::once;

/// One element of a pattern before it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    AnyRun,
    AnyOne,
}

/// The pieces of a text in which every `*` and `?` is a wildcard.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (piece, after) = match first {
            '*' => (Piece::AnyRun, rest.strip_prefix('*')?),
            '?' => (Piece::AnyOne, rest.strip_prefix('?')?),
            _ => {
                let end = rest.find(['*', '?']).unwrap_or(rest.len());
                let (head, after) = rest.split_at_checked(end)?;
                (Piece::Text(head), after)
            }
        };
        rest = after;
        Some(piece)
    })
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    /// `*`.
    Any,
    /// No wildcard.
    Exact(Box<str>),
    /// `?` only.
    One(Masked),
    /// At least one `*`. `chars_min` characters are needed whatever the runs take.
    Runs { head: Segment, middle: Box<[Segment]>, tail: Segment, chars_min: usize },
}

impl Pattern {
    /// A text in which `*` and `?` are wildcards.
    pub(crate) fn wildcards(text: &str) -> Pattern {
        Pattern::from_pieces(pieces(text))
    }

    pub(crate) fn from_pieces<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> Pattern {
        let mut segments: Vec<Vec<Option<char>>> = Vec::new();
        let mut current: Vec<Option<char>> = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => current.extend(text.chars().map(Some)),
                Piece::AnyOne => current.push(None),
                Piece::AnyRun => segments.push(std::mem::take(&mut current)),
            }
        }
        Pattern { shape: Shape::build(segments, current) }
    }

    /// Whether the pattern matches the whole value.
    pub(crate) fn matches(&self, value: &str) -> bool {
        #[cfg(test)]
        comparisons::count();
        self.matches_counted(value, &mut 0)
    }

    /// As [`Pattern::matches`], adding to `steps` the characters and words looked at.
    pub(crate) fn matches_counted(&self, value: &str, steps: &mut usize) -> bool {
        match &self.shape {
            Shape::Any => true,
            Shape::Exact(text) => **text == *value,
            Shape::One(masked) => {
                *steps = steps.saturating_add(masked.chars.len());
                masked.strip_prefix(value).is_some_and(str::is_empty)
            }
            Shape::Runs { head, middle, tail, chars_min } => {
                if value.len() < *chars_min {
                    return false;
                }
                let inner = head.strip_prefix(value, steps).and_then(|rest| tail.strip_suffix(rest, steps));
                let Some(mut rest) = inner else { return false };
                middle.iter().all(|segment| match segment.find(rest, steps) {
                    Some(after) => {
                        rest = after;
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

impl Shape {
    /// `closed` are the segments a `*` follows, `last` what comes after the last `*`.
    fn build(closed: Vec<Vec<Option<char>>>, last: Vec<Option<char>>) -> Shape {
        let chars_min = closed.iter().map(Vec::len).fold(last.len(), usize::saturating_add);
        let mut segments = closed.into_iter();
        let Some(head) = segments.next() else {
            return match Segment::build(last) {
                Segment::Literal(text) => Shape::Exact(text),
                Segment::Masked(masked) => Shape::One(masked),
            };
        };
        if chars_min == 0 {
            return Shape::Any;
        }
        Shape::Runs {
            head: Segment::build(head),
            middle: segments.filter(|segment| !segment.is_empty()).map(Segment::build).collect(),
            tail: Segment::build(last),
            chars_min,
        }
    }
}

/// A stretch between two `*`.
#[derive(Debug, Clone)]
enum Segment {
    Literal(Box<str>),
    Masked(Masked),
}

impl Segment {
    fn build(chars: Vec<Option<char>>) -> Segment {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(text) => Segment::Literal(text.into_boxed_str()),
            None => Segment::Masked(Masked::build(chars)),
        }
    }

    fn strip_prefix<'v>(&self, value: &'v str, steps: &mut usize) -> Option<&'v str> {
        match self {
            Segment::Literal(text) => value.strip_prefix(&**text),
            Segment::Masked(masked) => {
                *steps = steps.saturating_add(masked.chars.len());
                masked.strip_prefix(value)
            }
        }
    }

    fn strip_suffix<'v>(&self, value: &'v str, steps: &mut usize) -> Option<&'v str> {
        match self {
            Segment::Literal(text) => value.strip_suffix(&**text),
            Segment::Masked(masked) => {
                *steps = steps.saturating_add(masked.chars.len());
                masked.strip_suffix(value)
            }
        }
    }

    /// What follows the leftmost occurrence.
    fn find<'v>(&self, value: &'v str, steps: &mut usize) -> Option<&'v str> {
        match self {
            Segment::Literal(text) => {
                let rest = value.split_once(&**text).map(|(_, rest)| rest);
                let read = value.len().saturating_sub(rest.map_or(0, str::len));
                *steps = steps.saturating_add(read);
                rest
            }
            Segment::Masked(masked) => masked.find(value, steps),
        }
    }
}

/// A segment with at least one `?`.
#[derive(Debug, Clone)]
struct Masked {
    /// `None` stands for `?`.
    chars: Box<[Option<char>]>,
    /// Bit `i` of the words is set where position `i` takes any character.
    any: Box<[u64]>,
    /// Per character, sorted: the words (by index) that have further bits set, sparse so that the table is never
    /// larger than the segment.
    exact: Box<[(char, WordBits)]>,
    /// The word and bit of the last position.
    last: (usize, u64),
}

/// Words by index, in order, and bits in them.
type WordBits = Box<[(usize, u64)]>;

/// Words of automaton state kept on the stack: enough for a segment as long as an authorizer's resource may be.
const STACK_WORDS: usize = 8;

impl Masked {
    fn build(chars: Vec<Option<char>>) -> Masked {
        let words = chars.len().div_ceil(64).max(1);
        let mut any = vec![0_u64; words];
        let mut placed: Vec<(char, usize, u64)> = Vec::new();
        let mut last = (0, 0);
        for (at, want) in chars.iter().enumerate() {
            let (word, bit) = (at / 64, 1_u64.wrapping_shl(u32::try_from(at % 64).unwrap_or(0)));
            last = (word, bit);
            match want {
                Some(c) => placed.push((*c, word, bit)),
                None => any.get_mut(word).into_iter().for_each(|slot| *slot |= bit),
            }
        }
        placed.sort_unstable();
        let exact = placed
            .chunk_by(|a, b| a.0 == b.0)
            .filter_map(|of_char| {
                let bits = of_char
                    .chunk_by(|a, b| a.1 == b.1)
                    .filter_map(|of_word| {
                        Some((of_word.first()?.1, of_word.iter().fold(0, |bits, (_, _, bit)| bits | bit)))
                    })
                    .collect();
                Some((of_char.first()?.0, bits))
            })
            .collect();
        Masked { chars: chars.into_boxed_slice(), any: any.into_boxed_slice(), exact, last }
    }

    fn strip_prefix<'v>(&self, value: &'v str) -> Option<&'v str> {
        let mut have = value.chars();
        for want in &self.chars {
            let c = have.next()?;
            if want.is_some_and(|want| want != c) {
                return None;
            }
        }
        Some(have.as_str())
    }

    fn strip_suffix<'v>(&self, value: &'v str) -> Option<&'v str> {
        let mut have = value.chars();
        for want in self.chars.iter().rev() {
            let c = have.next_back()?;
            if want.is_some_and(|want| want != c) {
                return None;
            }
        }
        Some(have.as_str())
    }

    fn find<'v>(&self, value: &'v str, steps: &mut usize) -> Option<&'v str> {
        // No value shorter than the segment can hold it, so the state never has more words than the value has
        // characters by 64.
        if value.len() < self.chars.len() {
            return None;
        }
        let mut stack = [0_u64; STACK_WORDS];
        let mut heap = Vec::new();
        let state = match stack.get_mut(..self.any.len()) {
            Some(state) => state,
            None => {
                heap.resize(self.any.len(), 0_u64);
                heap.as_mut_slice()
            }
        };
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            *steps = steps.saturating_add(state.len());
            if self.step(state, c) {
                return Some(chars.as_str());
            }
        }
        None
    }

    /// Reads one character; true if the segment ends with it.
    fn step(&self, state: &mut [u64], c: char) -> bool {
        let exact = self.exact.binary_search_by_key(&c, |(c, _)| *c).ok().and_then(|at| self.exact.get(at));
        let mut exact = exact.map_or(&[][..], |(_, bits)| &**bits).iter().peekable();
        let mut carry = 1_u64;
        let mut done = 0_u64;
        for (at, (word, any)) in state.iter_mut().zip(&self.any).enumerate() {
            let here = exact.next_if(|(word, _)| *word == at).map_or(0, |(_, bits)| *bits);
            let moved = (*word << 1) | carry;
            carry = *word >> 63;
            *word = moved & (any | here);
            if at == self.last.0 {
                done = *word & self.last.1;
            }
        }
        done != 0
    }
}

/// The part of a pattern before its first wildcard or variable: every value it matches starts with it.
pub(crate) fn literal_head(text: &str) -> &str {
    let ends = once('*').chain(once('?')).chain(once('$'));
    let end = ends.filter_map(|c| text.find(c)).min().unwrap_or(text.len());
    text.get(..end).unwrap_or("")
}

/// How often patterns were compared on this thread, for tests of bounds.
#[cfg(test)]
pub(crate) mod comparisons {
    use std::cell::Cell;

    thread_local! {
        static MADE: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        MADE.set(MADE.get() + 1);
    }

    /// How many `work` makes.
    pub(crate) fn made_by(work: impl FnOnce()) -> usize {
        let before = MADE.get();
        work();
        MADE.get() - before
    }
}
