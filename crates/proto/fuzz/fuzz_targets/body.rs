#![no_main]

#[path = "../checks/body.rs"]
mod body;
#[path = "../checks/draw.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod draw;
#[path = "../checks/sign.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod sign;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::body(bytes));
