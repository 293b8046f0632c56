//! `Marker` and `MaxItems`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use service::{Record, Result, Scope, Tx};

use super::error::validation;

/// Items of a page unless the caller says otherwise.
const ITEMS_DEFAULT: usize = 100;
/// The most items of a page.
const ITEMS_MAX: usize = 1000;
/// Records read at once while looking for those a filter lets through.
const ROWS: usize = 500;

/// One page and what follows it.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    next: Option<String>,
}

/// What a caller asks for.
#[derive(Debug)]
pub(crate) struct Window {
    after: Option<String>,
    limit: usize,
}

impl Window {
    /// Reads the two members.
    ///
    /// # Errors
    /// `ValidationError` for a marker that no answer carried.
    pub(crate) fn new(marker: Option<&str>, max_items: Option<i64>) -> Result<Window> {
        let after = marker.map(open).transpose()?;
        let limit = max_items.and_then(|max| usize::try_from(max).ok()).unwrap_or(ITEMS_DEFAULT);
        Ok(Window { after, limit: limit.clamp(1, ITEMS_MAX) })
    }

    /// A page of records under `parent` that `keep` lets through.
    ///
    /// # Errors
    /// 5xx when the store cannot be read.
    pub(crate) fn records<R: Record>(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        parent: &str,
        keep: impl Fn(&R) -> bool,
    ) -> Result<Page<R>> {
        let mut items = Vec::new();
        let mut last: Option<String> = None;
        let mut after = self.after;
        loop {
            let rows = tx.page::<R>(scope, parent, after.as_deref(), ROWS)?;
            let full = rows.len() >= ROWS;
            for (id, record) in rows {
                after = Some(id.clone());
                if !keep(&record) {
                    continue;
                }
                if items.len() >= self.limit {
                    return Ok(Page { items, next: last });
                }
                items.push(record);
                last = Some(id);
            }
            if !full {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// A page of what is at hand, sorted by its key.
    pub(crate) fn slice<T>(self, mut all: Vec<(String, T)>) -> Page<T> {
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let after = self.after;
        let mut rest = all.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
        let mut items = Vec::new();
        let mut last = None;
        while items.len() < self.limit
            && let Some((key, item)) = rest.next()
        {
            last = Some(key);
            items.push(item);
        }
        Page { items, next: if rest.peek().is_some() { last } else { None } }
    }
}

impl<T> Page<T> {
    /// The answer: the items under `member`, `IsTruncated`, and `Marker` if there is more.
    pub(crate) fn answer(self, member: &str, form: impl FnMut(T) -> Value) -> Value {
        let mut answer = Map::new();
        answer.insert(member.into(), self.items.into_iter().map(form).collect());
        finish(answer, self.next.as_deref())
    }

    /// As [`Page::answer`], for answers with more than one list.
    pub(crate) fn split(self) -> (Vec<T>, Option<String>) {
        (self.items, self.next)
    }
}

/// Adds `IsTruncated` and `Marker`.
pub(crate) fn finish(mut answer: Map<String, Value>, next: Option<&str>) -> Value {
    answer.insert("IsTruncated".into(), next.is_some().into());
    if let Some(next) = next {
        answer.insert("Marker".into(), seal(next).into());
    }
    Value::Object(answer)
}

/// The members of a list that needs nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Asked {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

impl Asked {
    /// The window asked for.
    pub(crate) fn window(&self) -> Result<Window> {
        Window::new(self.marker.as_deref(), self.max_items)
    }

    /// Whether a path lies under the prefix asked for.
    pub(crate) fn admits(&self, path: &str) -> bool {
        self.path_prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
    }
}

fn seal(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn open(marker: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| validation("Invalid Marker."))
}
