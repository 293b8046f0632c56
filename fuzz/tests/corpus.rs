//! The kept corpus, replayed by the stable compiler: what once was found stays found.

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus") {
        check(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
        inputs += 1;
    }
    assert!(inputs > 0, "no corpus in {}", folder.display());
}

#[test]
fn policy_parse_evaluate() {
    replay("policy_parse_evaluate", fuzz::policy_parse_evaluate::check);
}

#[test]
fn arn_match() {
    replay("arn_match", fuzz::arn_match::check);
}

#[test]
fn sigv4_canonical() {
    replay("sigv4_canonical", fuzz::sigv4_canonical::check);
}

#[test]
fn authorizer_answer() {
    replay("authorizer_answer", fuzz::authorizer_answer::check);
}

#[test]
fn runtime_frames() {
    replay("runtime_frames", fuzz::runtime_frames::check);
}

#[test]
fn runtime_api() {
    replay("runtime_api", fuzz::runtime_api::check);
}

#[test]
fn launcher_messages() {
    replay("launcher_messages", fuzz::launcher_messages::check);
}

#[test]
fn exec_handover() {
    replay("exec_handover", fuzz::exec_handover::check);
}
