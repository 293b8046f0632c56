//! Lists in pages: `limit` and `position`.

use serde::Serialize;
use service::{Cx, Record, Result, Scope, Tx};

use crate::error::bad_request;

const LIMIT_DEFAULT: i64 = 25;
const LIMIT_MAX: i64 = 500;
const PURPOSE: &str = "apigateway/position";

/// One page as AWS's lists have it; the member `items` travels as `item`.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(each).collect(), position: self.position }
    }
}

/// Reads one page of a noun of the caller's, ordered by id.
///
/// A limit outside 1 to 500 counts as none, as AWS was recorded to treat it. A position is sealed for the list it was
/// made for, so that a made-up one, or one of another list or account, is refused.
pub(crate) fn read<R: Record>(
    cx: &mut Cx<'_>,
    tx: &mut Tx<'_>,
    parent: &str,
    position: Option<&str>,
    limit: Option<i64>,
) -> Result<Page<R>> {
    let limit = limit_or_default(limit);
    let scope = cx.scope();
    let list = list_name::<R>(&scope, parent);
    let after = open(cx, &list, position)?;
    let mut rows = tx.page::<R>(&scope, parent, after.as_deref(), limit.saturating_add(1))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let position = match rows.last() {
        Some((id, _)) if more => Some(cx.host.seal(PURPOSE, format!("{list}{id}").as_bytes())),
        _ => None,
    };
    Ok(Page { items: rows.into_iter().map(|(_, record)| record).collect(), position })
}

/// One page of what was read and chosen already. `ordered` says where each stands; the items must be in that order,
/// and no two may stand at the same place.
pub(crate) fn of<R: Record>(
    cx: &mut Cx<'_>,
    parent: &str,
    items: Vec<R>,
    ordered: impl Fn(&R) -> String,
    position: Option<&str>,
    limit: Option<i64>,
) -> Result<Page<R>> {
    let limit = limit_or_default(limit);
    let list = list_name::<R>(&cx.scope(), parent);
    let after = open(cx, &list, position)?;
    let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| ordered(item) > *after));
    let items: Vec<R> = rest.by_ref().take(limit).collect();
    let position = match items.last() {
        Some(last) if rest.next().is_some() => {
            Some(cx.host.seal(PURPOSE, format!("{list}{}", ordered(last)).as_bytes()))
        }
        _ => None,
    };
    Ok(Page { items, position })
}

fn limit_or_default(limit: Option<i64>) -> usize {
    let limit = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit)).unwrap_or(LIMIT_DEFAULT);
    usize::try_from(limit).unwrap_or(1)
}

fn list_name<R: Record>(scope: &Scope, parent: &str) -> String {
    format!("{}|{}|{}|{parent}|", scope.account, scope.region, R::NOUN)
}

/// Where the page before ended.
fn open(cx: &Cx<'_>, list: &str, position: Option<&str>) -> Result<Option<String>> {
    let Some(position) = position.filter(|position| !position.is_empty()) else { return Ok(None) };
    let opened = cx.host.open(PURPOSE, position).and_then(|bytes| String::from_utf8(bytes).ok());
    let after = opened.as_deref().and_then(|text| text.strip_prefix(list)).map(str::to_owned);
    after.map(Some).ok_or_else(|| bad_request("Invalid position parameter specified"))
}
