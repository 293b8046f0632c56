//! Filling resource ARN templates.

use serde_json::Value;

use super::Operation;

pub(super) fn fill(_operation: &Operation, _params: &Value, _raw_path: &str, _account: &str, _region: &str) -> String {
    "*".to_owned()
}
