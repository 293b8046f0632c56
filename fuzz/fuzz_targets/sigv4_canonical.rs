#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::sigv4_canonical::check(input));
