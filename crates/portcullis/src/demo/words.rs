//! The AWS CLI command of a call, as a person would type it and a shell would take it.

use serde_json::Value;

use super::aws::Call;

/// Where a command is continued on the next line.
const COLUMNS_MAX: usize = 100;

/// The words of the command; option and value are one.
pub fn command(call: &Call) -> Vec<String> {
    let mut words = vec!["aws".to_owned(), call.operation.service.name.to_owned(), kebab(call.operation.name)];
    for (name, value) in &call.params {
        // What travels as bytes is typed as the name of a file.
        if name == "Code" {
            words.push("--zip-file fileb://LambdaAuthorizer.zip".to_owned());
        } else {
            words.push(format!("--{} {}", kebab(name), argument(value)));
        }
    }
    words
}

/// Puts words on lines that a shell reads as one.
pub fn lines(words: &[String], indent_first: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        let indent = if lines.len() == 1 { indent_first } else { 4 };
        let Some(line) = lines.last_mut() else { break };
        let fits = indent + line.chars().count() + word.chars().count() + 3 <= COLUMNS_MAX;
        if line.is_empty() || (fits || !word.starts_with('-')) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            line.push_str(" \\");
            lines.push(word.clone());
        }
    }
    lines
}

/// A value in the CLI's shorthand where that can hold it, else as JSON; quoted where a shell needs it.
fn argument(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(elements) => match elements.iter().map(shorthand).collect::<Option<Vec<_>>>() {
            Some(elements) => elements.join(" "),
            None => quoted(&value.to_string()),
        },
        Value::Object(_) => shorthand(value).unwrap_or_else(|| quoted(&value.to_string())),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// `key=value,key=value`, if every key and value is plain.
fn shorthand(value: &Value) -> Option<String> {
    let plain = |value: &Value| match value {
        Value::String(text) if is_plain(text) => Some(text.clone()),
        _ => None,
    };
    match value {
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| {
                let value = match value {
                    Value::Array(elements) => elements.iter().map(plain).collect::<Option<Vec<_>>>()?.join(","),
                    other => plain(other)?,
                };
                is_plain(key).then(|| format!("{key}={value}"))
            });
            Some(pairs.collect::<Option<Vec<_>>>()?.join(","))
        }
        other => plain(other),
    }
}

/// Whether neither a shell nor the CLI's shorthand sees anything special in it.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:+".contains(c))
}

fn quoted(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// `CreateRestApi` as `create-rest-api`.
fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_what_a_shell_and_the_cli_take() {
        for (service, operation, params, expected) in [
            (
                "apigateway",
                "CreateRestApi",
                json!({ "name": "APIblogpost", "endpointConfiguration": { "types": ["EDGE"] } }),
                "aws apigateway create-rest-api --name APIblogpost --endpoint-configuration types=EDGE",
            ),
            (
                "apigateway",
                "PutIntegration",
                json!({ "requestTemplates": { "application/json": "{\"statusCode\": 200}" } }),
                r#"aws apigateway put-integration --request-templates '{"application/json":"{\"statusCode\": 200}"}'"#,
            ),
            (
                "apigateway",
                "UpdateMethod",
                json!({ "patchOperations": [{ "op": "replace", "path": "/a", "value": "b" }, { "op": "remove", "path": "/c" }] }),
                "aws apigateway update-method --patch-operations op=replace,path=/a,value=b op=remove,path=/c",
            ),
            ("iam", "CreateRole", json!({ "RoleName": "it's" }), r"aws iam create-role --role-name 'it'\''s'"),
        ] {
            let call = Call::new(service, operation, params).unwrap();
            assert_eq!(command(&call).join(" "), expected);
        }
    }

    #[test]
    fn long_commands_go_on_at_an_option() {
        let words = [
            "aws x".to_owned(),
            format!("--a {}", "a".repeat(70)),
            format!("--b {}", "b".repeat(40)),
            "| c".to_owned(),
        ];
        let lines = lines(&words, 5);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with(" \\") && lines[1].starts_with("--b") && lines[1].ends_with("| c"));
    }
}
