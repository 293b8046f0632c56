//! What changes by time alone.

use super::{Effect, EnvironmentId, Key, Machine};

/// An environment that was kept ready serves this long after another has been started in its place, milliseconds.
pub(super) const RENEWAL_MS: u64 = 60 * 1_000;
/// How long a start counts as one, milliseconds. Most take less; what is longer at it runs its own code, and may do so for as long
/// as its function may run.
pub(super) const START_MS_MAX: u64 = 1_000;
/// Remembered failure counts of keys without environments; beyond it they are forgotten.
const POOLS_MAX: usize = 10_000;

impl<K: Key> Machine<K> {
    /// Kills what has been unused too long or is too old. What is kept ready is replaced before it goes.
    pub fn reap(&mut self, now_ms: u64, effects: &mut Vec<Effect<K>>) {
        self.renew(now_ms);
        self.end_long_starts(now_ms);
        let ttl_ms = self.limits.idle_ttl_ms;
        let gone: Vec<EnvironmentId> = self
            .environments
            .iter()
            .filter(|(_, environment)| {
                environment.phase.idle_since_ms().is_some_and(|since_ms| {
                    environment.expires_ms <= now_ms
                        || (!environment.provisioned && since_ms.saturating_add(ttl_ms) <= now_ms)
                })
            })
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.kill(id, effects));
        self.reap_standbys(now_ms, effects);
        if self.pools.len() > POOLS_MAX {
            self.pools.retain(|_, pool| pool.in_use());
        }
        self.schedule(now_ms, effects);
    }

    /// An environment begins to start: it holds one of the starts.
    pub(super) fn hold_start(&mut self, id: EnvironmentId, now_ms: u64) {
        if let Some(environment) = self.environments.get_mut(&id) {
            environment.begun_ms = Some(now_ms);
            self.starting = self.starting.saturating_add(1);
        }
    }

    /// It starts no more, however that ended; one that took long holds none by then.
    pub(super) fn give_start_back(&mut self, id: EnvironmentId) {
        let held = self.environments.get_mut(&id).and_then(|environment| environment.begun_ms.take()).is_some();
        self.starting = self.starting.saturating_sub(usize::from(held));
    }

    /// Lets others start beside those that have taken long.
    fn end_long_starts(&mut self, now_ms: u64) {
        for environment in self.environments.values_mut() {
            if environment.begun_ms.is_some_and(|begun_ms| begun_ms.saturating_add(START_MS_MAX) <= now_ms) {
                environment.begun_ms = None;
                self.starting = self.starting.saturating_sub(1);
            }
        }
    }

    /// Has others started in the place of those that are kept ready and too old, which serve for a while yet.
    fn renew(&mut self, now_ms: u64) {
        for environment in self.environments.values_mut() {
            let Some(key) = &environment.key else { continue };
            if !environment.provisioned || !environment.is_idle() || environment.expires_ms > now_ms {
                continue;
            }
            environment.provisioned = false;
            environment.expires_ms = now_ms.saturating_add(RENEWAL_MS);
            let (Some(pool), Some(account)) = (self.pools.get_mut(key), self.accounts.get_mut(key.account())) else {
                continue;
            };
            pool.held = pool.held.saturating_sub(1);
            account.held = account.held.saturating_sub(1);
            if !self.short.contains(key) {
                self.short.push(key.clone());
            }
        }
    }
}
