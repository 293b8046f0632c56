//! `cargo xtask codegen`: the operation table of the `wire` crate, from AWS's service models.
//!
//! Reads the reduced models and the operation list beside the repository, merges `xtask/data/corrections.toml` in, and
//! writes `crates/wire/src/table/generated/`. The output is committed; `--check` compares and fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

mod corrections;
mod pattern;

use corrections::Corrections;

const HEADER: &str =
    "// Made by `cargo xtask codegen` from the AWS service models and xtask/data/corrections.toml. Do not edit.\n";

/// The services of the table, in the order of the coverage page.
const SERVICES: [&str; 10] = [
    "apigateway",
    "apigatewayv2",
    "lambda",
    "iam",
    "sts",
    "cloudtrail",
    "logs",
    "s3",
    "cloudformation",
    "organizations",
];

/// Verbs that only read, for CloudTrail's `readOnly`.
const READING_VERBS: [&str; 11] =
    ["Get", "List", "Describe", "Head", "Lookup", "Search", "Simulate", "Validate", "Estimate", "Export", "Filter"];

/// Writes the tables, or with `check` compares them with what is there.
pub fn run(root: &Path, shared: Option<PathBuf>, check: bool) -> Result<()> {
    let explicit = shared.is_some();
    let shared = shared.unwrap_or_else(|| root.join("../shared"));
    if !shared.join("aws-models").is_dir() {
        if check && !explicit {
            return crate::say(
                "codegen: the AWS models are not here (name their folder with --shared DIR); nothing checked",
            );
        }
        bail!("no folder `aws-models` in {}; name the right one with --shared DIR", shared.display());
    }
    let operations = read_operations(&shared)?;
    let corrections = Corrections::read(&root.join("xtask/data/corrections.toml"))?;
    let mut files = BTreeMap::new();
    for name in SERVICES {
        let model = read_model(&shared, name)?;
        let generator = Generator { name, model: &model["model"], operations: &operations, corrections: &corrections };
        files.insert(format!("{name}.rs"), generator.file()?);
    }
    corrections.check_all_used()?;
    files.insert("mod.rs".to_owned(), module_file());
    publish(&root.join("crates/wire/src/table/generated"), &files, check)
}

fn publish(folder: &Path, files: &BTreeMap<String, String>, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        if fs::read_to_string(&path).ok().as_ref() == Some(text) {
            continue;
        }
        stale.push(name.clone());
        if !check {
            fs::create_dir_all(folder)?;
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    if check && !stale.is_empty() {
        bail!("generated files are stale: {}; run `cargo xtask codegen`", stale.join(", "));
    }
    crate::say(&format!("codegen: {} files, {} changed", files.len(), stale.len()))
}

type Operations = BTreeMap<(String, String), Value>;

fn read_operations(shared: &Path) -> Result<Operations> {
    let path = shared.join("spec/operations.json");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let list: Vec<Value> = serde_json::from_str(&text)?;
    Ok(list.into_iter().map(|entry| ((text_of(&entry["service"]), text_of(&entry["op"])), entry)).collect())
}

fn read_model(shared: &Path, name: &str) -> Result<Value> {
    let plain = shared.join(format!("aws-models/{name}.json"));
    if plain.is_file() {
        return Ok(serde_json::from_slice(&fs::read(&plain)?)?);
    }
    let packed = shared.join(format!("aws-models/{name}.json.gz"));
    let bytes = fs::read(&packed).with_context(|| format!("reading {}", packed.display()))?;
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn module_file() -> String {
    let mut out = String::from(HEADER);
    out.push_str("#![doc = \"The tables themselves.\"]\n\n");
    for name in SERVICES {
        let _ = writeln!(out, "#[rustfmt::skip]\nmod {name};");
    }
    out.push_str("\n/// Every service.\n#[rustfmt::skip]\npub static SERVICES: &[&super::Service] = &[");
    let list: Vec<String> = SERVICES.iter().map(|name| format!("&{name}::SERVICE")).collect();
    let _ = writeln!(out, "{}];", list.join(", "));
    out
}

struct Generator<'a> {
    name: &'a str,
    model: &'a Value,
    operations: &'a Operations,
    corrections: &'a Corrections,
}

impl Generator<'_> {
    fn file(&self) -> Result<String> {
        let mut out = String::from(HEADER);
        out.push_str("#![allow(non_upper_case_globals, reason = \"statics bear the names of AWS's shapes\")]\n\nuse super::super::*;\n\n");
        self.service(&mut out);
        let names: BTreeSet<String> = object(&self.model["operations"]).map(|(name, _)| name.clone()).collect();
        let _ = writeln!(out, "static OPERATIONS: [Operation; {}] = [", names.len());
        for name in &names {
            self.operation(&mut out, name).with_context(|| format!("{} {name}", self.name))?;
        }
        out.push_str("];\n");
        if self.name != "s3" {
            self.shapes(&mut out, &names)?;
        }
        Ok(out)
    }

    fn service(&self, out: &mut String) {
        let meta = &self.model["metadata"];
        let protocol = match text_of(&meta["protocol"]).as_str() {
            "rest-json" => "RestJson",
            "json" => "AwsJson",
            "query" => "AwsQuery",
            _ => "RestXml",
        };
        let endpoint = text_of(&meta["endpointPrefix"]);
        let signing = meta["signingName"].as_str().unwrap_or(&endpoint);
        let _ = writeln!(
            out,
            "pub(super) static SERVICE: Service = Service {{ name: {:?}, protocol: Protocol::{protocol}, signing_name: {signing:?}, api_version: {:?}, xml_namespace: {:?}, target_prefix: {:?}, event_source: \"{endpoint}.amazonaws.com\", operations: &OPERATIONS }};\n",
            self.name,
            text_of(&meta["apiVersion"]),
            text_of(&meta["xmlNamespace"]),
            text_of(&meta["targetPrefix"]),
        );
    }

    fn operation(&self, out: &mut String, name: &str) -> Result<()> {
        let model = &self.model["operations"][name];
        let listed = self
            .operations
            .get(&(self.name.to_owned(), name.to_owned()))
            .context("the operation list does not have it")?;
        let http = &listed["http"];
        let method = text_of(&model["http"]["method"]);
        let uri = self.uri(model);
        let modelled = model["http"]["responseCode"].as_u64().unwrap_or(200);
        let observed = http["observed_status"].as_u64().or_else(|| http["status"].as_u64()).unwrap_or(modelled);
        let status = self.corrections.status(self.name, name).unwrap_or(observed);
        let input = model["input"]["shape"].as_str();
        let action = listed["iam_action"].as_str().map_or("None".to_owned(), |action| format!("Some({action:?})"));
        let errors: Vec<String> = list(&listed["errors"])
            .filter_map(|error| error.as_str().and_then(|error| error.rsplit_once(':')))
            .map(|(code, status)| format!("({code:?}, {status})"))
            .collect();
        let read_only = self.corrections.reads_only(self.name, name)
            || READING_VERBS
                .iter()
                .any(|verb| name.strip_prefix(verb).is_some_and(|rest| !rest.starts_with(char::is_lowercase)));
        let _ = writeln!(
            out,
            "    Operation {{ name: {name:?}, service: &SERVICE, method: {method:?}, uri: {uri:?}, status: {status}, tier: {}, iam_action: {action}, iam_resource: {:?}, trail_name: {:?}, read_only: {read_only}, unsigned: {}, deprecated: {}, input: {}, output: {}, result_wrapper: {:?}, errors: &[{}], route_query: &{:?}, route_headers: &{:?} }},",
            listed["tier"],
            self.resource(name, input, listed),
            self.corrections.trail(self.name, name).unwrap_or(name),
            listed["unsigned"].as_bool().unwrap_or(false),
            listed["deprecated"].as_bool().unwrap_or(false),
            self.reference(input),
            self.reference(model["output"]["shape"].as_str()),
            text_of(&model["output"]["resultWrapper"]),
            errors.join(", "),
            self.route_parts(input, "querystring"),
            self.route_parts(input, "header"),
        );
        Ok(())
    }

    /// The path template. `x-id` only repeats the operation's name for the reader of a log.
    fn uri(&self, model: &Value) -> String {
        let uri = text_of(&model["http"]["requestUri"]);
        let Some((path, query)) = uri.split_once('?') else { return uri };
        let query: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("x-id=")).collect();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
    }

    fn resource(&self, name: &str, input: Option<&str>, listed: &Value) -> String {
        if let Some(template) = listed["iam_resource"].as_str() {
            return template.to_owned();
        }
        let members: BTreeSet<&str> = input
            .map(|input| object(&self.model["shapes"][input]["members"]).map(|(name, _)| name.as_str()).collect())
            .unwrap_or_default();
        self.corrections.resource(self.name, name, &members)
    }

    /// Required query or header names of an s3 input: by them AWS tells, say, UploadPart from PutObject.
    fn route_parts(&self, input: Option<&str>, location: &str) -> Vec<String> {
        let Some(input) = input.filter(|_| self.name == "s3") else { return Vec::new() };
        let shape = &self.model["shapes"][input];
        list(&shape["required"])
            .filter_map(Value::as_str)
            .map(|member| &shape["members"][member])
            .filter(|member| member["location"] == location)
            .map(|member| text_of(&member["locationName"]))
            .collect()
    }

    fn reference(&self, shape: Option<&str>) -> String {
        match shape {
            Some(shape) if self.name != "s3" => format!("Some(&S_{shape})"),
            _ => "None".to_owned(),
        }
    }

    /// Every shape that inputs and outputs reach; those only errors reach are left out.
    fn shapes(&self, out: &mut String, operations: &BTreeSet<String>) -> Result<()> {
        let mut reached: BTreeMap<String, bool> = BTreeMap::new();
        for name in operations {
            let operation = &self.model["operations"][name];
            for (side, input) in [("output", false), ("input", true)] {
                if let Some(shape) = operation[side]["shape"].as_str() {
                    self.reach(shape, input, &mut reached);
                }
            }
        }
        let mut patterns: BTreeMap<String, String> = BTreeMap::new();
        for (name, input) in &reached {
            let shape = &self.model["shapes"][name];
            let kind = self.kind(name, shape, *input, &mut patterns).with_context(|| format!("shape {name}"))?;
            let sensitive = shape["sensitive"].as_bool().unwrap_or(false);
            let _ = writeln!(
                out,
                "static S_{name}: Shape = Shape {{ name: {name:?}, sensitive: {sensitive}, kind: {kind} }};"
            );
        }
        for (text, id) in &patterns {
            let translated = self.corrections.pattern(text)?;
            let _ = writeln!(out, "static {id}: Pattern = p({text:?}, {:?}, {:?});", translated.0, translated.1);
        }
        Ok(())
    }

    fn reach(&self, name: &str, input: bool, reached: &mut BTreeMap<String, bool>) {
        match reached.get(name) {
            Some(known) if *known || !input => return,
            _ => reached.insert(name.to_owned(), input),
        };
        let shape = &self.model["shapes"][name];
        for part in [&shape["member"], &shape["key"], &shape["value"]] {
            if let Some(inner) = part["shape"].as_str() {
                self.reach(inner, input, reached);
            }
        }
        for (_, member) in object(&shape["members"]) {
            self.reach(&text_of(&member["shape"]), input, reached);
        }
    }

    /// The `Kind` literal. Constraints are written for shapes that inputs reach: answers are ours and need none.
    fn kind(&self, name: &str, shape: &Value, input: bool, patterns: &mut BTreeMap<String, String>) -> Result<String> {
        let limits = if input { limits(shape) } else { limits(&Value::Null) };
        Ok(match text_of(&shape["type"]).as_str() {
            "structure" => self.structure(shape),
            "list" => {
                let member = &shape["member"];
                let item = member["locationName"].as_str().unwrap_or("member");
                let flattened = shape["flattened"].as_bool().unwrap_or(false);
                format!(
                    "Kind::List {{ member: &S_{}, flattened: {flattened}, item: {item:?}, limits: {limits} }}",
                    text_of(&member["shape"])
                )
            }
            "map" => format!(
                "Kind::Map {{ key: &S_{}, value: &S_{}, limits: {limits} }}",
                text_of(&shape["key"]["shape"]),
                text_of(&shape["value"]["shape"])
            ),
            "string" => {
                let open = !input || self.corrections.open_enum(self.name, name);
                let values: Vec<&str> =
                    if open { Vec::new() } else { list(&shape["enum"]).filter_map(Value::as_str).collect() };
                let pattern = match shape["pattern"].as_str().filter(|_| input) {
                    None => "None".to_owned(),
                    Some(text) => {
                        let next = format!("P{}", patterns.len());
                        format!("Some(&{})", patterns.entry(text.to_owned()).or_insert(next))
                    }
                };
                format!("Kind::String {{ values: &{values:?}, pattern: {pattern}, limits: {limits} }}")
            }
            "integer" => format!("Kind::Integer {{ limits: {limits} }}"),
            "long" => format!("Kind::Long {{ limits: {limits} }}"),
            "double" | "float" => format!("Kind::Double {{ limits: {limits} }}"),
            "boolean" => "Kind::Boolean".to_owned(),
            "blob" => format!("Kind::Blob {{ limits: {limits} }}"),
            "timestamp" => {
                let format = match shape["timestampFormat"].as_str() {
                    None => "Protocol",
                    Some("iso8601") => "Iso8601",
                    Some("unixTimestamp") => "Epoch",
                    Some(other) => bail!("unknown timestamp format `{other}`"),
                };
                format!("Kind::Timestamp {{ format: TimestampFormat::{format} }}")
            }
            other => bail!("unknown type `{other}`"),
        })
    }

    fn structure(&self, shape: &Value) -> String {
        let required: BTreeSet<&str> = list(&shape["required"]).filter_map(Value::as_str).collect();
        let mut members = Vec::new();
        for (name, member) in object(&shape["members"]) {
            let wire = member["locationName"].as_str().unwrap_or(name);
            let location = match member["location"].as_str() {
                Some("uri") => "Uri",
                Some("querystring") => "Query",
                Some("header") => "Header",
                Some("headers") => "Headers",
                Some("statusCode") => "Status",
                _ => "Body",
            };
            let sparse = self.corrections.sparse(self.name, name);
            members.push(format!(
                "m({name:?}, {wire:?}, Location::{location}, {}, {sparse}, &S_{})",
                required.contains(name.as_str()),
                text_of(&member["shape"])
            ));
        }
        let payload = shape["payload"].as_str().map_or("None".to_owned(), |payload| format!("Some({payload:?})"));
        let event_stream = shape["eventstream"].as_bool().unwrap_or(false);
        format!(
            "Kind::Structure(Structure {{ members: &[{}], payload: {payload}, event_stream: {event_stream} }})",
            members.join(", ")
        )
    }
}

fn limits(shape: &Value) -> String {
    // The models have two fractional limits among thousands; rounding outwards keeps what AWS accepts.
    let number = |key: &str, up: bool| -> Option<i64> {
        let value = &shape[key];
        value.as_i64().or_else(|| value.as_f64().map(|value| if up { value.ceil() } else { value.floor() } as i64))
    };
    match (number("min", false), number("max", true)) {
        (None, None) => "NONE".to_owned(),
        (min, max) => format!("Limits {{ min: {min:?}, max: {max:?} }}"),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
