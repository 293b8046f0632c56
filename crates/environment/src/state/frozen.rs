//! Which idle environments are stopped.
//!
//! What a function has left running (threads, children, timers of a custom runtime) takes processor time from all others
//! while nobody calls it. On AWS an environment stands still between invocations; here it does once it has been idle for
//! a moment, so that one that is called again and again is spared the freezing and thawing.

use super::{EnvironmentId, Key, Machine, Phase};

/// How long an environment must have been idle, milliseconds. A thaw costs an invocation 30 to 100 microseconds, so a
/// function pays that four times a second at most.
const FREEZE_AFTER_MS: u64 = 250;

impl<K: Key> Machine<K> {
    /// Idle environments that are to be stopped from now on, those unused longest first. `may` is asked for each whether it
    /// can be, and given for how long it has been idle, milliseconds.
    ///
    /// They are given out like others, and whoever gets one lets it run first; killed ones must be let die.
    pub fn freeze(&mut self, now_ms: u64, mut may: impl FnMut(EnvironmentId, u64) -> bool) -> Vec<EnvironmentId> {
        let mut idle: Vec<(u64, EnvironmentId)> = self
            .environments
            .iter()
            .filter_map(|(id, environment)| match environment.phase {
                Phase::Idle { since_ms } if since_ms.saturating_add(FREEZE_AFTER_MS) <= now_ms => Some((since_ms, *id)),
                _ => None,
            })
            .collect();
        idle.sort_unstable();
        idle.retain(|(since_ms, id)| may(*id, now_ms.saturating_sub(*since_ms)));
        for (since_ms, id) in &idle {
            if let Some(environment) = self.environments.get_mut(id) {
                environment.phase = Phase::Frozen { since_ms: *since_ms };
            }
        }
        idle.into_iter().map(|(_, id)| id).collect()
    }

    /// Environments that are stopped, or about to be.
    #[must_use]
    pub fn frozen(&self) -> usize {
        self.environments.values().filter(|environment| matches!(environment.phase, Phase::Frozen { .. })).count()
    }
}
