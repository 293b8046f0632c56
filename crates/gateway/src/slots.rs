//! What is served: packed API ids to stages, each stage a slot whose program is swapped whole.
//!
//! Readers take no lock. A new deployment swaps one pointer; a new stage copies the few stages of its API; only a new
//! API copies the index of ids.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use crate::program::Program;

/// An API id of at most 24 characters `[a-z0-9-]`, packed; letters compare without case. AWS draws ten characters;
/// longer ones and hyphens come from the tag `_custom_id_`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PackedId(u128);

impl PackedId {
    const LENGTH_MAX: usize = 24;

    /// Packs an id; `None` if it cannot be one.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        if id.is_empty() || id.len() > Self::LENGTH_MAX {
            return None;
        }
        // Digits 1-37 to base 38: 38^24 < 2^127, and no id is a prefix of zeros of another.
        id.bytes()
            .try_fold(0_u128, |packed, byte| {
                let digit = match byte.to_ascii_lowercase() {
                    byte @ b'0'..=b'9' => byte - b'0' + 1,
                    byte @ b'a'..=b'z' => byte - b'a' + 11,
                    b'-' => 37,
                    _ => return None,
                };
                Some(packed * 38 + u128::from(digit))
            })
            .map(Self)
    }
}

impl fmt::Display for PackedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; Self::LENGTH_MAX];
        let (mut rest, mut at) = (self.0, Self::LENGTH_MAX);
        while rest > 0 && at > 0 {
            at -= 1;
            let digit = u8::try_from(rest % 38).unwrap_or_default();
            digits[at] = match digit {
                37 => b'-',
                11.. => b'a' + digit - 11,
                _ => b'0' + digit.saturating_sub(1),
            };
            rest /= 38;
        }
        f.write_str(std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

impl fmt::Debug for PackedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One stage of one API for as long as it exists.
pub(crate) struct Slot {
    /// Never given twice, so that a stage made again under its old name finds nothing cached for the old one.
    id: u64,
    stage: Box<str>,
    program: ArcSwap<Program>,
}

/// A program together with the slot it was found in.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) slot: u64,
    pub(crate) program: Arc<Program>,
}

type Stages = Vec<Arc<Slot>>;
type Index = HashMap<PackedId, Arc<ArcSwap<Stages>>, foldhash::fast::RandomState>;

/// All slots of this node.
#[derive(Default)]
pub(crate) struct Slots {
    index: ArcSwap<Index>,
    /// Held by whoever changes the index or an API's stages; never while waiting for anything.
    writing: Mutex<()>,
    next: AtomicU64,
}

impl Slots {
    /// The program served for that API and stage.
    pub(crate) fn find(&self, api: PackedId, stage: &str) -> Option<Served> {
        let index = self.index.load();
        let stages = index.get(&api)?.load();
        let slot = stages.iter().find(|slot| slot.stage.as_ref() == stage)?;
        Some(Served { slot: slot.id, program: slot.program.load_full() })
    }

    pub(crate) fn publish(&self, program: Program) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (api, program) = (program.api(), Arc::new(program));
        let index = self.index.load();
        let Some(stages) = index.get(&api) else {
            let mut grown = Index::clone(&index);
            let slot = self.slot(program);
            grown.insert(api, Arc::new(ArcSwap::from_pointee(vec![slot])));
            self.index.store(Arc::new(grown));
            return;
        };
        let known = stages.load();
        if let Some(slot) = known.iter().find(|slot| slot.stage.as_ref() == program.stage()) {
            slot.program.store(program);
        } else {
            let mut grown = Stages::clone(&known);
            grown.push(self.slot(program));
            stages.store(Arc::new(grown));
        }
    }

    /// Stops serving a stage; with its last stage an API is forgotten.
    pub(crate) fn unpublish(&self, api_id: &str, stage: &str) {
        self.keep(api_id, |slot| slot.stage.as_ref() != stage);
    }

    pub(crate) fn unpublish_api(&self, api_id: &str) {
        self.keep(api_id, |_| false);
    }

    /// Everything served at this moment, in no order.
    pub(crate) fn programs(&self) -> Vec<Arc<Program>> {
        let index = self.index.load();
        let stages = index.values().map(|stages| stages.load_full());
        stages.flat_map(|stages| stages.iter().map(|slot| slot.program.load_full()).collect::<Vec<_>>()).collect()
    }

    /// How many stages are served.
    pub(crate) fn count(&self) -> usize {
        self.index.load().values().map(|stages| stages.load().len()).sum()
    }

    fn keep(&self, api_id: &str, wanted: impl Fn(&Slot) -> bool) {
        let Some(api) = PackedId::parse(api_id) else { return };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.index.load();
        let Some(stages) = index.get(&api) else { return };
        let mut left = Stages::clone(&stages.load());
        left.retain(|slot| wanted(slot));
        if left.is_empty() {
            let mut shrunk = Index::clone(&index);
            shrunk.remove(&api);
            self.index.store(Arc::new(shrunk));
        } else {
            stages.store(Arc::new(left));
        }
    }

    fn slot(&self, program: Arc<Program>) -> Arc<Slot> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::new(Slot { id, stage: program.stage().into(), program: ArcSwap::new(program) })
    }
}

#[cfg(test)]
mod tests {
    use super::PackedId;

    #[test]
    fn ids_pack_and_print_back() {
        for id in [
            "a1b2c3d4e5",
            "0000000000",
            "zzzzzzzzzz",
            "0",
            "00",
            "my-own-api",
            "zzzzzzzzzzzzzzzzzzzzzzzz",
            "------------------------",
        ] {
            assert_eq!(PackedId::parse(id).map(|id| id.to_string()).as_deref(), Some(id));
        }
        assert_eq!(PackedId::parse("A1B2"), PackedId::parse("a1b2"));
        assert_ne!(PackedId::parse("0"), PackedId::parse("00"));
        for odd in ["", "a_b", "\u{e4}bc", "zzzzzzzzzzzzzzzzzzzzzzzzz"] {
            assert_eq!(PackedId::parse(odd), None, "{odd}");
        }
    }
}
