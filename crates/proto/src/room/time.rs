//! The room's time: the wall clock by which the stage's statements are signed and judged.

use super::RoomState;
use crate::config::RoomConfig;
use crate::seal::counter_at;
use crate::time::{SECOND, Time};

/// Returns where the counters of this peer's statements begin: after a restart they must continue above those of
/// earlier statements.
pub(super) fn first_counter(config: &RoomConfig, now: Time) -> u64 {
    counter_at(config.unix_us(now))
}

impl RoomState {
    /// Moves the room's time by that many seconds.
    pub(super) fn move_time(&mut self, later_s: i64) {
        let at_zero = &mut self.shared.config.unix_us_at_zero;
        *at_zero = at_zero.saturating_add_signed(later_s.saturating_mul(SECOND as i64));
        let counter = first_counter(&self.shared.config, self.shared.now);
        // a peer without a roster has stated nothing yet, and may begin lower
        let has_stated = self.shared.stage.epoch() > 0;
        self.shared.counter = if has_stated { self.shared.counter.max(counter) } else { counter };
        let has_opened = self.shared.config.host.is_some();
        let view = &mut self.shared.view();
        self.membership.time_moved(view, later_s, has_opened);
    }
}
