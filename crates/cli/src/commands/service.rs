//! What a service manager is told (sd_notify of systemd): that the process is ready, ends, and still works. Without
//! `NOTIFY_SOCKET` in the environment nobody is told anything.

use std::time::Duration;

use plenary::Room;
use sd_notify::NotifyState;
use tokio::task::JoinSet;

/// Tells that the process does its work from now on.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// Tells that the process ends.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("the service manager isn't told: {error}");
    }
}

/// Tells in the interval that the service manager wants, as long as the tasks run, that the process works: that
/// `works` resolves.
pub(crate) fn watch<F>(beside: &mut JoinSet<()>, works: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = bool> + Send + 'static,
{
    let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) else { return };
    beside.spawn(async move {
        let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(10)));
        loop {
            ticks.tick().await;
            if works().await {
                tell(NotifyState::Watchdog);
            }
        }
    });
}

/// Whether the task that drives a room answers.
pub(crate) async fn answers(room: Room) -> bool {
    room.traffic().await.is_ok()
}
