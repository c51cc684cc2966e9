//! Benchmark of one brain: inputs per second in each role of a calm room, and memory in rooms of 10² to 10⁵
//! viewers. `cargo bench -p plenary-sim --bench brain`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plenary_sim::stand::{Part, Stand, bytes_per_peer};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system allocator with a count of allocated bytes.
struct Counting;

// SAFETY: all calls are forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Processor time of this process, so that other load on the machine doesn't count.
fn cpu() -> Duration {
    cpu_time::ProcessTime::now().as_duration()
}

fn main() {
    println!("inputs per second of processor time, calm room of 1000 viewers");
    let (mut inputs, mut took) = (0, Duration::ZERO);
    for part in Part::ALL {
        let mut stand = Stand::new(part, 1000);
        stand.calm(100, cpu); // warms up caches and branch predictors
        let speed = stand.calm(5_000, cpu);
        let ns = speed.took.as_nanos() / u128::from(speed.inputs.max(1));
        println!("{:8} {:12.0} ({ns} ns each)", format!("{part:?}"), speed.inputs_per_s());
        (inputs, took) = (inputs + speed.inputs, took + speed.took);
    }
    println!("{:8} {:12.0}", "all", inputs as f64 / took.as_secs_f64());
    println!("bytes of a relay's brain, by viewers in the room");
    for audience in [100, 1_000, 10_000, 100_000] {
        let bytes = bytes_per_peer(audience, 8, || ALLOCATED.load(Ordering::Relaxed));
        println!("{audience:8} {bytes:12.0}");
    }
}
