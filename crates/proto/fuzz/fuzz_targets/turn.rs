#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plenary_signal::target::turn(bytes));
