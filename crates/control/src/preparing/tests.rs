use super::*;

fn key(name: &str) -> FunctionKey {
    FunctionKey { account: "444455556666".to_owned(), region: "us-east-1".to_owned(), name: name.to_owned() }
}

fn not_now() -> ServiceError {
    ServiceError::new("ResourceConflictException", 409, life::not_now("Pending"))
}

#[test]
fn a_function_is_asked_for_once_until_it_is_taken() {
    let (preparing, mut waiting) = Preparing::new();
    preparing.ask(&key("f"));
    preparing.ask(&key("f"));
    preparing.ask(&key("g"));
    assert_eq!(waiting.try_recv().ok(), Some(key("f")));
    assert_eq!(waiting.try_recv().ok(), Some(key("g")));
    assert!(waiting.try_recv().is_err());
    preparing.taken(&key("f"));
    preparing.ask(&key("f"));
    assert_eq!(waiting.try_recv().ok(), Some(key("f")));
}

#[test]
fn a_change_that_comes_too_early_is_made_once_it_can_be() {
    let (preparing, _waiting) = Preparing::new();
    let mut early = 3;
    let done = patiently(&preparing, || {
        if early == 0 {
            return Ok("done");
        }
        early -= 1;
        preparing.settled.notify_all();
        Err(not_now())
    });
    assert_eq!(done.ok(), Some("done"));
}

#[test]
fn other_refusals_are_answered_at_once() {
    let (preparing, _waiting) = Preparing::new();
    let mut calls = 0;
    let refused = patiently(&preparing, || -> Result<()> {
        calls += 1;
        Err(ServiceError::new("ResourceConflictException", 409, "Function already exist: f"))
    });
    assert!(refused.is_err());
    assert_eq!(calls, 1);
}
