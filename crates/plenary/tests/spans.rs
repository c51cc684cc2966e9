//! Logs of several rooms in one process, each in its own tracing span.

#[path = "room/support.rs"]
#[expect(dead_code, reason = "the tests of rooms use the rest")]
mod support;

use std::io;
use std::sync::{Arc, Mutex};

use plenary::{Options, Origin};
use support::*;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_room_logs_says_which_room_it_was() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("plenary=debug"))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    let mut application = Application::new(ben.publish_encoded().await.unwrap(), ben.clock());
    let mut frames = zoe.frames();
    let program = frame(&mut frames, "the program", |received| received.origin == Origin::Program);
    application.push_during(program).await;
    let spans = [&ada, &ben, &zoe].map(|room| format!("room{{me={:?}}}", room.me()));
    tokio::join!(zoe.close(), ben.close(), ada.close());

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for span in &spans {
        assert!(log.lines().any(|line| line.contains(span)), "nothing of {span}:\n{log}");
    }
    for line in log.lines().filter(|line| line.contains(" plenary::")) {
        assert!(spans.iter().any(|span| line.contains(span)), "{line}");
    }
}
