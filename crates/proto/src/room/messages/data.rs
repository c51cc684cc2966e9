//! Messages of application data.

use super::Sender;
use crate::broadcast::may_publish_at_all;
use crate::id::PeerId;
use crate::message::DataMessage;
use crate::room::RoomState;

impl RoomState {
    pub(super) fn accepts_data(&self, sender: Sender<'_>, message: &DataMessage) -> bool {
        match message {
            DataMessage::Data(data) => {
                sender.is_linked_or_on_stage() && may_publish_at_all(&self.shared.stage, &data.sender)
            }
            DataMessage::DataHeld(_) => true,
            DataMessage::DataStands(_) => {
                sender.is_on_stage || (sender.is_linked && self.tree.is_above(sender.peer))
            }
        }
    }

    pub(super) fn on_data(&mut self, from: PeerId, message: DataMessage) {
        match message {
            DataMessage::Data(data) => {
                let (children, _) = self.tree.below();
                self.broadcast.data(&mut self.shared.view(), &children, from, data);
            }
            DataMessage::DataStands(stands) => self.broadcast.stood(&mut self.shared.view(), &stands),
            DataMessage::DataHeld(held) => {
                let is_child = self.tree.below().0.contains(&from);
                self.broadcast.held_by(&mut self.shared.view(), from, &held, is_child);
            }
        }
    }
}
