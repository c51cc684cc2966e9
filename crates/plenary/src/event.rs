//! Events of a room, for the application.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use plenary_proto::app::Event as RoomEvent;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// Maximum number of events queued for one listener. Past it the oldest events are dropped, and
/// [`RoomEvent::Missed`] says how many.
pub const EVENTS_MAX: usize = 256;

/// Callback that is called with each event.
pub type OnEvent = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// [`Stream`] of a room's events, from the call of [`Room::events`](crate::Room::events) on.
#[derive(Debug)]
pub struct Events(BroadcastStream<RoomEvent>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<RoomEvent>) -> Events {
        Events(BroadcastStream::new(receiver))
    }

    /// Returns the next event; `None` when the room is closed.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        StreamExt::next(self).await
    }
}

impl Stream for Events {
    type Item = RoomEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        let polled = Pin::new(&mut self.0).poll_next(cx);
        polled.map(|next| {
            next.map(|next| {
                next.unwrap_or_else(|BroadcastStreamRecvError::Lagged(missed)| RoomEvent::Missed {
                    events: missed,
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_fetch_events_is_told_how_many_it_missed() {
        let (events, receiver) = broadcast::channel(EVENTS_MAX);
        let mut listener = Events::new(receiver);
        let missed = 10;
        for epoch in 0..EVENTS_MAX as u32 + missed {
            events.send(RoomEvent::Stage { epoch }).unwrap();
        }
        drop(events);
        assert_eq!(listener.next().await, Some(RoomEvent::Missed { events: missed.into() }));
        assert_eq!(listener.next().await, Some(RoomEvent::Stage { epoch: missed }));
        assert_eq!(listener.count().await, EVENTS_MAX - 1);
    }
}
