//! The newest decisions of this node, by id, in bounded memory.

use std::{
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The name of a decision: which ring it lies in, and its place there. Not a secret; who may read one is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionId {
    /// Tells rings apart, those of earlier starts of a server included.
    tag: u32,
    sequence: u64,
}

impl DecisionId {
    /// Characters of an id: 8 hexadecimal digits of the ring's tag and 12 of the place.
    const CHARS: usize = 20;

    /// Reads an id as [`fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| u64::from_str_radix(text, 16).ok();
        if text.len() != Self::CHARS || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        {
            return None;
        }
        let (tag, sequence) = text.split_at(8);
        Some(Self { tag: u32::try_from(digits(tag)?).ok()?, sequence: digits(sequence)? })
    }
}

impl DecisionId {
    /// The id's digits. Every answer carries one, so they are written without the machinery of formatting.
    fn digits(self) -> [u8; Self::CHARS] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'0'; Self::CHARS];
        let (head, tail) = text.split_at_mut(8);
        let write = |places: &mut [u8], mut rest: u64| {
            for place in places.iter_mut().rev() {
                *place = DIGITS[usize::try_from(rest & 0xf).unwrap_or_default()];
                rest >>= 4;
            }
        };
        write(head, u64::from(self.tag));
        write(tail, self.sequence);
        text
    }

    /// The id as text.
    #[must_use]
    pub fn text(self) -> String {
        String::from_utf8(self.digits().to_vec()).unwrap_or_default()
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

/// A place of the ring: the sequence of the value that lies there, and the value. It lies in the place itself: behind a
/// pointer, each request would pay for an allocation and for memory long out of the caches.
type Slot<T> = Mutex<Option<(u64, T)>>;

/// Places that are made together.
type Chunk<T> = OnceLock<Box<[Slot<T>]>>;

/// Keeps the newest values. Writers of different places do not meet.
pub struct Ring<T> {
    tag: u32,
    next: AtomicU64,
    capacity: u64,
    /// Places by the thousand, made when first needed: a server nobody has called yet spends no memory on them.
    chunks: Box<[Chunk<T>]>,
}

const CHUNK: u64 = 1_024;

impl<T: Clone> Ring<T> {
    /// A ring for `capacity` values, at least one; `tag` should be drawn at random.
    #[must_use]
    pub fn new(capacity: usize, tag: u32) -> Self {
        let capacity = u64::try_from(capacity).unwrap_or(u64::MAX).max(1);
        let chunks = (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect();
        Self { tag, next: AtomicU64::new(1), capacity, chunks }
    }

    /// Keeps a value in place of the oldest, and names it.
    pub fn keep(&self, value: T) -> DecisionId {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.slot(sequence) {
            let value = Some((sequence, value));
            let before = std::mem::replace(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner), value);
            drop(before);
        }
        DecisionId { tag: self.tag, sequence }
    }

    /// The value of that name, if it is kept still.
    #[must_use]
    pub fn get(&self, id: DecisionId) -> Option<T> {
        if id.tag != self.tag {
            return None;
        }
        let slot = self.slot(id.sequence)?.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().filter(|(sequence, _)| *sequence == id.sequence).map(|(_, value)| value.clone())
    }

    fn slot(&self, sequence: u64) -> Option<&Slot<T>> {
        let place = sequence % self.capacity;
        let chunk = self.chunks.get(usize::try_from(place / CHUNK).ok()?)?;
        let slots = chunk.get_or_init(|| {
            let length = CHUNK.min(self.capacity - place / CHUNK * CHUNK);
            (0..length).map(|_| Mutex::default()).collect()
        });
        slots.get(usize::try_from(place % CHUNK).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{DecisionId, Ring};

    #[test]
    fn the_newest_values_are_found_by_their_ids_and_no_other_rings() {
        let (ring, other) = (Ring::new(2, 7), Ring::new(2, 8));
        let ids: Vec<DecisionId> = (0..3).map(|value| ring.keep(value)).collect();
        assert_eq!(ring.get(ids[0]), None, "the oldest made room");
        assert_eq!(ring.get(ids[1]), Some(1));
        assert_eq!(ring.get(ids[2]), Some(2));
        other.keep(9);
        other.keep(9);
        assert_eq!(other.get(ids[1]), None);
    }

    #[test]
    fn a_ring_of_any_size_keeps_so_many() {
        for capacity in [1, 1_023, 1_024, 1_025, 3_000] {
            let ring = Ring::new(capacity, 1);
            let ids: Vec<DecisionId> = (0..capacity + 5).map(|value| ring.keep(value)).collect();
            let kept: Vec<usize> = ids.iter().filter_map(|id| ring.get(*id)).collect();
            assert_eq!(kept, (5..capacity + 5).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = Ring::new(1, 0xdead_beef).keep(());
        assert_eq!(id.to_string(), "deadbeef000000000001");
        assert_eq!(DecisionId::parse(&id.to_string()), Some(id));
        for text in ["", "deadbeef", "DEADBEEF000000000001", "deadbeef00000000000g", "deadbeef0000000000011", "é"] {
            assert_eq!(DecisionId::parse(text), None, "{text}");
        }
    }
}
