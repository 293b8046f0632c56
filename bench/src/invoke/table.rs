//! What was found: a table for the reader, a file for the next one.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::functions::Function;
use crate::{
    report::{machine, median},
    say,
};

/// One quantity.
pub struct Row {
    what: String,
    bare: Vec<f64>,
    own: Vec<f64>,
    target: f64,
    /// Whether the figure itself is held against the target, rather than its ratio to the yardstick.
    absolute: bool,
    pub more_is_better: bool,
    /// The ratio, where it is to something other than the yardstick.
    pub ratio: Option<f64>,
    pub note: String,
}

impl Row {
    /// Held against the yardstick measured in the same rounds.
    pub fn new(function: &Function, what: &str, target: f64) -> Row {
        Row::named(format!("{}: {what}", function.language), target)
    }

    /// The same of something that is not about one language.
    pub fn named(what: String, target: f64) -> Row {
        Row {
            what,
            bare: Vec::new(),
            own: Vec::new(),
            target,
            absolute: false,
            more_is_better: false,
            ratio: None,
            note: String::new(),
        }
    }

    /// Held against the target itself.
    pub fn absolute(function: &Function, what: &str, own: f64, target: f64) -> Row {
        Row { own: vec![own], absolute: true, ..Row::new(function, what, target) }
    }

    pub fn push(&mut self, bare: f64, own: f64) {
        self.bare.push(bare);
        self.own.push(own);
    }

    pub fn own(&self) -> f64 {
        median(self.own.clone())
    }

    /// The median of the rounds' ratios: what the machine did in a round met both.
    fn ratio(&self) -> f64 {
        self.ratio.unwrap_or_else(|| median(self.bare.iter().zip(&self.own).map(|(bare, own)| own / bare).collect()))
    }

    fn is_met(&self) -> bool {
        let figure = if self.absolute { self.own() } else { self.ratio() };
        if self.more_is_better { figure >= self.target } else { figure <= self.target }
    }

    fn line(&self) -> String {
        let sign = if self.more_is_better { "≥" } else { "≤" };
        let met = if self.is_met() { "met" } else { "**missed**" };
        let (bare, ratio) = if self.absolute {
            (String::new(), String::new())
        } else {
            (format!("{:.1}", median(self.bare.clone())), format!("{:.2}", self.ratio()))
        };
        format!(
            "| {} | {bare} | {:.1} | {ratio} | {sign} {} | {met} | {} |",
            self.what,
            self.own(),
            self.target,
            self.note
        )
    }

    fn json(&self, [bare, own]: [&str; 2]) -> Value {
        json!({
            "what": self.what,
            (bare): if self.absolute { Value::Null } else { json!(median(self.bare.clone())) },
            (own): self.own(),
            "ratio": if self.absolute { Value::Null } else { json!(self.ratio()) },
            "target": self.target,
            "met": self.is_met(),
            "note": self.note,
            "rounds": { (bare): self.bare, (own): self.own },
        })
    }
}

/// All rows.
pub struct Table {
    /// What was measured; part of the file's name.
    what: &'static str,
    /// Heads of the two columns that are held against each other.
    heads: [&'static str; 2],
    rows: Vec<Row>,
}

impl Table {
    pub fn new(what: &'static str, heads: [&'static str; 2]) -> Table {
        Table { what, heads, rows: Vec::new() }
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// # Errors
    /// When standard output is closed.
    pub fn print(&self) -> Result<()> {
        let [bare, own] = self.heads;
        say(&format!("\n| what | {bare} | {own} | ratio | target | | |"))?;
        say("|---|---:|---:|---:|---:|---|---|")?;
        self.rows.iter().try_for_each(|row| say(&row.line()))
    }

    /// Writes `<date>-<what>.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path, isolation: &str) -> Result<()> {
        let date = jiff::Timestamp::now().to_string();
        let date = date.split('T').next().unwrap_or_default();
        let result = json!({
            "date": date,
            "what": self.what,
            "machine": machine(),
            "isolation": isolation,
            "rows": self.rows.iter().map(|row| row.json(self.heads)).collect::<Vec<_>>(),
        });
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{date}-{}.json", self.what));
        let text = serde_json::to_string_pretty(&result)? + "\n";
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        say(&format!("\nwritten: {}", path.display()))
    }
}
