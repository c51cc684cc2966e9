//! Oracle: knows the true values of a room, and the best choice of mixers and tree for it.
//!
//! A [`Truth`] holds what no peer of a room can know for sure: every uplink, every one-way delay, every
//! machine's speed. From it alone follows the value of a choice of mixers ([`Truth::value_of`]) and the best
//! choice ([`Truth::best`]). The election is judged by this, so nothing here may depend on how the election
//! computes its outcome: a test reads these sources and checks it.
//!
//! **The model.** A speaker's frame is sent to its home mixer, and from there to the other mixers. A mixer
//! decodes all speakers and encodes one picture, which is sent down a tree. Each hop costs the delay of the
//! pair, and the time that the sender's uplink needs for this frame and for those of the children served
//! before. A machine that needs longer than a frame interval for a picture makes fewer pictures. A peer
//! without uplink capacity for one more program takes no child.
//!
//! **The objective** is first the share of frames (one for each viewer, speaker and moment) that arrive
//! within [`IN_TIME_US`], then the mean latency of the frames that arrive at all. A choice is *within 5 %* of
//! the best if its share is at least 95 % of the best choice's share and, where both shares are equal to a
//! thousandth, its mean latency is at most 105 % of the best choice's.
//!
//! A room uses a second mixer only where one doesn't suffice. So a pair is better than all single mixers only
//! if more frames arrive in time ([`Truth::best`]). The best choice when two mixers may also be used for a
//! slightly lower latency is computed as well ([`Truth::best_at_any_cost`]).

mod brute;
mod tree;

pub use brute::best_tree;
pub use tree::Built;

/// Latency limit of a conversation, microseconds: later frames don't count (ITU-T G.114: beyond 400 ms one
/// way most users are dissatisfied).
pub const IN_TIME_US: u64 = 400_000;
/// The whole, in the millionths in which shares of frames are given.
pub const WHOLE_PPM: u64 = 1_000_000;
/// Shares closer than this are considered equal: a thousandth.
const SHARE_TIE_PPM: u64 = 1_000;

/// True properties of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruePeer {
    /// Uplink, bits per second.
    pub up_bps: u64,
    /// Downlink, bits per second.
    pub down_bps: u64,
    /// Time to encode one picture of the program, microseconds.
    pub encode_us: u64,
    /// Time to decode pictures that together have the size of the program's, microseconds.
    pub decode_us: u64,
    /// Whether the peer consents to mix.
    pub consents: bool,
    /// Whether the peer sends video and audio.
    pub speaks: bool,
    /// Whether the peer wants the program.
    pub views: bool,
    /// Maximum number of children as a relay; 0 for a peer that doesn't relay.
    pub children_max: usize,
}

/// True properties of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// All peers.
    pub peers: Vec<TruePeer>,
    /// One-way delays, microseconds: from `a` to `b` at `a * peers + b`.
    pub delays_us: Vec<u64>,
    /// Maximum number of children of a relay.
    pub k: usize,
    /// Maximum number of viewers that one mixer feeds.
    pub k1: usize,
    /// Bitrate of the program, bits per second.
    pub program_bps: u64,
    /// Bitrate of one speaker's stream, bits per second.
    pub speaker_bps: u64,
    /// Bitrate of one mix-minus, bits per second.
    pub mix_minus_bps: u64,
    /// Frame interval, microseconds.
    pub frame_us: u64,
}

/// Value of a choice of mixers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// Frames that arrive within [`IN_TIME_US`], in millionths of all.
    pub in_time_ppm: u64,
    /// Mean latency of the frames that arrive at all, microseconds.
    pub latency_us_mean: u64,
}

impl Value {
    /// Whether this value is better than `other`.
    pub fn beats(&self, other: &Value) -> bool {
        let lower = self.latency_us_mean < other.latency_us_mean;
        self.in_time_ppm > other.in_time_ppm || (self.in_time_ppm == other.in_time_ppm && lower)
    }

    /// Whether this value is within `percent` percent of the best value, as the module documentation defines
    /// it.
    pub fn is_within(&self, percent: u64, best: &Value) -> bool {
        let share_holds = self.in_time_ppm * 100 >= best.in_time_ppm * (100 - percent);
        let tie = self.in_time_ppm.abs_diff(best.in_time_ppm) <= SHARE_TIE_PPM;
        let latency_holds = self.latency_us_mean * 100 <= best.latency_us_mean * (100 + percent);
        share_holds && (!tie || latency_holds)
    }
}

impl Truth {
    /// One-way delay from one peer to another, microseconds; 0 to itself.
    pub fn delay_us(&self, from: usize, to: usize) -> u64 {
        if from == to { 0 } else { self.delays_us[from * self.peers.len() + to] }
    }

    /// Time that one frame of the program occupies a peer's uplink, microseconds.
    fn sending_us(&self, from: usize) -> u64 {
        let bits = self.program_bps * self.frame_us / 1_000_000;
        bits * 1_000_000 / self.peers[from].up_bps.max(1)
    }

    fn speakers(&self) -> impl Iterator<Item = usize> {
        (0..self.peers.len()).filter(|at| self.peers[*at].speaks)
    }

    /// Peers that consent to mix.
    pub fn candidates(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|at| self.peers[*at].consents).collect()
    }

    /// Home mixer of a speaker: the nearest.
    fn home(&self, speaker: usize, mixers: &[usize]) -> usize {
        let nearest = mixers.iter().min_by_key(|mixer| (self.delay_us(speaker, **mixer), **mixer));
        *nearest.expect("a choice names a mixer")
    }

    /// Number of viewers that a mixer can feed besides what it sends to the stage.
    fn first_tier(&self, mixer: usize, mixers: &[usize]) -> usize {
        let spare = self.candidates().len() > mixers.len();
        let copies = (mixers.len() - 1 + usize::from(spare)) as u64; // other mixers, and the standby
        let mut stage_bps = 0;
        for speaker in self.speakers().filter(|speaker| self.home(*speaker, mixers) == mixer) {
            if speaker != mixer {
                stage_bps += self.mix_minus_bps;
                stage_bps += if self.peers[speaker].views { self.program_bps } else { 0 };
            }
            stage_bps += copies * self.speaker_bps;
        }
        let left = self.peers[mixer].up_bps.saturating_sub(stage_bps);
        self.k1.min((left / self.program_bps.max(1)) as usize)
    }

    /// Number of children that a viewer can feed.
    fn relay_slots(&self, viewer: usize) -> usize {
        let peer = &self.peers[viewer];
        self.k.min(peer.children_max).min((peer.up_bps / self.program_bps.max(1)) as usize)
    }

    /// Time that a mixer needs for one picture, microseconds.
    fn picture_us(&self, mixer: usize) -> u64 {
        self.peers[mixer].encode_us + self.peers[mixer].decode_us
    }

    /// Time from the capture of each speaker's frame until a mixer sends it as part of a picture,
    /// microseconds.
    fn mixed_us(&self, mixer: usize, mixers: &[usize]) -> Vec<u64> {
        let through = |speaker: usize| {
            let home = self.home(speaker, mixers);
            self.delay_us(speaker, home) + self.delay_us(home, mixer) + self.picture_us(mixer)
        };
        self.speakers().map(through).collect()
    }

    /// Pictures that a mixer can make, in millionths of those required.
    fn made_ppm(&self, mixer: usize) -> u64 {
        WHOLE_PPM * self.frame_us.min(self.picture_us(mixer)).max(1) / self.picture_us(mixer).max(1)
    }

    /// Value of a choice of mixers with the greedy tree below them.
    pub fn value_of(&self, mixers: &[usize]) -> Value {
        self.value(mixers, &self.greedy_tree(mixers))
    }

    /// Value of a choice of mixers with this tree.
    pub fn value(&self, mixers: &[usize], tree: &Built) -> Value {
        let mixed: Vec<(usize, Vec<u64>, u64)> = mixers
            .iter()
            .map(|mixer| (*mixer, self.mixed_us(*mixer, mixers), self.made_ppm(*mixer)))
            .collect();
        let (mut in_time, mut there, mut latency, mut wanted) = (0_u128, 0_u128, 0_u128, 0_u128);
        let speakers = self.speakers().count() as u128;
        for (viewer, place) in tree.places.iter().enumerate() {
            wanted += if self.wants_tree(viewer, mixers) { speakers } else { 0 };
            let Some(place) = place else { continue };
            let Some((_, leaves_us, made)) = mixed.iter().find(|(mixer, ..)| *mixer == place.root) else {
                continue;
            };
            for leaves_us in leaves_us {
                let us = leaves_us + place.below_us;
                (there, latency) = (there + u128::from(*made), latency + u128::from(us) * u128::from(*made));
                in_time += if us <= IN_TIME_US { u128::from(*made) } else { 0 };
            }
        }
        Value {
            in_time_ppm: in_time.checked_div(wanted).unwrap_or(0) as u64,
            latency_us_mean: latency.checked_div(there).unwrap_or(0) as u64,
        }
    }

    /// Whether a peer should get the program from the tree.
    fn wants_tree(&self, at: usize, mixers: &[usize]) -> bool {
        let peer = &self.peers[at];
        peer.views && !peer.speaks && !mixers.contains(&at) && peer.down_bps >= self.program_bps
    }

    /// The best single mixer, by exhaustive search; `None` if no peer consents.
    pub fn best_one(&self) -> Option<(Vec<usize>, Value)> {
        self.best_of(self.candidates().into_iter().map(|one| vec![one]))
    }

    /// The best pair of mixers, by exhaustive search; `None` if fewer than two peers consent.
    fn best_two(&self) -> Option<(Vec<usize>, Value)> {
        let all = self.candidates();
        let with = |at: usize, one: usize| all[at + 1..].iter().map(move |two| vec![one, *two]);
        self.best_of(all.iter().enumerate().flat_map(|(at, one)| with(at, *one)))
    }

    /// The best choice: one mixer, or two where one doesn't suffice; `None` if no peer consents.
    pub fn best(&self) -> Option<(Vec<usize>, Value)> {
        let one = self.best_one()?;
        if one.1.in_time_ppm + SHARE_TIE_PPM >= WHOLE_PPM {
            return Some(one); // two can't be better by more than a tie
        }
        let two = self.best_two();
        two.filter(|two| two.1.in_time_ppm > one.1.in_time_ppm + SHARE_TIE_PPM).or(Some(one))
    }

    /// The best choice of one or two mixers, however small the second one's benefit; `None` if no peer
    /// consents.
    pub fn best_at_any_cost(&self) -> Option<(Vec<usize>, Value)> {
        let one = self.best_one()?;
        let two = self.best_two();
        two.filter(|two| two.1.beats(&one.1)).or(Some(one))
    }

    fn best_of(&self, choices: impl Iterator<Item = Vec<usize>>) -> Option<(Vec<usize>, Value)> {
        let valued = choices.map(|mixers| (self.value_of(&mixers), mixers));
        let best = valued.reduce(|best, other| if other.0.beats(&best.0) { other } else { best });
        best.map(|(value, mixers)| (mixers, value))
    }
}
