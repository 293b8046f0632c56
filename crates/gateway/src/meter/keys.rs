//! The API keys of this installation, by account and region, with what each has used of its plans.

use std::sync::{Arc, Mutex, PoisonError};

use apigateway::usage_plan::{KeyInUse, PlanInUse};
use arc_swap::ArcSwap;
use hashbrown::HashMap;
use service::Timestamp;
use sha2::{Digest, Sha256};

use super::Bucket;
use crate::program::Program;

/// Why a key admits nobody; with it the key's id, where there is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    NotSent,
    Unknown,
    Disabled(Box<str>),
    NotInPlan(Box<str>),
    Throttled(Box<str>),
    OverQuota(Box<str>),
}

/// Owner and region.
type Place = (Box<str>, Box<str>);

/// Every key, swapped whole per account and region.
#[derive(Default)]
pub(crate) struct Keys {
    rings: ArcSwap<HashMap<Place, Arc<KeyRing>>>,
    /// Held by whoever changes the rings; never while waiting for anything.
    writing: Mutex<()>,
}

/// The keys of one account in one region. A key is found by the digest of its value, so that the time a look-up takes
/// tells nothing of other values.
#[derive(Default)]
struct KeyRing {
    by_digest: HashMap<[u8; 32], Key>,
    /// What each key has counted against each plan it ever was in, so that leaving a plan and coming back begins no new
    /// quota. Gone with the key.
    counted: HashMap<Membership, Arc<Mutex<Quota>>>,
}

/// A key's id and a plan's.
type Membership = (Box<str>, Box<str>);

struct Key {
    id: Box<str>,
    enabled: bool,
    plans: Vec<Plan>,
}

struct Plan {
    record: PlanInUse,
    usage: Arc<Usage>,
}

/// What one key has used of one plan.
struct Usage {
    bucket: Option<Bucket>,
    quota: Arc<Mutex<Quota>>,
}

#[derive(Default)]
struct Quota {
    /// Which day, week or month is counted.
    window: i64,
    used: i64,
}

impl Keys {
    /// Replaces the keys of an account and region. What they used so far goes on counting where a plan's throttle is
    /// the same.
    pub(crate) fn publish(&self, account: &str, region: &str, keys: Vec<KeyInUse>) {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let place: Place = (account.into(), region.into());
        let mut rings = HashMap::clone(&self.rings.load());
        let before = rings.get(&place).map(Arc::clone).unwrap_or_default();
        let mut used: HashMap<(&str, &str), &Plan> = HashMap::new();
        for key in before.by_digest.values() {
            used.extend(key.plans.iter().map(|plan| ((key.id.as_ref(), plan.record.plan_id.as_str()), plan)));
        }
        let kept: hashbrown::HashSet<&str> = keys.iter().map(|key| key.key_id.as_str()).collect();
        let mut counted: HashMap<Membership, Arc<Mutex<Quota>>> = before
            .counted
            .iter()
            .filter(|((key, _), _)| kept.contains(key.as_ref()))
            .map(|(membership, quota)| (membership.clone(), Arc::clone(quota)))
            .collect();
        drop(kept);
        let mut by_digest = HashMap::new();
        for key in keys {
            let digest = digest(&key.value);
            let plans = key.plans.into_iter().map(|record| {
                let known = used.get(&(key.key_id.as_str(), record.plan_id.as_str()));
                let usage = match known.filter(|plan| plan.record.throttle == record.throttle) {
                    Some(plan) => Arc::clone(&plan.usage),
                    None => {
                        let membership = (key.key_id.as_str().into(), record.plan_id.as_str().into());
                        let quota = counted.entry(membership).or_insert_with(|| Quota::of(&record));
                        Arc::new(Usage::new(&record, Arc::clone(quota)))
                    }
                };
                Plan { record, usage }
            });
            let key = Key { id: key.key_id.as_str().into(), enabled: key.enabled, plans: plans.collect() };
            by_digest.insert(digest, key);
        }
        let ring = KeyRing { by_digest, counted };
        if ring.by_digest.is_empty() {
            rings.remove(&place);
        } else {
            rings.insert(place, Arc::new(ring));
        }
        self.rings.store(Arc::new(rings));
        drop(writing);
    }

    /// Lets a key use a stage once, and gives the key's id.
    pub(super) fn admit(&self, program: &Program, value: &str, now_ms: i64) -> Result<Box<str>, Refused> {
        if value.is_empty() {
            return Err(Refused::NotSent);
        }
        let rings = self.rings.load();
        let place: Place = (program.account().into(), program.region().into());
        let ring = rings.get(&place).ok_or(Refused::Unknown)?;
        let key = ring.by_digest.get(&digest(value)).ok_or(Refused::Unknown)?;
        let id = key.id.clone();
        if !key.enabled {
            return Err(Refused::Disabled(id));
        }
        let (api, stage) = (program.api_id(), program.stage());
        let plan = key.plans.iter().find(|plan| plan.record.stages.iter().any(|(a, s)| a == api && s == stage));
        let Some(plan) = plan else { return Err(Refused::NotInPlan(id)) };
        // The rate first: what it refuses uses up no quota.
        if plan.usage.bucket.as_ref().is_some_and(|bucket| !bucket.take(now_ms)) {
            return Err(Refused::Throttled(id));
        }
        if !plan.usage.count(&plan.record, now_ms) {
            return Err(Refused::OverQuota(id));
        }
        Ok(id)
    }
}

impl Quota {
    fn of(record: &PlanInUse) -> Arc<Mutex<Self>> {
        let used = record.quota.as_ref().map_or(0, |quota| quota.offset.max(0));
        Arc::new(Mutex::new(Self { window: i64::MIN, used }))
    }
}

impl Usage {
    fn new(record: &PlanInUse, quota: Arc<Mutex<Quota>>) -> Self {
        let bucket = record.throttle.as_ref().map(|limit| Bucket::new(limit.burst_limit, limit.rate_limit));
        Self { bucket, quota }
    }

    /// Counts a request, unless the period's are used up.
    fn count(&self, record: &PlanInUse, now_ms: i64) -> bool {
        let Some(limit) = &record.quota else { return true };
        let window = window(&limit.period, now_ms);
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        if quota.window == i64::MIN {
            // The plan's offset holds for the first period.
            quota.window = window;
        } else if quota.window != window {
            *quota = Quota { window, used: 0 };
        }
        if quota.used >= limit.limit {
            return false;
        }
        quota.used += 1;
        true
    }
}

/// Which day, week (from Sunday) or month of UTC a moment falls into.
fn window(period: &str, now_ms: i64) -> i64 {
    const DAY_MS: i64 = 86_400_000;
    let day = now_ms.div_euclid(DAY_MS);
    match period {
        "DAY" => day,
        // 1970-01-01 was a Thursday.
        "WEEK" => (day + 4).div_euclid(7),
        _ => Timestamp::from_ms(now_ms).format("%Y%m").parse().unwrap_or_default(),
    }
}

fn digest(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use apigateway::usage_plan::{PlanInUse, Quota};

    use super::{Usage, window};

    #[test]
    fn periods_begin_at_midnight_on_sunday_and_on_the_first() {
        // 2026-11-25 was a Wednesday.
        let noon = 1_795_608_000_000;
        let day = 86_400_000;
        assert_eq!(window("DAY", noon), window("DAY", noon + day / 3));
        assert_ne!(window("DAY", noon), window("DAY", noon + day / 2));
        assert_eq!(window("WEEK", noon), window("WEEK", noon - 3 * day));
        assert_ne!(window("WEEK", noon), window("WEEK", noon - 4 * day));
        assert_eq!(window("MONTH", noon), 202_611);
        assert_eq!(window("MONTH", noon + 6 * day), 202_612);
    }

    #[test]
    fn a_quota_counts_a_period_and_its_offset_the_first_one() {
        let quota = Quota { limit: 3, offset: 1, period: "DAY".to_owned() };
        let plan = PlanInUse { plan_id: "p".to_owned(), stages: Vec::new(), throttle: None, quota: Some(quota) };
        let usage = Usage::new(&plan, super::Quota::of(&plan));
        let taken: Vec<bool> = (0..3).map(|_| usage.count(&plan, 0)).collect();
        assert_eq!(taken, [true, true, false]);
        let taken: Vec<bool> = (0..4).map(|_| usage.count(&plan, 90_000_000)).collect();
        assert_eq!(taken, [true, true, true, false]);
    }
}
