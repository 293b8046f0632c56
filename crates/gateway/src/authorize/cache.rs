//! Authorizer results by identity: kept for their TTL, and one call at a time per identity.
//!
//! Kept is the whole answer, never a verdict. What must forget an answer changes the key: a flush or a deployment
//! raises the stage's epoch, and dead entries age out by weight.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::HashMap;
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{answer::Grant, identity::Identity};
use crate::{Clock, Options, Random, Text, journal::NotInvoked, route::Matched, texts};

/// Why there is no answer. None of these is ever kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The caller gave no identity, or the function said `Unauthorized`.
    Unauthorized,
    /// The function could not be asked, or gave no answer in time.
    NotAsked(Text),
    /// The function was not run, with everything known of why.
    NotInvoked(Text, Box<NotInvoked>),
    /// What it answered is no answer.
    BadAnswer(Text),
}

/// A keyed digest of stage, authorizer and identity. A forged collision would hand out another caller's answer, so
/// the key is secret and the digest cryptographic; tokens themselves do not linger in memory.
pub(super) type Key = u128;

type Outcome = Result<Arc<Grant>, Refusal>;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The function was run for this request.
    Fresh { latency_ms: i64 },
    /// From the cache, where it has lain so long.
    Kept { age_ms: i64 },
    /// From the call of another request with the same identity.
    Coalesced,
}

#[derive(Clone)]
struct Entry {
    grant: Arc<Grant>,
    /// Counted from when it was stored, not from its last use.
    expires_ms: i64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        // What an entry costs besides its answer.
        const ENTRY_BYTES: u64 = 96;
        entry.grant.bytes() as u64 + ENTRY_BYTES
    }
}

/// One call under way.
struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    waiters: AtomicUsize,
}

/// Cached and running authorizer calls of this node.
pub(crate) struct Authorizers {
    secret: [u8; 32],
    cache: Cache<Key, Entry, Bytes, foldhash::fast::RandomState>,
    /// Never held while waiting for anything.
    flights: Mutex<HashMap<Key, Arc<Flight>, foldhash::fast::RandomState>>,
    waiters_max: usize,
}

impl Authorizers {
    pub(crate) fn new(options: &Options, random: &dyn Random) -> Self {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        // A usual entry: its policy of some 300 bytes, compiled.
        let expected = (options.cache_bytes_max / 2_048).max(16);
        let bytes = options.cache_bytes_max as u64;
        Self {
            secret,
            cache: Cache::with(expected, bytes, Bytes, foldhash::fast::RandomState::default(), Default::default()),
            flights: Mutex::default(),
            waiters_max: options.authorizer_waiters_max,
        }
    }

    /// The key of a caller's answer. Every part is preceded by its length, so that no two lists of values run into
    /// one another.
    pub(super) fn key(&self, matched: &Matched, authorizer: &str, identity: &Identity<'_>) -> Key {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(&self.secret);
        part(&matched.slot().to_le_bytes());
        part(&matched.program().epoch().to_le_bytes());
        part(matched.program().deployment_id().as_bytes());
        part(authorizer.as_bytes());
        for values in &identity.values {
            part(&(values.len() as u64).to_le_bytes());
            for value in values {
                part(value.as_bytes());
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        digest.iter().take(16).fold(0, |key, byte| (key << 8) | u128::from(*byte))
    }

    /// The answer under that key: kept, or from a call another request has under way, or by running `run` and keeping
    /// what it answers for `ttl_ms`. With the answer comes which of the three it was.
    ///
    /// # Errors
    /// Whatever `run` refuses, shared by those who waited for it but never kept; [`Refusal::NotAsked`] if too many
    /// wait already.
    pub(super) async fn obtain(
        &self,
        key: Key,
        ttl_ms: i64,
        clock: &dyn Clock,
        run: impl Future<Output = Result<(Arc<Grant>, i64), Refusal>>,
    ) -> Result<(Arc<Grant>, Origin), Refusal> {
        loop {
            if let Some(kept) = self.kept(key, ttl_ms, clock) {
                return Ok(kept);
            }
            let leader = match self.board(key)? {
                Boarded::Leader(leader) => leader,
                Boarded::Waiter(waiter) => match waiter.outcome().await {
                    Some(outcome) => return outcome.map(|grant| (grant, Origin::Coalesced)),
                    // The leader's client went away before the answer came: somebody else has to ask.
                    None => continue,
                },
            };
            // Between the look-up and taking the lead another flight may have landed.
            if let Some((grant, origin)) = self.kept(key, ttl_ms, clock) {
                leader.land(Ok(Arc::clone(&grant)));
                return Ok((grant, origin));
            }
            let outcome = run.await;
            if let Ok((grant, _)) = &outcome {
                let expires_ms = clock.now_ms().saturating_add(ttl_ms);
                self.cache.insert(key, Entry { grant: Arc::clone(grant), expires_ms });
            }
            leader.land(outcome.clone().map(|(grant, _)| grant));
            return outcome.map(|(grant, latency_ms)| (grant, Origin::Fresh { latency_ms }));
        }
    }

    fn kept(&self, key: Key, ttl_ms: i64, clock: &dyn Clock) -> Option<(Arc<Grant>, Origin)> {
        let entry = self.cache.get(&key)?;
        let left_ms = entry.expires_ms.saturating_sub(clock.now_ms());
        (left_ms > 0).then_some((entry.grant, Origin::Kept { age_ms: ttl_ms.saturating_sub(left_ms) }))
    }

    fn board(&self, key: Key) -> Result<Boarded<'_>, Refusal> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(flight) = flights.get(&key) else {
            let (sender, outcome) = watch::channel(None);
            flights.insert(key, Arc::new(Flight { outcome, waiters: AtomicUsize::new(0) }));
            return Ok(Boarded::Leader(Leader { authorizers: self, key, sender }));
        };
        if flight.waiters.load(Ordering::Relaxed) >= self.waiters_max {
            return Err(Refusal::NotAsked(texts::WAITERS_EXCEEDED.into()));
        }
        flight.waiters.fetch_add(1, Ordering::Relaxed);
        Ok(Boarded::Waiter(Waiter { flight: Arc::clone(flight) }))
    }

    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.flights.lock().unwrap().len()
    }
}

enum Boarded<'a> {
    Leader(Leader<'a>),
    Waiter(Waiter),
}

/// Whoever runs the function for all who wait. Dropped without landing, it wakes them empty-handed.
struct Leader<'a> {
    authorizers: &'a Authorizers,
    key: Key,
    sender: watch::Sender<Option<Outcome>>,
}

impl Leader<'_> {
    fn land(self, outcome: Outcome) {
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        // Runs before the sender goes, so that nobody who is woken finds this flight again.
        self.authorizers.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

struct Waiter {
    flight: Arc<Flight>,
}

impl Waiter {
    /// `None` if the leader gave up.
    async fn outcome(self) -> Option<Outcome> {
        let mut outcome = self.flight.outcome.clone();
        outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.flight.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
