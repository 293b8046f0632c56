//! Which operations exist here, and how each is run.

use std::{collections::HashMap, sync::OnceLock};

use service::Entry;

use crate::exchange::{logs::LogsCall, test_invoke::Tried};

/// How an operation is run.
#[derive(Clone, Copy)]
pub enum Run {
    /// A pure change of state.
    Apply(&'static Entry),
    /// One that streams or waits.
    Exchange(Exchange),
}

/// The operations that are not a pure change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Lambda's Invoke.
    Invoke,
    /// Lambda's InvokeWithResponseStream.
    InvokeStream,
    /// Its elder, which knows events alone.
    InvokeAsync,
    /// CloudTrail's LookupEvents: reads the event history.
    LookupEvents,
    /// CloudWatch Logs' operations on streams and events.
    Logs(LogsCall),
    /// API Gateway's TestInvokeAuthorizer and TestInvokeMethod.
    TestInvoke(Tried),
}

/// Lists of operations by service, as botocore spells the services.
fn lists() -> [(&'static str, &'static [&'static [Entry]]); 6] {
    [
        ("apigateway", apigateway::OPERATIONS),
        ("lambda", lambda::OPERATIONS),
        ("iam", platform::iam::OPERATIONS),
        ("sts", platform::sts::OPERATIONS),
        ("cloudtrail", platform::cloudtrail::OPERATIONS),
        ("logs", platform::logs::OPERATIONS),
    ]
}

const EXCHANGES: [(&str, &str, Exchange); 13] = [
    ("lambda", "Invoke", Exchange::Invoke),
    ("lambda", "InvokeWithResponseStream", Exchange::InvokeStream),
    ("lambda", "InvokeAsync", Exchange::InvokeAsync),
    ("cloudtrail", "LookupEvents", Exchange::LookupEvents),
    ("logs", "CreateLogStream", Exchange::Logs(LogsCall::CreateLogStream)),
    ("logs", "DeleteLogStream", Exchange::Logs(LogsCall::DeleteLogStream)),
    ("logs", "DescribeLogGroups", Exchange::Logs(LogsCall::DescribeLogGroups)),
    ("logs", "DescribeLogStreams", Exchange::Logs(LogsCall::DescribeLogStreams)),
    ("logs", "FilterLogEvents", Exchange::Logs(LogsCall::FilterLogEvents)),
    ("logs", "GetLogEvents", Exchange::Logs(LogsCall::GetLogEvents)),
    ("logs", "PutLogEvents", Exchange::Logs(LogsCall::PutLogEvents)),
    ("apigateway", "TestInvokeAuthorizer", Exchange::TestInvoke(Tried::Authorizer)),
    ("apigateway", "TestInvokeMethod", Exchange::TestInvoke(Tried::Method)),
];

/// How this operation is run; `None` when this version does not have it.
#[must_use]
pub fn find(service: &'static str, operation: &'static str) -> Option<Run> {
    static INDEX: OnceLock<HashMap<(&'static str, &'static str), Run>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = HashMap::new();
        for (service, nouns) in lists() {
            for entry in nouns.iter().flat_map(|list| list.iter()) {
                index.insert((service, entry.name), Run::Apply(entry));
            }
        }
        for (service, name, exchange) in EXCHANGES {
            index.insert((service, name), Run::Exchange(exchange));
        }
        index
    });
    index.get(&(service, operation)).copied()
}

/// Every operation this version has, as (service, operation), sorted.
#[must_use]
pub fn implemented() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = lists()
        .into_iter()
        .flat_map(|(service, nouns)| nouns.iter().flat_map(|list| list.iter()).map(move |entry| (service, entry.name)))
        .chain(EXCHANGES.iter().map(|(service, name, _)| (*service, *name)))
        .chain(crate::exchange::s3::OPERATIONS.iter().map(|name| ("s3", *name)))
        .collect();
    all.sort_unstable();
    all
}

/// Input members of AWS's model that this operation refuses, because nothing enforces them yet.
#[must_use]
pub fn refused(service: &'static str, operation: &'static str) -> &'static [&'static str] {
    match find(service, operation) {
        Some(Run::Apply(entry)) => entry.refused,
        Some(Run::Exchange(Exchange::TestInvoke(Tried::Method))) => apigateway::test_invoke::METHOD_REFUSED,
        Some(Run::Exchange(_)) | None => &[],
    }
}
