//! The room's outputs: what waits in the outbox, with a route for each message.

use super::RoomState;
use crate::id::PeerId;
use crate::io::{Address, Output};
use crate::message::Message;
use crate::outbox::Item;
use crate::route::Around;

impl RoomState {
    /// Returns the next output; `None` when the queue is empty.
    pub fn poll_output(&mut self) -> Option<Output> {
        while let Some(item) = self.shared.out.items.pop_front() {
            let output = match item {
                Item::Do(output) => Some(output),
                Item::Send(to, message) => self.resolve(to, message),
                Item::SendBeside(to, message) => {
                    self.router.resolve_beside(self.shared.now, self.around(), to, message)
                }
                Item::SendHost(message) => match self.shared.stage.host() {
                    // the rendezvous knows the host of the root key only
                    Some(host)
                        if self.shared.links.is_up(&host)
                            || !self.router.signal_up()
                            || self.shared.stage.reign() > 0 =>
                    {
                        self.resolve(host, message)
                    }
                    _ => Some(Output::Signal(Address::Host, message)),
                },
            };
            if output.is_some() {
                return output;
            }
        }
        None
    }

    fn resolve(&self, to: PeerId, message: Message) -> Option<Output> {
        self.router.resolve(self.shared.now, self.around(), to, message)
    }

    /// Returns what routes depend on.
    fn around(&self) -> Around<'_> {
        (&self.shared.links, &self.shared.stage, self.tree.path())
    }
}
