#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::launcher_messages::check(input));
