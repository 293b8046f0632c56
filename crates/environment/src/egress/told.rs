//! Which refusals the server's log tells: a function decides how often it is refused, and where it would go.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Owner;

/// How long one place of one function is told once.
const WINDOW: Duration = Duration::from_secs(60);
/// Places of one function that are told within a window.
const PLACES_MAX: usize = 16;
/// Functions that are kept in mind.
const FUNCTIONS_MAX: usize = 4_096;

/// Lets one line a minute through for each place of each function, and counts the rest.
#[derive(Default)]
pub(super) struct Told {
    functions: Mutex<HashMap<(String, String), Function>>,
}

#[derive(Default)]
struct Function {
    places: HashMap<(String, u16), Line>,
    /// Kept back of places that are not kept in mind (any more).
    others: u64,
}

struct Line {
    at: Instant,
    kept_back: u64,
}

impl Line {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < WINDOW
    }
}

/// What was not told since the line before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptBack {
    /// Of the same place.
    pub same: u64,
    /// Of places of the same function that were too many to tell, or that it has left alone since.
    pub others: u64,
}

impl Told {
    /// Whether a line may be written, and what was kept back before it.
    pub(super) fn turn(&self, owner: &Owner, host: &str, port: u16, now: Instant) -> Option<KeptBack> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner.account.clone(), owner.function.clone());
        if functions.len() >= FUNCTIONS_MAX && !functions.contains_key(&key) {
            functions.retain(|_, function| function.places.values().any(|line| line.is_recent(now)));
            if functions.len() >= FUNCTIONS_MAX {
                return None;
            }
        }
        functions.entry(key).or_default().turn((host.to_owned(), port), now)
    }
}

impl Function {
    fn turn(&mut self, place: (String, u16), now: Instant) -> Option<KeptBack> {
        if let Some(line) = self.places.get_mut(&place) {
            if line.is_recent(now) {
                line.kept_back = line.kept_back.saturating_add(1);
                return None;
            }
            let same = std::mem::take(&mut line.kept_back);
            line.at = now;
            return Some(KeptBack { same, others: std::mem::take(&mut self.others) });
        }
        if self.places.len() >= PLACES_MAX {
            let others = &mut self.others;
            self.places.retain(|_, line| {
                let is_recent = line.is_recent(now);
                *others = others.saturating_add(if is_recent { 0 } else { line.kept_back });
                is_recent
            });
        }
        if self.places.len() >= PLACES_MAX {
            self.others = self.others.saturating_add(1);
            return None;
        }
        self.places.insert(place, Line { at: now, kept_back: 0 });
        Some(KeptBack { same: 0, others: std::mem::take(&mut self.others) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(function: &str) -> Owner {
        Owner { account: "111111111111".to_owned(), function: function.to_owned() }
    }

    #[test]
    fn each_place_of_a_function_is_told_once_a_window_with_what_was_kept_back_of_it() {
        let (told, start) = (Told::default(), Instant::now());
        let told_first = Some(KeptBack { same: 0, others: 0 });
        for (function, host, port) in [("f", "a", 1), ("f", "b", 1), ("f", "a", 2), ("g", "a", 1)] {
            assert_eq!(told.turn(&owner(function), host, port, start), told_first, "{function} {host}:{port}");
        }
        assert!((0..7).all(|_| told.turn(&owner("f"), "a", 1, start).is_none()));
        assert_eq!(told.turn(&owner("f"), "b", 1, start + WINDOW), told_first);
        assert_eq!(told.turn(&owner("f"), "a", 1, start + WINDOW), Some(KeptBack { same: 7, others: 0 }));
        assert_eq!(told.turn(&owner("f"), "a", 1, start + WINDOW), None);
    }

    #[test]
    fn many_places_are_counted_together_and_what_is_kept_in_mind_is_bounded() {
        let (told, start) = (Told::default(), Instant::now());
        let lines = (0..1_000).filter(|n| told.turn(&owner("f"), &format!("h{n}"), 1, start).is_some()).count();
        assert_eq!(lines, PLACES_MAX);
        assert_eq!(told.turn(&owner("f"), "h0", 1, start), None);
        let others = 1_000 - u64::try_from(PLACES_MAX).unwrap();
        let later = told.turn(&owner("f"), "new", 1, start + WINDOW);
        assert_eq!(later, Some(KeptBack { same: 0, others: others + 1 }), "the one of h0 counts too");
        for n in 0..2 * FUNCTIONS_MAX {
            told.turn(&owner(&format!("f{n}")), "h", 1, start + WINDOW);
        }
        assert!(told.functions.lock().unwrap().len() <= FUNCTIONS_MAX);
        assert!(told.turn(&owner("late"), "h", 1, start + WINDOW).is_none());
        assert!(told.turn(&owner("late"), "h", 1, start + 3 * WINDOW).is_some());
    }
}
