#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| haflow::fuzz::ssh_options(data));
