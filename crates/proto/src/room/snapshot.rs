//! What the brain knows of its room, for applications.

use super::RoomState;
use crate::app::{Layout, Member, Snapshot};
use crate::id::PeerId;
use crate::message::Path;

impl RoomState {
    /// Returns a snapshot of the present state. What the brain doesn't know is left at its default: the connection, who
    /// speaks at present, the home mixer, the machine's lateness, and the figures of elections.
    pub fn snapshot(&self) -> Snapshot {
        let (parent, backup) = self.tree.above();
        let (children, promised) = self.tree.below();
        let (me, stage) = (self.shared.me, &self.shared.stage);
        let mut snapshot = Snapshot {
            peer: Some(me),
            epoch: stage.epoch(),
            mode: stage.mode(),
            meshed: self.meshed(),
            host: stage.host(),
            rank: self.shared.mandate.rank,
            mixers: self.shared.mandate.mixers.clone(),
            standbys: self.shared.mandate.standbys.clone(),
            parent,
            backup,
            children,
            promised,
            path: self.path().to_vec(),
            depth: self.path().len().checked_sub(1),
            link_count: self.shared.links.len(),
            mixing: self.is_mixing(),
            viewers_below: self.tree.viewers_below(),
            speaks: stage.entry(&me).is_some_and(|entry| entry.speaks),
            views: self.views(),
            uplink_bps: self.uplink.measured_bps(),
            viewers: self.membership.viewers(self.shared.now),
            rates_above: self
                .rates
                .known(self.shared.now, self.peer_above())
                .map_or(vec![], |rates| rates.to_vec()),
            ..Snapshot::default()
        };
        if let Some(roster) = stage.roster() {
            let entries = roster.entries.iter();
            snapshot.stage =
                entries.map(|entry| Member::new(entry, &[], &roster.rules.access.agents)).collect();
            snapshot.title = roster.rules.title.to_string();
            snapshot.locked = roster.rules.access.locked;
            snapshot.lobby = roster.rules.access.lobby;
            snapshot.stage_open = roster.rules.stage_open;
            snapshot.mix_policy = roster.rules.mixing;
            snapshot.layout = Layout::of_roster(&roster.rules.layout).unwrap_or_default();
            snapshot.audience = roster.audience;
            snapshot.recorders = roster.recorders;
        }
        snapshot
    }

    /// Returns the path from a mixer down to this peer, both included; empty while it is not fed.
    pub fn path(&self) -> &Path {
        self.tree.path()
    }

    /// Returns the parent, which feeds this peer.
    pub fn parent(&self) -> Option<PeerId> {
        self.tree.above().0
    }

    /// Returns whether this peer makes the program.
    pub fn is_mixing(&self) -> bool {
        self.mixing.is_mixing()
    }

    /// Returns whether this peer wants the program.
    pub fn views(&self) -> bool {
        self.shared.config.views
    }
}
