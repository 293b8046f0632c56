use super::*;
#[test]
fn unknown_service_is_none() {
    assert!(service("nothing").is_none());
}
