//! The URI by which an integration or an authorizer names a Lambda function.

/// `arn:P:apigateway:{region}:lambda:path/2015-03-31/functions/{function ARN}/invocations`, taken apart.
///
/// Source: API Gateway API Reference, "CreateAuthorizer", `authorizerUri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionUri {
    /// Region of the URI itself.
    pub region: String,
    /// The function's ARN as written; the name and the qualifier may hold `${stageVariables.name}`.
    pub function: String,
}

impl FunctionUri {
    /// Takes a URI apart; `None` when it does not name a Lambda function.
    ///
    /// The function's ARN must be whole: partition, region, 12-digit account, `function`, a name, and at most one
    /// qualifier. Whether the function exists is not asked; it may belong to another account.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.splitn(6, ':');
        let (arn, partition, service, region, target, path) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if arn != "arn" || service != "apigateway" || target != "lambda" || !is_word(partition) || !is_region(region) {
            return None;
        }
        let function = path.strip_prefix("path/2015-03-31/functions/")?.strip_suffix("/invocations")?;
        is_function_arn(function).then(|| Self { region: region.to_owned(), function: function.to_owned() })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Every region has a hyphen and a digit; the word `region` left in a copied example has neither.
fn is_region(text: &str) -> bool {
    is_word(text) && text.contains('-') && text.ends_with(|c: char| c.is_ascii_digit())
}

fn is_function_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let (head, qualifier) = match parts.as_slice() {
        [head @ .., qualifier] if parts.len() == 8 => (head, Some(*qualifier)),
        head => (head, None),
    };
    let ["arn", partition, "lambda", region, account, "function", name] = head else {
        return false;
    };
    is_word(partition)
        && is_region(region)
        && account.len() == 12
        && account.chars().all(|c| c.is_ascii_digit())
        && is_name(name)
        && qualifier.is_none_or(|qualifier| qualifier == "$LATEST" || is_name(qualifier))
}

/// Letters, digits, `-` and `_`, with stage variables standing anywhere among them.
fn is_name(text: &str) -> bool {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${stageVariables.") {
        let Some((variable, tail)) = after.split_once('}') else { return false };
        if !plain(before) || variable.is_empty() || !plain(variable) {
            return false;
        }
        rest = tail;
    }
    !text.is_empty() && plain(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::FunctionUri;

    const HEAD: &str = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/";

    #[test]
    fn uris_of_functions_are_taken_apart() {
        for function in [
            "arn:aws:lambda:us-east-1:222222222222:function:Authorizer",
            "arn:aws:lambda:eu-west-1:222222222222:function:f:live",
            "arn:aws:lambda:us-east-1:222222222222:function:f:$LATEST",
            "arn:aws:lambda:us-east-1:222222222222:function:${stageVariables.name}",
            "arn:aws:lambda:us-east-1:222222222222:function:f-${stageVariables.a}_x:${stageVariables.alias}",
            "arn:aws-cn:lambda:cn-north-1:222222222222:function:f",
        ] {
            let uri = format!("{HEAD}{function}/invocations");
            let parsed = FunctionUri::parse(&uri).expect(&uri);
            assert_eq!((parsed.region.as_str(), parsed.function.as_str()), ("us-east-1", function));
        }
    }

    #[test]
    fn anything_else_names_no_function() {
        let arn = "arn:aws:lambda:us-east-1:222222222222:function:f";
        for uri in [
            String::new(),
            arn.to_owned(),
            format!("{HEAD}{arn}"),
            format!("{HEAD}{arn}/invocations/"),
            format!("{HEAD}f/invocations"),
            format!("{HEAD}arn:aws:lambda:us-east-1:2222:function:f/invocations"),
            format!("{HEAD}arn:aws:lambda:us-east-1:222222222222:function:f g/invocations"),
            format!("{HEAD}arn:aws:lambda:us-east-1:222222222222:function:${{stageVariables.}}/invocations"),
            format!("{HEAD}arn:aws:lambda:us-east-1:222222222222:function:f:a:b/invocations"),
            format!("{HEAD}arn:aws:lambda:us-east-1:222222222222:layer:f/invocations"),
            format!("arn:aws:apigateway:region:lambda:path/2015-03-31/functions/{arn}/invocations"),
            format!("arn:aws:apigateway:us-east-1:sqs:path/2015-03-31/functions/{arn}/invocations"),
            format!("arn:aws:apigateway:us-east-1:lambda:action/2015-03-31/functions/{arn}/invocations"),
        ] {
            assert_eq!(FunctionUri::parse(&uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn only_whole_functions_are_named(function in "(arn:aws:lambda:us-east-1:[0-9]{11,13}:function:)?[a-z:${}.\
         ]{0,12}") {
            if let Some(parsed) = FunctionUri::parse(&format!("{HEAD}{function}/invocations")) {
                prop_assert_eq!(&parsed.function, &function);
                let account = function.split(':').nth(4).unwrap_or_default();
                prop_assert!(account.len() == 12 && account.bytes().all(|c| c.is_ascii_digit()));
            }
        }
    }
}
