//! Messages of media: streams, and requests for them.

use super::Sender;
use crate::id::PeerId;
use crate::message::{MediaMessage, PictureWanted};
use crate::mixing::Call;
use crate::room::RoomState;
use crate::view::View;

impl RoomState {
    pub(super) fn accepts_media(&self, sender: Sender<'_>, message: &MediaMessage) -> bool {
        match message {
            MediaMessage::Stream(_) | MediaMessage::Recalled(_) => sender.is_linked,
            MediaMessage::Home { .. } | MediaMessage::Started(_) => sender.is_on_stage,
            MediaMessage::VoicesWanted(_) => sender.is_linked && self.shared.stage.is_agent(sender.peer),
            MediaMessage::Voices(_) | MediaMessage::VoiceClocks(_) => {
                sender.is_linked && self.voices.has_asked(sender.peer)
            }
            MediaMessage::SoloWanted { .. } | MediaMessage::Solo { .. } => true,
        }
    }

    pub(super) fn on_media(&mut self, from: PeerId, message: MediaMessage) {
        match message {
            MediaMessage::Stream(stream) => self.announced(from, stream),
            MediaMessage::Home { rank, video, resume, beside } => {
                let call = Call { rank, own: PictureWanted { video, resume }, beside };
                self.mixing.home(&mut self.shared.view(), from, call);
            }
            MediaMessage::Started(spec) => {
                if spec.maker == from {
                    self.mixing.started(&mut self.shared.view(), &spec);
                }
            }
            MediaMessage::SoloWanted { speaker } => {
                let (mixes, tree) = (self.mixing.is_mixing(), &self.tree);
                let spares = |view: &View<'_>, more: usize| tree.uplink_spares(view, more);
                self.solo.wanted(&mut self.shared.view(), from, speaker, mixes, spares);
            }
            MediaMessage::Solo { speaker, comes } => {
                self.solo.answered(&mut self.shared.view(), from, speaker, comes);
                self.update_solo();
            }
            MediaMessage::VoicesWanted(wanted) => {
                self.voices.wanted(&mut self.shared.view(), from, wanted, self.mixing.is_mixing());
            }
            MediaMessage::Voices(comes) => {
                self.voices.answered(&mut self.shared.view(), from, comes);
                self.update_solo();
            }
            MediaMessage::Recalled(_) | MediaMessage::VoiceClocks(_) => {} // of the media alone, which the body takes
        }
    }
}
