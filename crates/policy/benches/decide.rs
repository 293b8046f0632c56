//! What one decision costs with 1, 10, 100 and 1,000 statements, next to `cedar-policy` on equivalent rules.
//!
//! Time is the CPU time of this thread, so that neighbours on the machine disturb little. At the end stands a table of
//! medians and their ratios, all from one run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use cedar_policy::{Authorizer, Entities, EntityUid, PolicySet};
use criterion::{Criterion, SamplingMode};
use policy::{Context, Decide, Kind, Policy, Principal, Request, decide};

const SIZES: [usize; 4] = [1, 10, 100, 1_000];
const ACTION: &str = "execute-api:Invoke";

/// What stands in the rules besides the allows, and what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    /// The last rule allows.
    Last,
    /// No rule is about the resource.
    Nothing,
    /// As `Last`, and the middle rule denies something else.
    WithDeny,
    /// Every rule is about every resource; only the last is about the action.
    ByAction,
}

impl Variant {
    const ALL: [Variant; 4] = [Variant::Last, Variant::Nothing, Variant::WithDeny, Variant::ByAction];

    fn name(self) -> &'static str {
        match self {
            Variant::Last => "last of all",
            Variant::Nothing => "nothing",
            Variant::WithDeny => "last, one deny among",
            Variant::ByAction => "last, by action",
        }
    }

    fn allows(self) -> bool {
        self != Variant::Nothing
    }
}

/// One rule in no language yet.
struct Rule {
    deny: bool,
    action: String,
    resource: String,
}

fn rules(variant: Variant, count: usize) -> Vec<Rule> {
    let api = |n: usize| format!("arn:aws:execute-api:us-east-1:111122223333:{:010x}/prod/GET/", api_id(n));
    let rule = |n: usize| match variant {
        Variant::ByAction if n + 1 < count => {
            Rule { deny: false, action: format!("execute-api:Other{n}"), resource: "*".to_owned() }
        }
        Variant::ByAction => Rule { deny: false, action: ACTION.to_owned(), resource: "*".to_owned() },
        _ => {
            let deny = variant == Variant::WithDeny && n == count / 2 && count > 1;
            Rule { deny, action: ACTION.to_owned(), resource: format!("{}*", api(n)) }
        }
    };
    (0..count).map(rule).collect()
}

/// Ids spread as real ones are.
fn api_id(n: usize) -> u64 {
    (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24
}

fn asked(variant: Variant, count: usize) -> String {
    let n = if variant == Variant::Nothing { count } else { count - 1 };
    format!("arn:aws:execute-api:us-east-1:111122223333:{:010x}/prod/GET/pets/17", api_id(n))
}

fn ours(rules: &[Rule]) -> Policy {
    let statement = |rule: &Rule| {
        let effect = if rule.deny { "Deny" } else { "Allow" };
        format!(r#"{{"Effect":"{effect}","Action":"{}","Resource":"{}"}}"#, rule.action, rule.resource)
    };
    let statements: Vec<String> = rules.iter().map(statement).collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    Policy::parse(&text, Kind::Identity).expect("a policy")
}

fn theirs(rules: &[Rule]) -> PolicySet {
    let one = |rule: &Rule| {
        let effect = if rule.deny { "forbid" } else { "permit" };
        let condition = match rule.resource.as_str() {
            "*" => String::new(),
            resource => format!(r#" when {{ context.arn like "{resource}" }}"#),
        };
        format!(r#"{effect}(principal, action == Action::"{}", resource){condition};"#, rule.action)
    };
    let text: String = rules.iter().map(one).collect();
    PolicySet::from_str(&text).expect("policies")
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Nanoseconds a call, one for each sample, by engine, variant and number of rules.
type Samples = BTreeMap<(Variant, usize, &'static str), Vec<f64>>;

struct Bench<'c> {
    criterion: &'c mut Criterion,
    samples: RefCell<Samples>,
}

impl Bench<'_> {
    fn measure(&mut self, variant: Variant, count: usize, engine: &'static str, mut call: impl FnMut() -> bool) {
        assert_eq!(call(), variant.allows(), "{engine} decides wrongly");
        let samples = &self.samples;
        let mut group = self.criterion.benchmark_group(format!("{}/{count}", variant.name()));
        group.sampling_mode(SamplingMode::Flat).sample_size(30);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1_500));
        group.bench_function(engine, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = cpu_time();
                for _ in 0..iterations {
                    black_box(call());
                }
                let spent = cpu_time() - start;
                let each = spent.as_secs_f64() * 1e9 / iterations as f64;
                samples.borrow_mut().entry((variant, count, engine)).or_default().push(each);
                spent
            });
        });
        group.finish();
    }

    fn ours(&mut self, variant: Variant, count: usize) {
        let policy = ours(&rules(variant, count));
        let (resource, context) = (asked(variant, count), Context::new());
        self.measure(variant, count, "policy", || {
            let request = Request {
                action: ACTION,
                resource: black_box(&resource),
                principal: &Principal::Anonymous,
                context: &context,
            };
            let input = Decide {
                identity: &[&policy],
                boundary: None,
                session: None,
                resource: None,
                same_account: true,
                is_root: false,
                request: &request,
            };
            decide(black_box(&input)).is_allowed()
        });
    }

    fn theirs(&mut self, variant: Variant, count: usize) {
        let policies = theirs(&rules(variant, count));
        let uid = |text: &str| EntityUid::from_str(text).expect("a name");
        let pairs = [("arn".to_owned(), cedar_policy::RestrictedExpression::new_string(asked(variant, count)))];
        let context = cedar_policy::Context::from_pairs(pairs).expect("a context");
        let request = cedar_policy::Request::new(
            uid(r#"User::"caller""#),
            uid(&format!(r#"Action::"{ACTION}""#)),
            uid(r#"Method::"method""#),
            context,
            None,
        )
        .expect("a request");
        let (authorizer, entities) = (Authorizer::new(), Entities::empty());
        self.measure(variant, count, "cedar-policy", || {
            let answer = authorizer.is_authorized(black_box(&request), &policies, &entities);
            answer.decision() == cedar_policy::Decision::Allow
        });
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(samples: &Samples) {
    println!("\n| rules | asked | policy, ns | cedar-policy, ns | ratio |\n|---|---|---|---|---|");
    for variant in Variant::ALL {
        for count in SIZES {
            let of = |engine| samples.get(&(variant, count, engine)).map(|samples| median(samples));
            if let (Some(ours), Some(theirs)) = (of("policy"), of("cedar-policy")) {
                println!("| {count} | {} | {ours:.1} | {theirs:.0} | {:.0} |", variant.name(), theirs / ours);
            }
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut bench = Bench { criterion: &mut criterion, samples: RefCell::default() };
    for variant in Variant::ALL {
        for count in SIZES {
            bench.ours(variant, count);
            bench.theirs(variant, count);
        }
    }
    let samples = bench.samples.into_inner();
    criterion.final_summary();
    report(&samples);
}
