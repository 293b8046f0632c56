//! API Gateway's subset of JSON Patch (`patchOperations`), shared by every noun that has an Update operation.
//!
//! A [`Step`] is one operation as it was sent. What a path means is the noun's business; what is the same everywhere
//! is here: the pointer's escapes, and that every value is a text.
//!
//! Source: API Gateway API Reference, "PatchOperation".

use serde::{Deserialize, Serialize};

/// What a step does. The enum is complete so that AWS's own texts can answer the ones a noun does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Adds an entry to a map or a list.
    Add,
    /// Removes an entry, or unsets a value.
    Remove,
    /// Sets a value.
    Replace,
    /// Never taken by any noun.
    Move,
    /// Taken by stages only, to promote a canary.
    Copy,
    /// Never taken by any noun.
    Test,
}

impl Op {
    /// The spelling on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Test => "test",
        }
    }
}

/// One of the `patchOperations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub op: Op,
    /// Where, as a JSON pointer.
    #[serde(default)]
    pub path: Option<String>,
    /// The new value; always a text, `"true"` and `"29000"` included.
    #[serde(default)]
    pub value: Option<String>,
    /// Where from, for `copy`.
    #[serde(default)]
    pub from: Option<String>,
}

impl Step {
    /// The path as error texts print it; AWS prints a missing one as `null`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("null")
    }

    /// The pointer's segments, with `~1` and `~0` undone. Empty when the path is missing, empty or does not begin with
    /// a slash, so that it matches no noun's path.
    #[must_use]
    pub fn pointer(&self) -> Vec<String> {
        match self.path.as_deref().and_then(|path| path.strip_prefix('/')) {
            // The order matters: `~01` is the text `~1`.
            Some(rest) => rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect(),
            None => Vec::new(),
        }
    }

    /// The value as a flag: anything but `true` means false, as AWS was recorded to read it.
    #[must_use]
    pub fn flag(&self) -> bool {
        self.value.as_deref() == Some("true")
    }

    /// The value, or `None` when it is missing or empty: for members where both unset them.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value.as_deref().filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{Op, Step};

    fn step(json: &str) -> Step {
        serde_json::from_str(json).expect("a patch operation")
    }

    #[test]
    fn pointers_undo_their_escapes() {
        let cases: &[(&str, &[&str])] = &[
            ("/name", &["name"]),
            ("/requestTemplates/application~1json", &["requestTemplates", "application/json"]),
            ("/~1pets~1{id}/GET/caching/enabled", &["/pets/{id}", "GET", "caching", "enabled"]),
            ("/variables/a~0b", &["variables", "a~b"]),
            ("/x/~01", &["x", "~1"]),
            ("/", &[""]),
            ("", &[]),
            ("name", &[]),
        ];
        for (path, segments) in cases {
            let step = Step { op: Op::Replace, path: Some((*path).into()), value: None, from: None };
            assert_eq!(step.pointer(), *segments, "{path}");
        }
    }

    #[test]
    fn a_missing_path_prints_as_null_and_points_nowhere() {
        let step = step(r#"{"op":"add"}"#);
        assert_eq!(step.path(), "null");
        assert!(step.pointer().is_empty());
    }

    #[test]
    fn only_the_word_true_is_true() {
        for (value, flag) in [("true", true), ("True", false), ("1", false), ("", false), ("false", false)] {
            let step = Step { op: Op::Replace, path: None, value: Some(value.into()), from: None };
            assert_eq!(step.flag(), flag, "{value}");
        }
    }

    #[test]
    fn every_op_of_the_model_is_read() {
        for word in ["add", "remove", "replace", "move", "copy", "test"] {
            assert_eq!(step(&format!(r#"{{"op":"{word}","value":null}}"#)).op.as_str(), word);
        }
    }
}
