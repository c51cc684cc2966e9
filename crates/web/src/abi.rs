//! The module's exported functions. Bytes are passed by address and length in linear memory; times are microseconds
//! since 1970, as `f64`, which holds them exactly until the year 2255.
//!
//! The worker asks [`plenary_buffer`] for room, writes a call into it, and calls [`plenary_call`]. It reads what
//! follows at [`plenary_asks`], each preceded by its length as four bytes, little endian, before the next call.

use std::cell::RefCell;
use std::sync::Once;

use crate::{Ask, Call, Page};

#[derive(Default)]
struct State {
    page: Page,
    call: Vec<u8>,
    asks: Vec<u8>,
}

/// Keeps the message of a panic for the worker.
static HOOK: Once = Once::new();

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns the address of a buffer of that length for the next call.
#[unsafe(no_mangle)]
pub extern "C" fn plenary_buffer(len: usize) -> *mut u8 {
    STATE.with_borrow_mut(|state| {
        state.call.clear();
        state.call.resize(len, 0);
        state.call.as_mut_ptr()
    })
}

/// Handles the call in the buffer. Returns the length of the asks in bytes, or -1 if the bytes are no call.
#[unsafe(no_mangle)]
pub extern "C" fn plenary_call(now_us: f64) -> i32 {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| PANIC.with_borrow_mut(|said| *said = info.to_string())));
    });
    STATE.with_borrow_mut(|state| {
        let Ok(call) = postcard::from_bytes::<Call>(&state.call) else { return -1 };
        state.asks.clear();
        for ask in state.page.handle(now_us as u64, call) {
            push(&mut state.asks, &ask);
        }
        i32::try_from(state.asks.len()).unwrap_or(-1)
    })
}

/// Returns the address of the asks of the last call.
#[unsafe(no_mangle)]
pub extern "C" fn plenary_asks() -> *const u8 {
    STATE.with_borrow(|state| state.asks.as_ptr())
}

/// Returns when [`Call::Tick`] is due at the latest; infinity for never.
#[unsafe(no_mangle)]
pub extern "C" fn plenary_due_us() -> f64 {
    STATE.with_borrow(|state| state.page.due_us().map_or(f64::INFINITY, |due_us| due_us as f64))
}

/// Returns the address of the message of a panic, after which the module traps.
#[unsafe(no_mangle)]
pub extern "C" fn plenary_panic() -> *const u8 {
    PANIC.with_borrow(|said| said.as_ptr())
}

/// Returns the length of that message; 0 if there was no panic.
#[unsafe(no_mangle)]
pub extern "C" fn plenary_panic_len() -> usize {
    PANIC.with_borrow(String::len)
}

fn push(asks: &mut Vec<u8>, ask: &Ask) {
    let at = asks.len();
    asks.extend([0; 4]);
    // asks are plain data, and a vector grows
    if let Ok(bytes) = postcard::to_extend(ask, std::mem::take(asks)) {
        *asks = bytes;
        let len = (asks.len() - at - 4) as u32;
        asks[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}
