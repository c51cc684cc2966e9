//! Messages of measurements.

use super::Sender;
use crate::id::PeerId;
use crate::message::ProbeMessage;
use crate::room::RoomState;
use crate::uplink::Uplink;

impl RoomState {
    pub(super) fn accepts_probe(&self, sender: Sender<'_>, message: &ProbeMessage) -> bool {
        match message {
            ProbeMessage::Rates(_) => sender.is_linked,
            ProbeMessage::RatesWanted => {
                sender.is_linked && (sender.is_on_stage || self.tree.is_below(sender.peer))
            }
            ProbeMessage::ProbeWanted { .. }
            | ProbeMessage::ProbeBusy { .. }
            | ProbeMessage::UplinkWanted
            | ProbeMessage::Uplink { .. } => true,
        }
    }

    pub(super) fn on_probe(&mut self, from: PeerId, message: ProbeMessage) {
        match message {
            ProbeMessage::ProbeWanted { train, bytes, rate_bps } => {
                self.on_probe_wanted(from, (train, bytes, rate_bps));
            }
            ProbeMessage::ProbeBusy { train } => {
                if !self.uplink.busy(&mut self.shared.view(), from, train) {
                    self.probe.busy(&mut self.shared.view(), from, train);
                }
            }
            ProbeMessage::UplinkWanted => {
                if self.tree.is_below(&from) {
                    self.uplink.wanted(&self.shared.view(), from);
                }
            }
            ProbeMessage::Uplink { bps } => {
                self.uplink.told(&self.shared.view(), from, bps);
                self.update_uplink();
            }
            ProbeMessage::RatesWanted => {
                let (above, children) = (self.peer_above(), self.tree.below().0.len());
                self.rates.wanted(&mut self.shared.view(), above, from, children);
            }
            ProbeMessage::Rates(rates) => self.rates.told(self.shared.now, from, rates),
        }
    }

    fn on_probe_wanted(&mut self, from: PeerId, (train, bytes, rate_bps): (u32, u32, u64)) {
        let now = self.shared.now;
        let ours = Uplink::is_ours(train);
        if ours && !self.uplink.lets_measure(now, &from, bytes, rate_bps) {
            // this peer did not request the measurement, or the trains exceed its limits
            self.shared.out.send(from, ProbeMessage::ProbeBusy { train });
        } else if self.probe.wanted(&mut self.shared.view(), from, (train, bytes, rate_bps), ours) && ours {
            self.uplink.sent(now, &from);
        }
    }
}
