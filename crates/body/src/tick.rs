//! The body's periodic work: watchdogs, heartbeats, adaptation to the links.

use plenary_media::mixer::EffortChange;
use plenary_proto::app::{Event, Shedding};
use plenary_proto::ordered::OrderedMap;

use plenary_proto::message::{LinkKind, MediaMessage, Message};
use plenary_proto::packet::{LinkId, LinkStats};
use plenary_proto::{Input, Mode, PeerId};

use crate::body::Body;
use crate::codec_times::Claimed;
use crate::heartbeats::Heartbeats;
use crate::lag::LATE_US;
use crate::outs::{CaptureCommand, MixerFailure, Outs};
use crate::rate::ProgramRate;
use crate::voices::meant;

/// Interval of the adaptation to what the links carry, and of the report of degradations to the brain.
const ADAPT_US: u64 = 1_000_000;
/// Interval of the traffic's accounting: bytes count for a child from the count before it was fed until the count
/// after.
const COUNT_US: u64 = 250_000;
/// Interval at which the brain hears of a peer's signs of life, and maximum age of such a sign.
const HEARD_US: u64 = 1_000_000;
const HEARD_US_MAX: u64 = 1_500_000;
/// Time after the change to mixing after which no mixer passes a speaker's frames through any more: a little more than
/// it waits for pictures.
const COMPOSED_US: u64 = 2_000_000;

impl Body {
    /// Runs the periodic work that is due. To be called each [`TICK`](crate::TICK), after
    /// [`set_figures`](Body::set_figures). `stats` returns the counters of a link.
    pub fn tick(&mut self, now_us: u64, stats: impl Fn(LinkId) -> Option<LinkStats>, outs: &mut Outs) {
        self.media.lag.tick(now_us);
        outs.notices.extend(self.repeated.drain(..));
        for peer in self.media.on_time(now_us, outs) {
            self.ask_head(&peer, outs);
        }
        self.report_verdicts(now_us, outs);
        let (media, brain) = (&self.media, &self.brain);
        let head = || crate::body::head(brain, media);
        let stage = brain.roster().map_or(&[][..], |roster| &roster.entries);
        let is_on_stage = |peer: &PeerId| stage.iter().any(|entry| entry.peer == *peer);
        self.heartbeats.on_time(media, &head, &is_on_stage, now_us, outs);
        if let Some((agents, clocks)) = self.media.inflow.apart.take_clocks(self.me, now_us) {
            let links = agents.iter().filter_map(|agent| self.media.link(agent));
            links.for_each(|link| {
                outs.control(link, Message::Media(MediaMessage::VoiceClocks(clocks.clone())))
            });
        }
        for picture in self.media.take_own_keys_wanted() {
            self.capture(CaptureCommand::Key(picture), outs);
        }
        if self.media.mix.take_tiles_moved() {
            self.call_home_again(outs);
        }
        let efforts = self.media.mix.take_efforts().into_iter();
        outs.events.extend(efforts.map(|EffortChange { effort, why }| Event::MixerEffort { effort, why }));
        if self.media.mix.takes_failure() {
            self.input(now_us, Input::CannotMix, outs);
        }
        outs.events.extend(self.media.mix.take_failures().into_iter().filter_map(MixerFailure::event));
        if self.media.mix.update(now_us, &mut outs.mix) {
            self.input(now_us, Input::Warm, outs);
        }
        self.report_signs_of_life(now_us, outs);
        self.tell_sends(now_us, outs);
        self.report_speaking(now_us, outs);
        if now_us >= self.count_us {
            self.count_us = now_us + COUNT_US;
            self.count_traffic(&stats);
        }
        if now_us >= self.adapt_us {
            self.adapt_us = now_us + ADAPT_US;
            self.adapt(now_us, &stats, outs);
        }
    }

    /// Pings all linked peers at once: their answers show whether the links are alive.
    pub fn ping_all(&mut self, now_us: u64, outs: &mut Outs) {
        Heartbeats::ping_all(&self.media, now_us, outs);
    }

    /// Tells the brain which verdicts of the watchdogs have changed.
    pub(crate) fn report_verdicts(&mut self, now_us: u64, outs: &mut Outs) {
        let (now, slack_us) = (self.media.watch_time(now_us), self.media.lag.late_us());
        for (peer, verdict) in self.media.watches.verdicts(now, slack_us) {
            self.input(now_us, Input::Verdict { peer, verdict }, outs);
        }
    }

    fn report_signs_of_life(&mut self, now_us: u64, outs: &mut Outs) {
        let now = self.media.watch_time(now_us);
        let mut heard = Vec::new();
        for (peer, _) in self.media.links.peers() {
            let fresh = self.media.last_arrival(&peer).is_some_and(|last| now.since(last) < HEARD_US_MAX);
            let told_us = self.told_heard_us.entry(peer).or_default();
            if fresh && now_us >= *told_us + HEARD_US {
                *told_us = now_us;
                heard.push(peer);
            }
        }
        let links = &self.media.links;
        self.told_heard_us.retain(|peer, _| links.newest(peer, LinkKind::Peer).is_some());
        for peer in heard {
            self.input(now_us, Input::Heard(peer), outs);
        }
    }

    fn report_speaking(&mut self, now_us: u64, outs: &mut Outs) {
        let speakers = self.speakers();
        let Some(said) = self.media.take_speaking(&speakers, now_us) else { return };
        let dominant = speakers.iter().find(|peer| said.dominant == Some(peer.csrc())).copied();
        let speaking: Vec<_> = meant(&speakers).filter(|peer| said.now.contains(&peer.csrc())).collect();
        self.members.speaking.clone_from(&speaking);
        outs.events.push(Event::Speaking { dominant, speaking });
    }

    /// Adapts to what the links carry, and reports degradations to the brain.
    fn adapt(&mut self, now_us: u64, stats: &impl Fn(LinkId) -> Option<LinkStats>, outs: &mut Outs) {
        self.media.report_times(now_us, outs);
        self.throughput.observe(self.ledger.total(), now_us);
        let counted = |links: Vec<LinkId>| -> Vec<(LinkId, LinkStats)> {
            links.into_iter().filter_map(|link| Some((link, stats(link)?))).collect()
        };
        let suffered = self.media.take_suffered(now_us, self.brain.fps_wanted());
        // degradations on a machine that is late are its own fault, and no reason to elect another mixer
        if suffered > 0 && self.media.lag.late_us() < LATE_US {
            self.input(now_us, Input::Trouble(suffered), outs);
        }
        let lacks = self.media.program.is_pictureless(now_us, self.brain.fps_wanted());
        if lacks && self.media.lag.late_us() < LATE_US {
            self.input(now_us, Input::Pictureless, outs);
        }
        if let Some(shedding) = self.load.observe(self.media.lag.late_us()) {
            let is_busy = shedding > Shedding::Nothing;
            self.input(now_us, Input::Busy(is_busy), outs);
            if let Some(claimed) = self.codec_times.set_busy(is_busy) {
                self.claim_codec_times(claimed, now_us, outs);
            }
            outs.events.push(Event::Shedding { shedding });
        }
        let viewers = counted(self.media.program.viewer_links().collect());
        self.adapt_rate(&viewers, now_us, outs);
        let children = counted(self.media.program.links().collect());
        self.thin_out(&children);
        self.look_at_uplink(&children, now_us, outs);
        let rtts_us = counted(self.links().collect()).into_iter();
        let rtts_us: OrderedMap<_, _> =
            rtts_us.filter_map(|(link, stats)| Some((link, stats.rtt_us?))).collect();
        self.media.set_rtts_us(&rtts_us);
        let targets =
            self.sending_to.iter().filter_map(|(peer, _)| self.media.links.newest(peer, LinkKind::Peer));
        let own = counted(targets.collect());
        self.renew_requests(outs);
        if let Some(percent) = self.own_loss.observe(&own) {
            self.capture(CaptureCommand::Loss(percent), outs);
        }
        let is_mixing = self.media.mix.is_mixing();
        if let Some(percent) = self.program_loss.observe(if is_mixing { &viewers } else { &[] }) {
            self.media.mix.set_loss(percent, &mut outs.mix);
        }
        self.leave_silence_out(now_us, outs);
        if let Some(claimed) = self.codec_times.observe(now_us, self.media.mix.codec()) {
            self.claim_codec_times(claimed, now_us, outs);
        }
        outs.bench_wanted |= !self.media.mix.is_mixing() && self.codec_times.takes_bench(now_us);
        if self.media.mix.falls_short() {
            self.input(now_us, Input::Overloaded, outs);
        }
    }

    /// At a mixer, sets the bitrate of the program's picture to what the viewers' links carry.
    fn adapt_rate(&mut self, viewers: &[(LinkId, LinkStats)], now_us: u64, outs: &mut Outs) {
        let mix = &mut self.media.mix;
        if !mix.is_mixing() {
            self.rate = ProgramRate::default();
            self.report_rate(100, now_us, outs);
            return;
        }
        let (wanted_bps, sent_bps) = mix.rates_bps();
        let rate_bps = self.rate.observe(wanted_bps, sent_bps, viewers, &self.thinning.thin());
        if rate_bps != sent_bps {
            tracing::debug!(rate_bps, wanted_bps, "the program's bitrate follows its viewers' links");
            mix.set_rate(rate_bps, &mut outs.mix);
            self.call_home_again(outs);
        }
        self.report_rate(self.rate.carried_percent(wanted_bps), now_us, outs);
    }

    /// Tells the brain how much of the program's bitrate the links carry.
    fn report_rate(&mut self, percent: u8, now_us: u64, outs: &mut Outs) {
        if std::mem::replace(&mut self.rate_percent, percent) != percent {
            self.input(now_us, Input::RatePercent(percent), outs);
        }
    }

    /// Tells the brain the codec times to claim.
    pub(crate) fn claim_codec_times(&mut self, claimed: Claimed, now_us: u64, outs: &mut Outs) {
        let Claimed { encode_us, decode_us, source } = claimed;
        self.input(now_us, Input::CodecTimes { encode_us, decode_us, source }, outs);
    }

    /// Thins out children with links that don't carry all pictures; at a mixer only children that its bitrate leaves
    /// behind.
    fn thin_out(&mut self, children: &[(LinkId, LinkStats)]) {
        let mix = &self.media.mix;
        let sent_bps = mix.is_mixing().then(|| mix.rates_bps().1);
        let may = |link| sent_bps.is_none_or(|sent_bps| self.rate.leaves_behind(link, sent_bps));
        let is_browser = |link| self.media.links.is_browser(link);
        let thin = self.thinning.observe(children, may, is_browser);
        // a mixer short of processor time makes fewer pictures instead
        let halves = self.load.shedding() >= Shedding::HalfThePictures && !self.media.mix.is_mixing();
        let all = || children.iter().map(|(link, _)| *link).collect();
        self.media.program.set_thin(if halves { all() } else { thin });
    }

    /// At a page, tells the brain how many children its line carries.
    fn look_at_uplink(&mut self, children: &[(LinkId, LinkStats)], now_us: u64, outs: &mut Outs) {
        let fed = self.media.program.take_fed_most();
        let Some(line) = &mut self.page_uplink else { return };
        let wait_us =
            |(link, stats): &(LinkId, LinkStats)| Some((self.media.links.of(*link)?.0, stats.queue_us));
        let in_browser_us = children.iter().filter_map(wait_us).collect();
        line.observe(now_us, fed, self.heartbeats.queue_us(now_us), &in_browser_us);
        let carries = line.carries();
        if std::mem::replace(&mut self.told_carries, carries) != carries {
            self.input(now_us, Input::UplinkCarries(carries), outs);
        }
    }

    /// Turns DTX on where speakers are mixed, and off where a speaker's own frames are the program, which has no gaps.
    pub(crate) fn leave_silence_out(&self, now_us: u64, outs: &mut Outs) {
        let composed = now_us.saturating_sub(self.mode_since_us) >= COMPOSED_US;
        self.capture(CaptureCommand::Dtx(self.mode == Mode::Mixer && composed), outs);
    }
}
