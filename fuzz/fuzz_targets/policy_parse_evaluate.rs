#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::policy_parse_evaluate::check(input));
