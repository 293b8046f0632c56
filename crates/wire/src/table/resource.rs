//! Filling resource ARN templates.

use serde_json::Value;

use super::Operation;
use crate::{form, route};

/// See [`Operation::resource_arn`].
pub(super) fn fill(operation: &Operation, params: &Value, raw_path: &str, account: &str, region: &str) -> String {
    let template = operation.iam_resource;
    if operation.service.signing_name == "apigateway" {
        return from_path(operation, raw_path, region);
    }
    let context = Context { operation, params, account, region };
    if let Some(arn) = context.replacing_arn(template) {
        return arn;
    }
    context.expand(template, false)
}

/// API Gateway: the template with the labels of the path as sent, each decoded and encoded again. Taking the raw path
/// instead would let `%61bc` stand for `abc` and slip past a policy that denies `abc`.
fn from_path(operation: &Operation, raw_path: &str, region: &str) -> String {
    let labels = route::labels(operation, raw_path);
    let mut out = String::new();
    let mut rest = operation.iam_resource;
    while let Some((before, name, after)) = next_placeholder(rest) {
        out.push_str(before);
        match name {
            "region" => out.push_str(region),
            _ => match labels.iter().find(|(label, _)| *label == name).and_then(|(_, raw)| form::decode_label(raw)) {
                Some(value) => out.push_str(&form::encode_label(&value)),
                None => out.push('*'),
            },
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

struct Context<'a> {
    operation: &'a Operation,
    params: &'a Value,
    account: &'a str,
    region: &'a str,
}

impl Context<'_> {
    fn value(&self, name: &str) -> Option<String> {
        match name {
            "region" => Some(self.region.to_owned()),
            "account" => Some(self.account.to_owned()),
            _ => match self.params.get(name)? {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            },
        }
    }

    /// The ARN that a member holds where the template expects a name: it is the resource already.
    fn replacing_arn(&self, template: &str) -> Option<String> {
        let mut rest = template;
        while let Some((_, name, after)) = next_placeholder(rest) {
            rest = after;
            if matches!(name, "region" | "account") {
                continue;
            }
            let Some(value) = self.value(name) else { continue };
            if self.operation.service.name == "lambda" && name == "FunctionName" {
                return Some(self.function(&value, after));
            }
            if value.starts_with("arn:") {
                let all_streams = self.operation.service.name == "logs" && after == ":*" && !value.ends_with(":*");
                return Some(if all_streams { format!("{value}:*") } else { value });
            }
        }
        None
    }

    /// Lambda's spellings of a function: name, `name:qualifier`, `account:function:name[:qualifier]`, full ARN.
    ///
    /// Source: AWS Lambda API Reference, `FunctionName` of "Invoke".
    fn function(&self, value: &str, after: &str) -> String {
        let fields: Vec<&str> = value.split(':').collect();
        let (region, account, tail): (&str, &str, &[&str]) = match fields.as_slice() {
            ["arn", _, "lambda", region, account, "function", tail @ ..] => (region, account, tail),
            [account, "function", tail @ ..] => (self.region, account, tail),
            tail => (self.region, self.account, tail),
        };
        let name = tail.first().copied().unwrap_or("*");
        let partition = match fields.as_slice() {
            ["arn", partition, ..] => partition,
            _ => "aws",
        };
        let mut arn = format!("arn:{partition}:lambda:{region}:{account}:function:{name}");
        let qualifier = tail.get(1).map(|qualifier| (*qualifier).to_owned());
        let sent = if after.contains("{Qualifier}") { self.value("Qualifier") } else { None };
        if let Some(qualifier) = qualifier.or(sent) {
            arn.push(':');
            arn.push_str(&qualifier);
        }
        arn
    }

    /// Fills placeholders. Inside `[..]` a missing member drops the group, elsewhere it becomes `*`.
    fn expand(&self, template: &str, optional: bool) -> String {
        let mut out = String::new();
        let mut rest = template;
        loop {
            let group = rest.find('[').and_then(|at| Some((at, rest.get(at..)?.find(']')? + at)));
            let placeholder = rest.find('{');
            match (group, placeholder) {
                (Some((open, close)), _) if placeholder.is_none_or(|at| open < at) => {
                    out.push_str(rest.get(..open).unwrap_or_default());
                    let inner = rest.get(open + 1..close).unwrap_or_default();
                    out.push_str(&self.expand(inner, true));
                    rest = rest.get(close + 1..).unwrap_or_default();
                }
                _ => {
                    let Some((before, name, after)) = next_placeholder(rest) else { break };
                    out.push_str(before);
                    match (self.value(name), name) {
                        (Some(value), _) => out.push_str(&value),
                        (None, _) if optional => return String::new(),
                        // IAM's path is a part of the name's place, and `/` unless sent.
                        (None, "Path") => out.push('/'),
                        (None, _) => out.push('*'),
                    }
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// Splits `before{name}after`.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}
