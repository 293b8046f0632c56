//! When an event is tried again, and when it is given up: arithmetic alone, over times that are handed in.
//!
//! Source: Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".

/// Waits before the second and the third try of an event whose function failed, milliseconds.
const RETRY_MS: [i64; 2] = [60_000, 120_000];
/// Wait after the first try that came to no run; doubled by each further one.
const FAULT_MS: i64 = 1_000;
/// The longest such wait.
const FAULT_MS_MAX: i64 = 300_000;

/// What an event goes by, read anew at every try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Tries after the first, 0 to 2.
    pub retries_max: u32,
    /// Milliseconds from acceptance to giving up.
    pub age_ms_max: i64,
}

/// How far an event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub accepted_ms: i64,
    /// How often the function has run for it, the last time included.
    pub tries: u32,
    /// Tries in a row that came to no run, the last one included.
    pub faults: u32,
}

/// Why an event is at its end. AWS's names in an invocation record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
    ZeroReservedConcurrency,
}

impl Condition {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
        }
    }
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    Succeeded,
    /// The function ran and failed.
    Failed,
    /// It did not come to run: throttled, or the fault is ours.
    Faulted,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Ended(Condition),
    /// To be tried again, not before this.
    Again {
        due_ms: i64,
    },
}

/// Whether an event is too old to be tried.
pub(crate) fn is_expired(rules: Rules, accepted_ms: i64, now_ms: i64) -> bool {
    now_ms >= deadline_ms(rules, accepted_ms)
}

fn deadline_ms(rules: Rules, accepted_ms: i64) -> i64 {
    accepted_ms.saturating_add(rules.age_ms_max)
}

/// What follows a try that ended at `now_ms`.
///
/// A retry that would come after the event's time is not waited for: as recorded from AWS, the event is given up at once.
/// Waits after faults are cut to the event's time instead, so that it is kept for the whole of it.
pub(crate) fn next(rules: Rules, progress: Progress, tried: Tried, now_ms: i64) -> Next {
    let deadline_ms = deadline_ms(rules, progress.accepted_ms);
    match tried {
        Tried::Succeeded => Next::Ended(Condition::Success),
        Tried::Failed => {
            if progress.tries > rules.retries_max {
                return Next::Ended(Condition::RetriesExhausted);
            }
            let retry = usize::try_from(progress.tries.saturating_sub(1)).unwrap_or(usize::MAX);
            let [.., last] = RETRY_MS;
            let due_ms = now_ms.saturating_add(RETRY_MS.get(retry).copied().unwrap_or(last));
            if due_ms >= deadline_ms { Next::Ended(Condition::EventAgeExceeded) } else { Next::Again { due_ms } }
        }
        Tried::Faulted => {
            let doublings = progress.faults.saturating_sub(1).min(16);
            let wait_ms = (FAULT_MS << doublings).min(FAULT_MS_MAX);
            // Once the time is over, the next look at it ends it.
            Next::Again { due_ms: now_ms.saturating_add(wait_ms).min(deadline_ms).max(now_ms) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn rules(retries_max: u32, age_s_max: i64) -> Rules {
        Rules { retries_max, age_ms_max: age_s_max * 1000 }
    }

    fn progress(tries: u32, faults: u32) -> Progress {
        Progress { accepted_ms: 0, tries, faults }
    }

    #[test]
    fn a_failed_function_is_tried_after_one_and_two_minutes_more() {
        let all = rules(2, 21_600);
        assert_eq!(next(all, progress(1, 0), Tried::Failed, 500), Next::Again { due_ms: 60_500 });
        assert_eq!(next(all, progress(2, 0), Tried::Failed, 61_000), Next::Again { due_ms: 181_000 });
        assert_eq!(next(all, progress(3, 0), Tried::Failed, 181_500), Next::Ended(Condition::RetriesExhausted));
    }

    #[test]
    fn fewer_retries_end_it_sooner() {
        for (retries, tries, ended) in [(0, 1, true), (1, 1, false), (1, 2, true), (2, 2, false)] {
            let next = next(rules(retries, 21_600), progress(tries, 0), Tried::Failed, 0);
            assert_eq!(next == Next::Ended(Condition::RetriesExhausted), ended, "{retries} {tries}");
        }
    }

    #[test]
    fn a_retry_beyond_the_age_is_not_waited_for() {
        assert_eq!(next(rules(2, 60), progress(1, 0), Tried::Failed, 10), Next::Ended(Condition::EventAgeExceeded));
        assert_eq!(
            next(rules(2, 180), progress(2, 0), Tried::Failed, 61_000),
            Next::Ended(Condition::EventAgeExceeded)
        );
        assert_eq!(next(rules(0, 60), progress(1, 0), Tried::Failed, 10), Next::Ended(Condition::RetriesExhausted));
    }

    #[test]
    fn faults_wait_from_one_second_up_to_five_minutes() {
        let waits: Vec<i64> = (1..=12)
            .map(|faults| match next(rules(2, 21_600), progress(0, faults), Tried::Faulted, HOUR_MS) {
                Next::Again { due_ms } => due_ms - HOUR_MS,
                Next::Ended(condition) => panic!("{condition:?}"),
            })
            .collect();
        let seconds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300];
        assert_eq!(waits, seconds.map(|seconds| seconds * 1000));
    }

    #[test]
    fn an_event_that_only_faults_is_kept_for_the_whole_of_its_time() {
        let rules = rules(2, 100);
        let (mut now_ms, mut faults) = (0, 0);
        while !is_expired(rules, 0, now_ms) {
            faults += 1;
            match next(rules, progress(0, faults), Tried::Faulted, now_ms) {
                Next::Again { due_ms } => {
                    assert!(due_ms > now_ms && due_ms <= 100_000);
                    now_ms = due_ms;
                }
                Next::Ended(condition) => panic!("{condition:?}"),
            }
        }
        assert_eq!((now_ms, faults), (100_000, 7));
    }
}
