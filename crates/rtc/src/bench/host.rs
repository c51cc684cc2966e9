//! Threads with separately measured processor time: each group runs a tokio runtime of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use tokio::runtime;
use tokio::sync::oneshot;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Returns the processor time so far of a process's living threads with these names, user and system, in microseconds.
pub(crate) fn threads_cpu_us(process: u32, wanted: impl Fn(&str) -> bool) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let times_ns = threads.into_iter().flatten().filter_map(Result::ok).filter_map(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        let statistics = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        wanted(name.trim_end()).then(|| statistics.split_whitespace().next()?.parse::<f64>().ok())?
    });
    times_ns.sum::<f64>() / 1e3
}

/// Threads with a tokio runtime. Dropping the host ends threads, runtime and tasks.
pub(crate) struct Host {
    pub(crate) runtime: runtime::Handle,
    /// Name of all threads, unique in this process.
    name: String,
    _stop: oneshot::Sender<()>,
}

impl Host {
    /// Starts a single-threaded runtime, or one with several workers.
    pub(crate) fn new(name: &str, workers: usize) -> Host {
        // Linux keeps 15 bytes of a thread's name
        let name = format!("{name:.9}-{:04x}", NUMBER.fetch_add(1, Ordering::Relaxed) & 0xffff);
        let (sender, receiver) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let threads = name.clone();
        let run = move || {
            let mut builder = match workers {
                0 | 1 => runtime::Builder::new_current_thread(),
                _ => runtime::Builder::new_multi_thread(),
            };
            builder.worker_threads(workers.max(1)).thread_name(threads);
            let runtime = builder.enable_all().build().unwrap();
            sender.send(runtime.handle().clone()).unwrap();
            let _ = runtime.block_on(stopped);
        };
        std::thread::Builder::new().name(name.clone()).spawn(run).unwrap();
        Host { runtime: receiver.recv().unwrap(), name, _stop: stop }
    }

    /// Returns the processor time of the host's threads so far, user and system, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        threads_cpu_us(std::process::id(), |name| name == self.name)
    }

    /// Runs a future on these threads.
    pub(crate) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(future).await.unwrap()
    }
}
