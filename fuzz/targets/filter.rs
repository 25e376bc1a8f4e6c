#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| haflow_engine::fuzz::filter(data));
