//! Batches of log events are sorted out as AWS sorts them.

use serde_json::{Value, json};

use super::{DAY_MS, HOUR_MS, batch, sort_out};

const NOW_MS: i64 = 1_764_037_614_250;

fn put(times: &[i64]) -> Value {
    json!({ "logEvents": times.iter().map(|ms| json!({ "timestamp": ms, "message": "m" })).collect::<Vec<_>>() })
}

#[test]
fn batches_are_in_order_short_and_small() {
    assert_eq!(batch(&put(&[1, 1, 2])).unwrap().len(), 3);
    let refused = |params: &Value| batch(params).unwrap_err().message.to_string();
    assert!(refused(&put(&[2, 1])).contains("chronological order"));
    assert!(refused(&put(&[0, DAY_MS + 1])).contains("24 hours"));
    let big = |length: usize| json!({ "logEvents": [{ "timestamp": 1, "message": "x".repeat(length) }] });
    assert!(batch(&big((1 << 20) - 26)).is_ok());
    assert_eq!(refused(&big((1 << 20) - 25)), "Upload too large: 1048577 bytes exceeds limit of 1048576");
    assert_eq!(refused(&big((1 << 20) + 1)), "Log event too large: 1048577 bytes exceeds limit of 1048576");
}

#[test]
fn what_is_too_old_expired_or_too_new_is_named_by_its_index() {
    let times = [NOW_MS - 15 * DAY_MS, NOW_MS - 2 * DAY_MS, NOW_MS, NOW_MS + 2 * HOUR_MS + 1];
    let events = || times.iter().map(|ms| (*ms, "m".to_owned())).collect::<Vec<_>>();
    let (kept, rejected) = sort_out(events(), NOW_MS, 0);
    assert_eq!(kept.len(), 2);
    assert_eq!(rejected, json!({ "tooNewLogEventStartIndex": 3, "tooOldLogEventEndIndex": 1 }));
    let (kept, rejected) = sort_out(events(), NOW_MS, NOW_MS - DAY_MS);
    assert_eq!(kept.len(), 1);
    assert_eq!(rejected["expiredLogEventEndIndex"], 2);
    let (kept, rejected) = sort_out(events()[..1].to_vec(), NOW_MS, NOW_MS - DAY_MS);
    assert_eq!((kept.len(), rejected), (0, json!({ "tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 1 })));
}
