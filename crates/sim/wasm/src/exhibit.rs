//! An exhibit as exported functions, for the page in `web/kill`. The module imports nothing: bytes are read in linear
//! memory, by address and length. Times are microseconds, as `f64`, which holds them exactly.

use std::cell::RefCell;
use std::sync::Once;

use plenary_sim::exhibit::{Act, Exhibit};

/// Keeps the message of a panic for the worker.
static HOOK: Once = Once::new();

thread_local! {
    static EXHIBIT: RefCell<Option<Exhibit>> = const { RefCell::new(None) };
    static VIEW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn with<T: Default>(does: impl FnOnce(&mut Exhibit) -> T) -> T {
    EXHIBIT.with_borrow_mut(|exhibit| exhibit.as_mut().map(does).unwrap_or_default())
}

/// Begins a room; an earlier one is dropped.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_create(seed: u64, peers: u32) {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| PANIC.with_borrow_mut(|said| *said = info.to_string())));
    });
    EXHIBIT.with_borrow_mut(|exhibit| *exhibit = Some(Exhibit::new(seed, peers as usize)));
}

/// Runs for `us` microseconds, rounded down to steps of 20 ms. Returns the room's time.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_run(us: f64) -> f64 {
    with(|exhibit| {
        exhibit.run_for(us as u64);
        exhibit.now().0 as f64
    })
}

/// Carries out the act with this number now. Returns the number of peers that it kills, cuts off or adds, or -1 if
/// there is no such act.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_act(number: u32, which: u32) -> i32 {
    let Some(act) = Act::numbered(number, which) else { return -1 };
    with(|exhibit| exhibit.act(act) as i32)
}

/// Writes the present state; returns its length. `plenary_sim::exhibit` says what the bytes mean.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_view() -> usize {
    VIEW.with_borrow_mut(|view| {
        view.clear();
        with(|exhibit| view.extend_from_slice(exhibit.view()));
        view.len()
    })
}

/// Returns the address of the state that was written last.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_view_at() -> *const u8 {
    VIEW.with_borrow(|view| view.as_ptr())
}

/// Returns the hash of all outputs of all brains so far.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_trace() -> u64 {
    with(|exhibit| exhibit.trace())
}

/// Returns the address of the message of a panic, after which the module traps.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_panic() -> *const u8 {
    PANIC.with_borrow(|said| said.as_ptr())
}

/// Returns the length of that message; 0 if there was no panic.
#[unsafe(no_mangle)]
pub extern "C" fn exhibit_panic_len() -> usize {
    PANIC.with_borrow(String::len)
}
