use proptest::prelude::*;

use super::FilterPattern;

const EVENT: &str =
    r#"{"x":1,"name":"UpdateTrail","ok":true,"none":null,"list":[{"id":"a-7"}],"ip":"10.0.0.9","ratio":0.5}"#;

#[test]
fn patterns_fit_as_the_guide_says() {
    let cases = [
        ("", "anything", true),
        ("ERROR", "[ERROR 400] bad", true),
        ("ERROR", "[error 400] bad", false),
        ("ERROR bad", "[ERROR 400] bad", true),
        ("ERROR good", "[ERROR 400] bad", false),
        ("\"400] bad\"", "[ERROR 400] bad", true),
        (r#""a \"b\"""#, r#"x a "b" y"#, true),
        ("?ERROR ?WARN", "WARN low", true),
        ("?ERROR ?WARN", "INFO", false),
        ("ERROR -bad", "[ERROR 400] bad", false),
        ("ERROR -good", "[ERROR 400] bad", true),
        ("-\"400]\"", "[ERROR 400] bad", false),
        ("{ $.x = 1 }", EVENT, true),
        ("{$.x=1}", EVENT, true),
        ("{ $.x = 1.0 }", EVENT, true),
        ("{ $.x != 1 }", EVENT, false),
        ("{ $.missing != 1 }", EVENT, false),
        ("{ $.missing NOT EXISTS }", EVENT, true),
        ("{ $.none IS NULL && $.ok IS TRUE }", EVENT, true),
        ("{ $.x > 0 && $.x < 2 && $.ratio <= 0.5 && $.x >= 1 }", EVENT, true),
        ("{ $.name = UpdateTrail }", EVENT, true),
        ("{ $.name = \"Update*\" }", EVENT, true),
        ("{ $.name = \"*Trail\" }", EVENT, true),
        ("{ $.name = \"U*T*x\" }", EVENT, false),
        ("{ $.ip = 10.0.* }", EVENT, true),
        ("{ $.list[0].id = a-7 }", EVENT, true),
        ("{ $.list[1].id = a-7 }", EVENT, false),
        ("{ $.x = 2 || $.x = 1 && $.ok IS TRUE }", EVENT, true),
        ("{ ($.x = 2 || $.x = 1) && $.ok IS FALSE }", EVENT, false),
        ("{ $.x = 1 }", "not json", false),
        ("{ $.x = 1 }", "[1]", false),
    ];
    for (pattern, message, wanted) in cases {
        assert_eq!(FilterPattern::parse(pattern).unwrap().matches(message), wanted, "{pattern} on {message}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let deep = format!("{{ {}$.x = 1{} }}", "(".repeat(20), ")".repeat(20));
    let long = "a".repeat(1_025);
    let cases = [
        "[ip, user]",
        "%a.*b%",
        "a-b",
        "\"open",
        "?a b",
        "?a -b",
        "-",
        "?",
        "\"a\"b",
        "{ $.x }",
        "{ $.x = }",
        "{ x = 1 }",
        "{ $ = 1 }",
        "{ $.x = 1",
        "{ $.x = 1 && }",
        "{ ($.x = 1 }",
        "{ $.x < a }",
        "{ $.x = 1 } }",
        "{ $.x[a] = 1 }",
        "{ $.x ~ 1 }",
        "{ $.x = %a% }",
        &deep,
        &long,
    ];
    for pattern in cases {
        let error = FilterPattern::parse(pattern).unwrap_err();
        assert_eq!(error.code, "InvalidParameterException", "{pattern}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(pattern in "[ {}$.a-c\\[\\]0-9=<>!&|()\"*?%\\\\-]{0,40}", message in ".{0,60}") {
        if let Ok(pattern) = FilterPattern::parse(&pattern) {
            let _ = pattern.matches(&message);
            let _ = pattern.matches(EVENT);
        }
    }
}
