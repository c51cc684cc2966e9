//! Events of all links, read in turns: one event of each link, so that a link with many doesn't delay the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use plenary_proto::packet::LinkId;
use tokio::sync::Notify;

use crate::seam::Event;
use crate::sync::lock;

/// Maximum number of events of one link that wait to be read, and of the bytes of their messages. At the limit the link
/// reads no message, and through the flow control of the channels the other end waits. Beginning and end of a link are
/// queued beyond it. A guess.
const LINK_EVENTS_MAX: usize = 64;
const LINK_BYTES_MAX: usize = 64 * 1024;

/// The queue, shared by the links and the reader.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    state: Mutex<State>,
    /// An event was queued, or the queue was closed.
    changed: Notify,
    /// An event was read, or nobody reads any more.
    read: Notify,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<LinkId, Waiting>,
    /// Links with events, in the order of their turns.
    turns: VecDeque<LinkId>,
    is_ended: bool,
    is_unread: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
}

/// Events of all links, in order for each link, and in turns between them.
#[derive(Debug)]
pub struct Events(pub(crate) Arc<EventQueue>);

impl Events {
    /// Waits for the next event. Returns `None` when the links are closed and all events were read.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let changed = self.0.changed.notified();
            match lock(&self.0.state).pop() {
                Ok(event) => {
                    self.0.read.notify_waiters();
                    return Some(event);
                }
                Err(is_ended) if is_ended => return None,
                Err(_) => {}
            }
            changed.await;
        }
    }

    /// Returns the next event if one is queued.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = lock(&self.0.state).pop().ok();
        self.0.read.notify_waiters();
        event
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        (state.is_unread, state.links, state.turns) = (true, BTreeMap::new(), VecDeque::new());
        drop(state);
        self.0.read.notify_waiters();
    }
}

impl State {
    /// Takes the next event in turn; the error says whether the queue was closed.
    fn pop(&mut self) -> Result<Event, bool> {
        let link = self.turns.pop_front().ok_or(self.is_ended)?;
        let waiting = self.links.get_mut(&link).ok_or(self.is_ended)?;
        let event = waiting.events.pop_front().ok_or(self.is_ended)?;
        waiting.bytes -= len_of(&event);
        if waiting.events.is_empty() {
            self.links.remove(&link);
        } else {
            self.turns.push_back(link);
        }
        Ok(event)
    }

    fn push(&mut self, event: Event) {
        let link = event.link();
        let waiting = self.links.entry(link).or_default();
        if waiting.events.is_empty() {
            self.turns.push_back(link);
        }
        waiting.bytes += len_of(&event);
        waiting.events.push_back(event);
    }

    fn has_room(&self, link: LinkId) -> bool {
        let has_room =
            |waiting: &Waiting| waiting.events.len() < LINK_EVENTS_MAX && waiting.bytes < LINK_BYTES_MAX;
        self.links.get(&link).is_none_or(has_room)
    }
}

impl EventQueue {
    /// Queues an event, whether there is room or not: the beginning or the end of a link.
    pub(crate) fn push(&self, event: Event) {
        let mut state = lock(&self.state);
        if !state.is_unread {
            state.push(event);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Queues an event if its link has room and no older event of it waits in `outbox`, else appends it to `outbox`.
    pub(crate) fn push_or_keep(&self, event: Event, outbox: &mut VecDeque<Event>) {
        let mut state = lock(&self.state);
        if state.is_unread {
            return;
        }
        if outbox.is_empty() && state.has_room(event.link()) {
            state.push(event);
            drop(state);
            self.changed.notify_one();
        } else {
            outbox.push_back(event);
        }
    }

    /// Queues the events of `outbox` as far as their link has room; waits until there is room for the first. Dropping
    /// the future loses no event.
    pub(crate) async fn drain(&self, outbox: &mut VecDeque<Event>) {
        loop {
            let mut read = std::pin::pin!(self.read.notified());
            read.as_mut().enable();
            {
                let mut state = lock(&self.state);
                if state.is_unread {
                    return outbox.clear();
                }
                let before = outbox.len();
                while let Some(event) = outbox.pop_front_if(|event| state.has_room(event.link())) {
                    state.push(event);
                }
                if outbox.len() < before || before == 0 {
                    drop(state);
                    return self.changed.notify_one();
                }
            }
            read.await;
        }
    }

    /// Ends the queue: the reader gets what waits, and then the end.
    pub(crate) fn end(&self) {
        lock(&self.state).is_ended = true;
        self.changed.notify_one();
    }
}

fn len_of(event: &Event) -> usize {
    match event {
        Event::Received { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::seam::{Channel, DownReason};

    fn message(link: u64, len: usize) -> Event {
        let bytes = Bytes::from(vec![0; len]);
        Event::Received { link: LinkId(link), channel: Channel::Control, bytes }
    }

    #[tokio::test]
    async fn a_link_with_many_events_delays_another_link_s_by_one() {
        let queue = Arc::new(EventQueue::default());
        let mut events = Events(queue.clone());
        let mut outbox = VecDeque::new();
        for _ in 0..1_000 {
            queue.push_or_keep(message(1, 16_000), &mut outbox);
        }
        assert_eq!(outbox.len(), 1_000 - 5, "five messages of 16 kB fill a link's queue");
        queue.push(message(2, 10));
        let order: Vec<_> = [events.next().await, events.next().await].into_iter().flatten().collect();
        assert_eq!(order.iter().map(|event| event.link().0).collect::<Vec<_>>(), [1, 2]);
    }

    #[tokio::test]
    async fn what_waits_at_a_link_comes_in_order_and_before_its_end() {
        let queue = Arc::new(EventQueue::default());
        let mut events = Events(queue.clone());
        let mut outbox = VecDeque::new();
        (0..200).for_each(|len| queue.push_or_keep(message(1, len), &mut outbox));
        let mut lens = Vec::new();
        while lens.len() < 200 {
            match events.try_next() {
                Some(event) => lens.push(len_of(&event)),
                None => queue.drain(&mut outbox).await,
            }
        }
        assert_eq!(lens, (0..200).collect::<Vec<_>>());
        queue.push(Event::Down { link: LinkId(1), reason: DownReason::Closed });
        queue.end();
        assert!(matches!(events.next().await, Some(Event::Down { .. })));
        assert!(events.next().await.is_none());
        assert!(lock(&queue.state).links.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_reader_that_is_gone() {
        let queue = Arc::new(EventQueue::default());
        let mut outbox = VecDeque::new();
        (0..200).for_each(|len| queue.push_or_keep(message(1, len), &mut outbox));
        drop(Events(queue.clone()));
        queue.drain(&mut outbox).await;
        queue.push(message(1, 1));
        assert!(outbox.is_empty() && lock(&queue.state).links.is_empty());
    }
}
