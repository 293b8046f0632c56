//! `Marker` and `MaxItems`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use service::Result;

use crate::error::invalid;

/// Items of a page where none are asked for, and at most: AWS gives no more whatever is asked for.
const ITEMS_MAX: usize = 50;

/// Number of items on the page.
pub(crate) fn limit(max_items: Option<i64>) -> usize {
    max_items.and_then(|items| usize::try_from(items).ok()).unwrap_or(ITEMS_MAX).clamp(1, ITEMS_MAX)
}

/// The marker after which the next page starts; opaque to clients.
pub(crate) fn marker(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// What [`marker`] was made of.
///
/// # Errors
/// `InvalidParameterValueException` for a marker this installation never gave.
pub(crate) fn after(marker: Option<&str>) -> Result<Option<String>> {
    let Some(marker) = marker.filter(|marker| !marker.is_empty()) else {
        return Ok(None);
    };
    URL_SAFE_NO_PAD
        .decode(marker)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Some)
        .ok_or_else(|| invalid("The provided Marker is not valid."))
}

/// Cuts a page that was read one item longer than `limit`, and names its last item if another page follows.
pub(crate) fn cut<T>(mut rows: Vec<(String, T)>, limit: usize) -> (Vec<T>, Option<String>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|(id, _)| marker(id)) } else { None };
    (rows.into_iter().map(|(_, item)| item).collect(), next)
}
