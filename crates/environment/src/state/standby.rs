//! Standbys: how many of which class are kept.
//!
//! A class is kept from its first cold start on until none has come for a while. Its target follows the cold starts of
//! the last ten-second windows, smoothed, between one and eight.

use std::collections::BTreeMap;

use super::{AGE_MS_MAX, Class, Effect, Environment, EnvironmentId, Key, Machine, Phase, backoff_ms};

/// Cold starts are counted over this long, milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Standbys of one class.
const TARGET_MAX: u64 = 8;
/// A class without a cold start for this long is given up, milliseconds.
const UNUSED_MS: u64 = 30 * 60 * 1_000;
/// Standbys starting at once: they must not take the processor from those who are waited for.
const BLANKS_MAX: usize = 1;
/// Classes kept track of.
const CLASSES_MAX: usize = 64;

/// What is known of one class.
#[derive(Debug, Default)]
struct Pace {
    /// Oldest first.
    ready: Vec<EnvironmentId>,
    blank: usize,
    /// Smoothed cold starts of a window, thousandths.
    mean_milli: u64,
    window: u64,
    window_count: u64,
    last_ms: u64,
    failures: u32,
    backoff_until_ms: u64,
}

impl Pace {
    /// Moves on to the window of `now_ms`.
    fn roll(&mut self, now_ms: u64) {
        let window = now_ms / WINDOW_MS;
        // After a few empty windows nothing is left of the mean.
        for _ in 0..window.saturating_sub(self.window).min(20) {
            self.mean_milli = (self.mean_milli * 7 + std::mem::take(&mut self.window_count) * 3_000) / 10;
        }
        self.window = self.window.max(window);
    }

    fn target(&self) -> usize {
        usize::try_from(self.mean_milli.div_ceil(1_000).max(self.window_count).clamp(1, TARGET_MAX)).unwrap_or(1)
    }
}

/// Standbys of all classes.
#[derive(Debug)]
pub(super) struct Standbys {
    max: usize,
    classes: BTreeMap<Class, Pace>,
}

impl Standbys {
    pub(super) fn new(max: usize) -> Standbys {
        Standbys { max, classes: BTreeMap::new() }
    }

    pub(super) fn ready(&self) -> usize {
        self.classes.values().map(|pace| pace.ready.len()).sum()
    }

    pub(super) fn blank(&self) -> usize {
        self.classes.values().map(|pace| pace.blank).sum()
    }

    pub(super) fn ready_of(&self, class: Class) -> usize {
        self.classes.get(&class).map_or(0, |pace| pace.ready.len())
    }

    /// A cold start of this class happens.
    pub(super) fn cold_start(&mut self, class: Class, now_ms: u64) {
        if self.max == 0 || (self.classes.len() >= CLASSES_MAX && !self.classes.contains_key(&class)) {
            return;
        }
        let pace = self.classes.entry(class).or_default();
        pace.roll(now_ms);
        pace.window_count = pace.window_count.saturating_add(1);
        pace.last_ms = now_ms;
    }

    /// The newest standby of a class, which stops being one.
    pub(super) fn take(&mut self, class: Class) -> Option<EnvironmentId> {
        self.classes.get_mut(&class)?.ready.pop()
    }

    pub(super) fn add(&mut self, class: Class, id: EnvironmentId) {
        let pace = self.classes.entry(class).or_default();
        pace.blank = pace.blank.saturating_sub(1);
        pace.failures = 0;
        pace.ready.push(id);
    }

    /// A standby is killed.
    pub(super) fn gone(&mut self, class: Class, id: EnvironmentId) {
        if let Some(pace) = self.classes.get_mut(&class) {
            pace.ready.retain(|ready| *ready != id);
        }
    }

    /// A start of a standby is given up.
    pub(super) fn unborn(&mut self, class: Class) {
        if let Some(pace) = self.classes.get_mut(&class) {
            pace.blank = pace.blank.saturating_sub(1);
        }
    }

    /// A standby could not be started, or was of no use; the next one waits.
    pub(super) fn failed(&mut self, class: Class, now_ms: u64) {
        if let Some(pace) = self.classes.get_mut(&class) {
            pace.backoff_until_ms = now_ms.saturating_add(backoff_ms(pace.failures));
            pace.failures = pace.failures.saturating_add(1);
        }
    }

    /// Any standby, the one of the class that has most of them.
    pub(super) fn spare(&self) -> Option<EnvironmentId> {
        let (_, pace) = self.classes.iter().max_by_key(|(_, pace)| pace.ready.len())?;
        pace.ready.first().copied()
    }

    /// A class that has fewer than it should, and counts the one that is now to be started.
    fn short(&mut self, now_ms: u64) -> Option<Class> {
        if self.blank() >= BLANKS_MAX || self.blank() + self.ready() >= self.max {
            return None;
        }
        let (class, pace) = self.classes.iter_mut().find(|(_, pace)| {
            pace.ready.len() + pace.blank < pace.target()
                && pace.backoff_until_ms <= now_ms
                && pace.last_ms.saturating_add(UNUSED_MS) > now_ms
        })?;
        pace.blank += 1;
        Some(*class)
    }

    /// Standbys beyond what their class needs now, oldest first; classes out of use are forgotten.
    fn surplus(&mut self, now_ms: u64) -> Vec<EnvironmentId> {
        let mut surplus = Vec::new();
        self.classes.retain(|_, pace| {
            pace.roll(now_ms);
            let used = pace.last_ms.saturating_add(UNUSED_MS) > now_ms;
            let kept = if used { pace.target() } else { 0 };
            surplus.extend(pace.ready.iter().take(pace.ready.len().saturating_sub(kept)));
            used || pace.blank > 0 || !pace.ready.is_empty()
        });
        surplus
    }
}

impl<K: Key> Machine<K> {
    /// A standby runs and waits for a function.
    pub fn standby_ready(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get_mut(&id) else { return };
        let (Phase::Blank, Some(class)) = (environment.phase, environment.class) else { return };
        if self.closed {
            return self.kill(id, effects);
        }
        environment.phase = Phase::Standby { since_ms: now_ms };
        self.standbys.add(class, id);
        self.schedule(now_ms, effects);
    }

    /// A standby could not be started.
    pub fn standby_failed(&mut self, id: EnvironmentId, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let Some(environment) = self.environments.get(&id) else { return };
        let (Phase::Blank, Some(class)) = (environment.phase, environment.class) else { return };
        self.standbys.failed(class, now_ms);
        self.kill(id, effects);
        self.schedule(now_ms, effects);
    }

    /// Memory is short: kills up to `count` of what is unused, standbys first, then idle ones, longest unused first.
    /// What is provisioned stays.
    pub fn relieve(&mut self, count: usize, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        for _ in 0..count {
            let Some(id) = self.standbys.spare().or_else(|| self.least_recently_used(|_| true)) else { break };
            self.kill(id, effects);
        }
        // Not at once again, or what was freed would be taken by new standbys.
        self.standbys.classes.values_mut().for_each(|pace| {
            pace.backoff_until_ms = pace.backoff_until_ms.max(now_ms.saturating_add(WINDOW_MS));
        });
    }

    pub(super) fn reap_standbys(&mut self, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        let old = |environment: &Environment<K>| match environment.phase {
            Phase::Standby { since_ms } => since_ms.saturating_add(AGE_MS_MAX) <= now_ms,
            _ => false,
        };
        let mut gone = self.standbys.surplus(now_ms);
        gone.extend(self.environments.iter().filter(|(_, environment)| old(environment)).map(|(id, _)| *id));
        gone.into_iter().for_each(|id| self.kill(id, effects));
    }

    /// Starts standbys that are missing, unless anybody waits or anything else is starting.
    pub(super) fn refill(&mut self, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        while self.waiting.is_empty()
            && self.starting == 0
            && self.environments.len() < self.limits.processes_max
            && let Some(class) = self.standbys.short(now_ms)
        {
            let id = self.insert(None, Some(class), Phase::Blank, false);
            effects.push(Effect::Standby(id, class));
        }
    }
}
