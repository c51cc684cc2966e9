//! Threads with separately measured processor time: each runs a tokio runtime of its own.

#![allow(dead_code, reason = "not every bench measures the processor")]

use std::sync::mpsc;

use tokio::runtime;
use tokio::sync::oneshot;

/// A thread with a single-threaded tokio runtime. Dropping it ends the thread, the runtime and all tasks.
pub(crate) struct Host {
    pub(crate) runtime: runtime::Handle,
    thread: i64,
    _stop: oneshot::Sender<()>,
}

impl Host {
    pub(crate) fn new(name: &str) -> Host {
        let (sender, receiver) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // SAFETY: takes no arguments and cannot fail
            let thread = unsafe { libc::syscall(libc::SYS_gettid) };
            sender.send((runtime.handle().clone(), thread)).unwrap();
            let _ = runtime.block_on(stopped);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
        let (runtime, thread) = receiver.recv().unwrap();
        Host { runtime, thread, _stop: stop }
    }

    /// Processor time of this thread so far, user and system, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        let path = format!("/proc/self/task/{}/schedstat", self.thread);
        let statistics = std::fs::read_to_string(path).unwrap();
        statistics.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e3
    }

    /// Runs a future on this thread.
    pub(crate) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(future).await.unwrap()
    }
}
