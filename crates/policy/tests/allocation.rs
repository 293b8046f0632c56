//! A decision takes no memory: it is made for every call, and what it takes a neighbour cannot have.
#![allow(unsafe_code, reason = "an allocator that counts is unsafe to write; this one only hands on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use policy::{Context, Decide, Kind, Policy, Principal, Request, decide};

struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came; counting takes no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: as the caller promised us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised us.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_decision_takes_no_memory() {
    let statements: Vec<String> = (0..400)
        .map(|n| {
            format!(
                r#"{{"Sid":"s{n}","Effect":"Allow","Action":"execute-api:Invoke",
                    "Resource":"arn:aws:execute-api:us-east-1:111122223333:api{n}/*",
                    "Condition":{{"IpAddress":{{"aws:SourceIp":"203.0.113.0/24"}},"NumericLessThan":{{"a:n":"10"}},
                    "ArnLike":{{"aws:SourceArn":"arn:aws:*:*:111122223333:*"}}}}}}"#
            )
        })
        .map(|statement| statement.split_whitespace().collect())
        .collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    let policy = Policy::parse(&text, Kind::Identity).expect("a policy");
    let mut context = Context::new();
    context.insert("aws:SourceIp", "203.0.113.7");
    context.insert("a:n", "7");
    context.insert("aws:SourceArn", "arn:aws:execute-api:us-east-1:111122223333:api");
    for (resource, allowed) in [("api7/GET/pets", true), ("api399/", true), ("api400/", false)] {
        let resource = format!("arn:aws:execute-api:us-east-1:111122223333:{resource}");
        let request = Request {
            action: "Execute-API:Invoke",
            resource: &resource,
            principal: &Principal::Anonymous,
            context: &context,
        };
        let input = Decide {
            identity: &[&policy],
            boundary: Some(&policy),
            session: Some(&[&policy]),
            resource: None,
            same_account: true,
            is_root: false,
            request: &request,
        };
        let before = TAKEN.get();
        let decision = decide(&input);
        assert_eq!(TAKEN.get() - before, 0, "{resource}");
        assert_eq!(decision.is_allowed(), allowed, "{resource}");
    }
}
