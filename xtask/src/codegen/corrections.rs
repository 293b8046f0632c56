//! `xtask/data/corrections.toml`: what AWS was recorded to do beyond, or against, its models.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Corrections {
    #[serde(default)]
    status: Vec<Status>,
    #[serde(default)]
    trail: Vec<Trail>,
    #[serde(default)]
    read_only: Vec<ReadOnly>,
    #[serde(default)]
    pattern: Vec<Pattern>,
    #[serde(default)]
    open_enum: Vec<OpenEnum>,
    #[serde(default)]
    sparse: Vec<Sparse>,
    #[serde(default)]
    resource: Vec<Resource>,
    /// Entries that were asked for and found; the rest is stale and fails the run.
    #[serde(skip)]
    used: RefCell<BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    service: String,
    operation: String,
    status: u64,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trail {
    service: String,
    source: String,
    names: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadOnly {
    service: String,
    operations: BTreeSet<String>,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    text: String,
    regex: String,
    #[serde(default)]
    forbid: String,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenEnum {
    service: String,
    shape: String,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sparse {
    service: String,
    members: BTreeSet<String>,
    source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    service: String,
    #[serde(default)]
    member: Vec<String>,
    #[serde(default)]
    operations: BTreeSet<String>,
    template: String,
}

impl Corrections {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let read: Self = toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let sources = read.status.iter().map(|entry| &entry.source);
        let sources = sources.chain(read.trail.iter().map(|entry| &entry.source));
        let sources = sources.chain(read.read_only.iter().map(|entry| &entry.source));
        let sources = sources.chain(read.pattern.iter().map(|entry| &entry.source));
        let sources = sources.chain(read.open_enum.iter().map(|entry| &entry.source));
        let mut sources = sources.chain(read.sparse.iter().map(|entry| &entry.source));
        if sources.any(|source| source.trim().is_empty()) {
            bail!("every correction names its source");
        }
        Ok(read)
    }

    fn mark(&self, key: String) {
        self.used.borrow_mut().insert(key);
    }

    pub(super) fn status(&self, service: &str, operation: &str) -> Option<u64> {
        let found = self.status.iter().find(|entry| entry.service == service && entry.operation == operation)?;
        self.mark(format!("status {service} {operation}"));
        Some(found.status)
    }

    pub(super) fn trail(&self, service: &str, operation: &str) -> Option<&str> {
        let mut entries = self.trail.iter().filter(|entry| entry.service == service);
        let found = entries.find_map(|entry| entry.names.get(operation))?;
        self.mark(format!("trail {service} {operation}"));
        Some(found)
    }

    pub(super) fn reads_only(&self, service: &str, operation: &str) -> bool {
        let found = self.read_only.iter().any(|entry| entry.service == service && entry.operations.contains(operation));
        if found {
            self.mark(format!("read_only {service} {operation}"));
        }
        found
    }

    /// The `regex` crate's form of a pattern, and what it must not match besides.
    pub(super) fn pattern(&self, text: &str) -> Result<(String, String)> {
        if let Some(found) = self.pattern.iter().find(|entry| entry.text == text) {
            self.mark(format!("pattern {text}"));
            return Ok((super::pattern::whole(&found.regex), super::pattern::whole(&found.forbid)));
        }
        let translated = super::pattern::translate(text).with_context(|| format!("pattern `{text}`"))?;
        Ok((super::pattern::whole(&translated), String::new()))
    }

    pub(super) fn open_enum(&self, service: &str, shape: &str) -> bool {
        let found = self.open_enum.iter().any(|entry| entry.service == service && entry.shape == shape);
        if found {
            self.mark(format!("open_enum {service} {shape}"));
        }
        found
    }

    pub(super) fn sparse(&self, service: &str, member: &str) -> bool {
        let found = self.sparse.iter().any(|entry| entry.service == service && entry.members.contains(member));
        if found {
            self.mark(format!("sparse {service} {member}"));
        }
        found
    }

    /// The template of the first rule that fits; `*` where none does.
    pub(super) fn resource(&self, service: &str, operation: &str, members: &BTreeSet<&str>) -> String {
        let fits = |rule: &&Resource| {
            rule.service == service
                && (rule.operations.is_empty() || rule.operations.contains(operation))
                && rule.member.iter().all(|member| members.contains(member.as_str()))
        };
        match self.resource.iter().find(fits) {
            None => "*".to_owned(),
            Some(rule) => {
                if rule.operations.contains(operation) {
                    self.mark(format!("resource {service} {operation}"));
                }
                rule.template.clone()
            }
        }
    }

    /// Fails if an entry names something no model has: a misspelling would otherwise correct nothing, silently.
    pub(super) fn check_all_used(&self) -> Result<()> {
        let used = self.used.borrow();
        let mut expected = Vec::new();
        expected.extend(self.status.iter().map(|entry| format!("status {} {}", entry.service, entry.operation)));
        for entry in &self.trail {
            expected.extend(entry.names.keys().map(|name| format!("trail {} {name}", entry.service)));
        }
        for entry in &self.read_only {
            expected.extend(entry.operations.iter().map(|name| format!("read_only {} {name}", entry.service)));
        }
        expected.extend(self.pattern.iter().map(|entry| format!("pattern {}", entry.text)));
        expected.extend(self.open_enum.iter().map(|entry| format!("open_enum {} {}", entry.service, entry.shape)));
        for entry in &self.sparse {
            expected.extend(entry.members.iter().map(|name| format!("sparse {} {name}", entry.service)));
        }
        for entry in &self.resource {
            expected.extend(entry.operations.iter().map(|name| format!("resource {} {name}", entry.service)));
        }
        let unused: Vec<String> = expected.into_iter().filter(|key| !used.contains(key)).collect();
        if unused.is_empty() { Ok(()) } else { bail!("corrections that correct nothing: {}", unused.join("; ")) }
    }
}
