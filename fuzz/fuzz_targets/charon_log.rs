#![no_main]

#[expect(dead_code, reason = "the others are of other targets")]
#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::charon_log(bytes));
