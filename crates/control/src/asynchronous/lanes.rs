//! Whose turn it is: which functions may begin how many of their waiting events, so that nobody's flood starves another.
//!
//! Slots are few, events many. Turns go round over accounts, and within an account over its functions. What one account
//! holds must stay below what is free: a flood of one takes half of all slots, a second half of the rest, and somebody is
//! always left room. The same holds of a function within what its account leaves free.

use std::collections::{BTreeMap, BTreeSet};

use store::queue::Lane;

/// The turns of one queue.
pub(crate) struct Lanes {
    slots: usize,
    held: usize,
    accounts: BTreeMap<String, Account>,
    last: Option<String>,
}

#[derive(Default)]
struct Account {
    held: usize,
    /// By region and function.
    lanes: BTreeMap<(String, String), State>,
    last: Option<(String, String)>,
}

#[derive(Default)]
struct State {
    /// When the first message not held is due, as far as is known.
    due_ms: Option<i64>,
    /// Messages that are being worked on.
    held: BTreeSet<u64>,
    /// No turn before this.
    paused_until_ms: i64,
    /// How often something arrived: tells a read whether it is still the newest knowledge.
    arrivals: u64,
}

/// Leave to begin so many messages of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub lane: Lane,
    pub count: usize,
    /// Messages of the lane to be passed over: they are being worked on.
    pub held: BTreeSet<u64>,
    arrivals: u64,
}

fn place(lane: &Lane) -> (String, String) {
    (lane.region.clone(), lane.name.clone())
}

impl Lanes {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, held: 0, accounts: BTreeMap::new(), last: None }
    }

    /// A message that is due then has come to this lane.
    pub(crate) fn arrived(&mut self, lane: &Lane, due_ms: i64) {
        let account = self.accounts.entry(lane.account.clone()).or_default();
        let state = account.lanes.entry(place(lane)).or_default();
        state.due_ms = Some(state.due_ms.map_or(due_ms, |known| known.min(due_ms)));
        state.arrivals = state.arrivals.wrapping_add(1);
    }

    /// Who may begin now. `limit` is what a function may hold at most.
    pub(crate) fn plan(&self, now_ms: i64, limit: impl Fn(&Lane) -> Option<usize>) -> Vec<Grant> {
        let mut free = self.slots.saturating_sub(self.held);
        let mut accounts: Vec<Turn<'_>> = self.turns(now_ms, &limit);
        let mut progress = true;
        while free > 0 && progress {
            progress = false;
            for turn in &mut accounts {
                if free > 0 && turn.held < free && turn.grant(free) {
                    free = free.saturating_sub(1);
                    progress = true;
                }
            }
        }
        accounts.into_iter().flat_map(Turn::grants).collect()
    }

    /// The accounts with something ready, from the one after the last served.
    fn turns(&self, now_ms: i64, limit: &impl Fn(&Lane) -> Option<usize>) -> Vec<Turn<'_>> {
        let after = |name: &str| self.last.as_deref().is_some_and(|last| name > last);
        let (late, early): (Vec<_>, Vec<_>) = self.accounts.iter().partition(|(name, _)| after(name));
        let turns = late.into_iter().chain(early);
        turns
            .map(|(name, account)| Turn { held: account.held, ready: account.ready(name, now_ms, limit), at: 0 })
            .filter(|turn| !turn.ready.is_empty())
            .collect()
    }

    /// What a grant came to: the messages begun, and when the next is due as the same read saw it.
    pub(crate) fn began(&mut self, grant: &Grant, begun: &[u64], next_due_ms: Option<i64>) {
        let Some(account) = self.accounts.get_mut(&grant.lane.account) else { return };
        let place = place(&grant.lane);
        if let Some(state) = account.lanes.get_mut(&place) {
            let fresh = begun.iter().filter(|sequence| state.held.insert(**sequence)).count();
            // What arrived since may not have been seen: the earlier of both is never too late.
            state.due_ms = match (state.arrivals == grant.arrivals, state.due_ms, next_due_ms) {
                (true, _, next) => next,
                (false, Some(known), Some(next)) => Some(known.min(next)),
                (false, known, next) => known.or(next),
            };
            account.held = account.held.saturating_add(fresh);
            self.held = self.held.saturating_add(fresh);
        }
        account.last = Some(place);
        self.last = Some(grant.lane.account.clone());
        self.forget(&grant.lane);
    }

    /// The work on a message is over: it is gone, or waits again until `due_ms`.
    pub(crate) fn ended(&mut self, lane: &Lane, sequence: u64, due_ms: Option<i64>) {
        if let Some(account) = self.accounts.get_mut(&lane.account)
            && let Some(state) = account.lanes.get_mut(&place(lane))
            && state.held.remove(&sequence)
        {
            account.held = account.held.saturating_sub(1);
            self.held = self.held.saturating_sub(1);
        }
        match due_ms {
            Some(due_ms) => self.arrived(lane, due_ms),
            None => self.forget(lane),
        }
    }

    /// Gives a lane no turn before then.
    pub(crate) fn pause(&mut self, lane: &Lane, until_ms: i64) {
        if let Some(state) = self.accounts.get_mut(&lane.account).and_then(|a| a.lanes.get_mut(&place(lane))) {
            state.paused_until_ms = state.paused_until_ms.max(until_ms);
        }
    }

    /// When the next lane may have its turn that has none now, if nothing else happens.
    pub(crate) fn next_ms(&self, now_ms: i64) -> Option<i64> {
        let lanes = self.accounts.values().flat_map(|account| account.lanes.values());
        lanes.filter_map(|state| Some(state.due_ms?.max(state.paused_until_ms))).filter(|ms| *ms > now_ms).min()
    }

    fn forget(&mut self, lane: &Lane) {
        let Some(account) = self.accounts.get_mut(&lane.account) else { return };
        let place = place(lane);
        if account.lanes.get(&place).is_some_and(|state| state.due_ms.is_none() && state.held.is_empty()) {
            account.lanes.remove(&place);
        }
        if account.lanes.is_empty() {
            self.accounts.remove(&lane.account);
        }
    }
}

impl Account {
    fn ready<'a>(&'a self, name: &str, now_ms: i64, limit: &impl Fn(&Lane) -> Option<usize>) -> Vec<Candidate<'a>> {
        let is_ready = |state: &State| state.due_ms.is_some_and(|due| due <= now_ms) && state.paused_until_ms <= now_ms;
        let after = |place: &(String, String)| self.last.as_ref().is_some_and(|last| place > last);
        let (late, early): (Vec<_>, Vec<_>) =
            self.lanes.iter().filter(|(_, state)| is_ready(state)).partition(|(place, _)| after(place));
        let all = late.into_iter().chain(early);
        all.map(|((region, function), state)| {
            let lane = Lane { account: name.to_owned(), region: region.clone(), name: function.clone() };
            let limit = limit(&lane).unwrap_or(usize::MAX);
            Candidate { lane, state, limit, granted: 0 }
        })
        .collect()
    }
}

/// One account's part in a plan.
struct Turn<'a> {
    /// What the account holds, grants of this plan included.
    held: usize,
    ready: Vec<Candidate<'a>>,
    at: usize,
}

struct Candidate<'a> {
    lane: Lane,
    state: &'a State,
    limit: usize,
    granted: usize,
}

impl Turn<'_> {
    /// Grants one message to the next function that may have it.
    fn grant(&mut self, free: usize) -> bool {
        let room = free.saturating_sub(self.held);
        for _ in 0..self.ready.len() {
            let at = self.at;
            self.at = (at + 1) % self.ready.len();
            if let Some(candidate) = self.ready.get_mut(at) {
                let held = candidate.state.held.len().saturating_add(candidate.granted);
                if held < candidate.limit && held < room {
                    candidate.granted = candidate.granted.saturating_add(1);
                    self.held = self.held.saturating_add(1);
                    return true;
                }
            }
        }
        false
    }

    fn grants(self) -> impl Iterator<Item = Grant> {
        self.ready.into_iter().filter(|candidate| candidate.granted > 0).map(|candidate| Grant {
            lane: candidate.lane,
            count: candidate.granted,
            held: candidate.state.held.clone(),
            arrivals: candidate.state.arrivals,
        })
    }
}

#[cfg(test)]
mod tests;
