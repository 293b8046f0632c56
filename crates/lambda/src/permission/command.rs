//! The AWS CLI command that grants an invocation, as the console prints it.

use std::fmt::Write as _;

/// The `aws lambda add-permission` command that lets API Gateway invoke a function on behalf of a source.
///
/// `function_arn` is the function as the URI names it: its qualifier, if any, becomes `--qualifier`, and its region
/// `--region`. `source_arn` is the authorizer's or the method's ARN. What a shell would read otherwise stands in single
/// quotes, so any text can be given; what is no function's ARN is passed on as it is, for the CLI to refuse.
///
/// Source: API Gateway Developer Guide, "Configure API Gateway Lambda authorizer using the API Gateway console": the
/// members in this order, up to the action.
#[must_use]
pub fn add_permission_command(function_arn: &str, source_arn: &str, statement_id: &str) -> String {
    let parts: Vec<&str> = function_arn.split(':').collect();
    let (name, qualifier, region) = match parts.as_slice() {
        ["arn", _, "lambda", region, _, "function", _] => (function_arn, None, Some(*region)),
        ["arn", _, "lambda", region, _, "function", _, qualifier] => {
            let name = function_arn.strip_suffix(qualifier).and_then(|name| name.strip_suffix(':'));
            (name.unwrap_or(function_arn), Some(*qualifier), Some(*region))
        }
        _ => (function_arn, None, None),
    };
    let mut command = "aws lambda add-permission".to_owned();
    let members = [
        ("function-name", Some(name)),
        ("source-arn", Some(source_arn)),
        ("principal", Some("apigateway.amazonaws.com")),
        ("statement-id", Some(statement_id)),
        ("action", Some("lambda:InvokeFunction")),
        ("qualifier", qualifier),
        ("region", region),
    ];
    for (member, value) in members {
        let Some(value) = value else { continue };
        // A value that begins like an option is one to the CLI, quoted or not, unless it is joined to its name.
        let joint = if value.starts_with('-') { '=' } else { ' ' };
        // Writing to a string does not fail.
        let _ = write!(command, " --{member}{joint}{}", quoted(value));
    }
    command
}

/// A word of a POSIX shell that stands for exactly this text.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":/_.,@%+=-".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_ready_to_be_run_in_the_functions_account() {
        const ARN: &str = "arn:aws:lambda:eu-west-1:444455556666:function:f";
        const SOURCE: &str = "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/authorizers/abcdef";
        let tail = "--principal apigateway.amazonaws.com --statement-id s-1 --action lambda:InvokeFunction";
        let authorizers = SOURCE.replace("abcdef", "*");
        for (function, source, expected) in [
            (ARN.to_owned(), SOURCE, format!("--function-name {ARN} --source-arn {SOURCE} {tail} --region eu-west-1")),
            (
                format!("{ARN}:live"),
                SOURCE,
                format!("--function-name {ARN} --source-arn {SOURCE} {tail} --qualifier live --region eu-west-1"),
            ),
            (
                format!("{ARN}:$LATEST"),
                authorizers.as_str(),
                format!(
                    "--function-name {ARN} --source-arn '{authorizers}' {tail} --qualifier '$LATEST' --region eu-west-1"
                ),
            ),
            ("${stageVariables.f}".to_owned(), SOURCE, {
                format!("--function-name '${{stageVariables.f}}' --source-arn {SOURCE} {tail}")
            }),
        ] {
            let command = add_permission_command(&function, source, "s-1");
            assert_eq!(command, format!("aws lambda add-permission {expected}"));
        }
    }

    #[test]
    fn what_a_shell_or_the_cli_would_read_otherwise_is_only_text() {
        let command = add_permission_command("a'; rm -rf $HOME #", "", "-s");
        assert_eq!(
            command,
            r"aws lambda add-permission --function-name 'a'\''; rm -rf $HOME #' --source-arn '' --principal apigateway.amazonaws.com --statement-id=-s --action lambda:InvokeFunction"
        );
    }

    proptest! {
        /// Read as a POSIX shell reads it, a word is the text it was made of.
        #[test]
        fn words_read_back(text in "\\PC{0,40}|['a \n$`\\\\]{0,12}") {
            let word = quoted(&text);
            let mut read = String::new();
            let mut rest = word.as_str();
            while let Some(first) = rest.chars().next() {
                if let Some(inside) = rest.strip_prefix('\'') {
                    let (literal, after) = inside.split_once('\'').expect("quotes are closed");
                    read.push_str(literal);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix(r"\'") {
                    read.push('\'');
                    rest = after;
                } else {
                    prop_assert!(first.is_ascii_alphanumeric() || ":/_.,@%+=-".contains(first));
                    read.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
            prop_assert_eq!(read, text);
        }
    }
}
