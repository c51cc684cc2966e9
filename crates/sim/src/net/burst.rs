//! Bursty loss: the Gilbert–Elliott chain of one path (Gilbert, "Capacity of a burst-noise channel", 1960;
//! Elliott, "Estimates of error rates for codes on burst-noise channels", 1963), in continuous time. In the
//! good state nothing is lost, in the bad state a share.

use plenary_proto::Time;

use crate::dice::SmallDice;
use crate::plan::Bursts;

/// Number of cycles without use after which a path's state is drawn anew instead of advanced step by step:
/// the cost doesn't grow with the time, and the error is below e⁻¹⁶.
const CYCLES_MAX: u64 = 16;

/// State of a path, and its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    bad: bool,
    until: Time,
}

impl Weather {
    /// Draws the state of a path that hasn't been used yet.
    pub(crate) fn drawn(now: Time, bursts: Option<&Bursts>, dice: &mut SmallDice) -> Weather {
        let Some(bursts) = bursts else { return Weather { bad: false, until: now } };
        let bad = dice.between(0, (bursts.mean_us + bursts.mean_gap_us).max(1) - 1) < bursts.mean_us;
        // the remaining time doesn't depend on how long the state has lasted
        Weather { bad, until: now + lasts(bad, bursts, dice) }
    }

    /// Loss now, per million packets; advances the chain.
    pub(crate) fn loss_ppm(&mut self, now: Time, bursts: &Bursts, dice: &mut SmallDice) -> u32 {
        if now.since(self.until) > CYCLES_MAX * (bursts.mean_us + bursts.mean_gap_us) {
            *self = Weather::drawn(now, Some(bursts), dice);
        }
        while self.until <= now {
            self.bad = !self.bad;
            self.until = self.until + lasts(self.bad, bursts, dice);
        }
        if self.bad { bursts.loss_ppm } else { 0 }
    }

    /// Expected loss at a later time, per million packets, as far as the chain is decided; doesn't advance
    /// the chain.
    pub(crate) fn loss_ppm_at(&self, later: Time, bursts: &Bursts) -> u32 {
        if later >= self.until {
            bursts.mean_loss_ppm()
        } else if self.bad {
            bursts.loss_ppm
        } else {
            0
        }
    }
}

fn lasts(bad: bool, bursts: &Bursts, dice: &mut SmallDice) -> u64 {
    dice.exponential(if bad { bursts.mean_us } else { bursts.mean_gap_us }).max(1)
}

impl Bursts {
    /// Bursts of 150 ms that lose half of their packets, with a frequency such that `loss_ppm` of all packets
    /// are lost in them.
    ///
    /// The length is this project's figure; half is Gilbert's own choice for a channel that carries no
    /// information in its bad state.
    pub const fn losing(loss_ppm: u32) -> Bursts {
        let (mean_us, half_ppm) = (150_000, 500_000);
        let loss = if loss_ppm == 0 { 1 } else { loss_ppm as u64 };
        let cycle = mean_us * half_ppm / loss;
        Bursts { mean_us, mean_gap_us: cycle.saturating_sub(mean_us), loss_ppm: half_ppm as u32 }
    }

    /// Loss averaged over all time, per million packets.
    pub const fn mean_loss_ppm(&self) -> u32 {
        let cycle = self.mean_us + self.mean_gap_us;
        match (self.loss_ppm as u64 * self.mean_us).checked_div(cycle) {
            Some(loss_ppm) => loss_ppm as u32,
            None => 0,
        }
    }
}
