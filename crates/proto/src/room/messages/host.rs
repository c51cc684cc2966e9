//! Messages between the host and members, and among the heirs of a host.

use crate::app::Event;
use crate::id::PeerId;
use crate::message::{HostMessage, Reign, Successor, reign_of};
use crate::outbox::Note;
use crate::room::RoomState;
use crate::seal::Signed;

impl RoomState {
    pub(super) fn on_host(&mut self, from: PeerId, message: HostMessage) {
        let is_by_host = self.shared.stage.host() == Some(from);
        match message {
            HostMessage::Floor(speaks) if is_by_host => self.on_floor(speaks),
            HostMessage::MuteWanted(muted) if is_by_host => self.shared.out.event(Event::MutedByHost(muted)),
            HostMessage::Floor(_) | HostMessage::MuteWanted(_) => {}
            HostMessage::Audience { viewers, recorders } => {
                if self.shared.mandate.has_mixed(&from)
                    && let Some(host) = self.membership.host()
                {
                    host.audience(self.shared.now, from, viewers, recorders);
                }
            }
            HostMessage::HandOver(named) => self.on_hand_over(named),
            HostMessage::ReignWanted { epoch, number } => {
                self.heirs.wanted(&mut self.shared.view(), from, epoch, number);
            }
            HostMessage::ReignVote { epoch, number, signature } => {
                self.heirs.vote(&mut self.shared.view(), from, (epoch, number), signature);
            }
        }
    }

    fn on_hand_over(&mut self, named: Signed<Successor>) {
        let by_host =
            self.shared.stage.is_key_of(0, &named.sender) || named.sender == self.shared.config.root;
        let next = reign_of(self.shared.stage.epoch()) + 1 == named.body.number;
        if by_host && next && named.body.host == self.shared.me && self.shared.view().on_stage() {
            self.shared.out.note(Note::Chosen(Box::new(Reign::Named { named })));
        }
    }

    /// Handles the host's offer of the floor (true), or its withdrawal (false).
    fn on_floor(&mut self, speaks: bool) {
        if speaks {
            self.membership.floor_offered(&mut self.shared.view());
        } else if self.shared.config.speaks {
            let viewed = self.shared.config.views;
            self.set_speaks(false);
            let watches = self.shared.config.views && !viewed;
            self.membership.floor_taken(&mut self.shared.view(), watches);
            self.update();
        }
    }
}
