//! Scenario files, and the plan of a world that follows from one.

use std::fs::File;
use std::io::Read as _;

use plenary_proto::Time;
use plenary_proto::message::ROSTER_MAX;
use plenary_proto::time::MS;
use serde::Deserialize;

use super::act::{Act, Action, EACH_MIN, Whom};
use super::judge::Judged;
use crate::checkers::STEADY_US;
use crate::people::{self, Devices, Group, PEERS_MAX, geography};
use crate::plan::{Bursts, Delays, Kind, MediaModel, NetPlan, Pauses, RoomPlan, WorldPlan};
use crate::report::is_figure;
use crate::units::{Rate, Share, Span};

/// Maximum length of a scenario file, in bytes. A guess: a hundred times the longest one.
const FILE_LEN_MAX: u64 = 1 << 20;
/// Minimum length of the calm: the window over which liveness is checked.
const CALM_MIN: Span = Span(STEADY_US);

/// A scenario: a world, its script, and its targets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Name as on the command line.
    #[serde(skip)]
    pub name: String,
    /// The question that the scenario asks, in one line.
    pub title: String,
    /// Level of detail of the program's distribution; by default the most detailed that the number of viewers
    /// allows.
    #[serde(default)]
    pub media: Option<MediaModel>,
    /// Length of the storm, in which people join and leave and the script runs.
    pub storm: Span,
    /// Length of the calm that follows.
    pub calm: Span,
    /// Settings of the room.
    #[serde(default)]
    pub room: Room,
    /// Properties of the network.
    #[serde(default)]
    pub net: Net,
    /// Question for the oracle.
    #[serde(default)]
    pub judged: Option<Judged>,
    /// Share of the stage that lies, as one group.
    #[serde(default)]
    pub liars: Share,
    /// Groups of peers; the first peer of the first group is the host.
    pub peers: Vec<Group>,
    /// The script.
    #[serde(default)]
    pub acts: Vec<Act>,
    /// Targets for figures of the report.
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// Settings that the host decides; those left out have their defaults.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Room {
    /// Maximum number of children of a peer that isn't a mixer.
    pub k: Option<u8>,
    /// Maximum number of viewers that one mixer feeds.
    pub k1: Option<u8>,
    /// Number of mixers.
    pub mixers: Option<u8>,
    /// Bitrate of the program's video.
    pub program: Option<Rate>,
    /// Whether the host names all peers of the stage.
    pub names: bool,
}

/// Properties of the network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Net {
    /// One-way delays.
    pub ways: Ways,
    /// Independent loss, as a share of all packets.
    pub loss: Share,
    /// Bursty loss in bursts of 150 ms, as a share of all packets; at most half of them.
    pub bursts: Share,
    /// Mean time between two pauses of a radio; each lasts 100 to 500 ms.
    pub pauses_each: Option<Span>,
    /// Maximum jitter of a packet.
    pub jitter: Span,
    /// Whether peers carry links between others that NATs part.
    pub tunnels: bool,
    /// Longest queueing time at an uplink or downlink.
    pub queue: Span,
}

impl Default for Net {
    fn default() -> Net {
        Net {
            ways: Ways::Between(Span(5 * MS), Span(40 * MS)),
            loss: Share(5_000),
            bursts: Share(0),
            pauses_each: None,
            jitter: Span(0),
            tunnels: false,
            // a guess: the queue of home routers without queue management
            queue: Span(300 * MS),
        }
    }
}

/// One-way delays between peers: written `5ms..40ms` or `regions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Ways {
    /// Drawn for each pair between these bounds.
    Between(Span, Span),
    /// By the regions of both peers.
    Regions,
}

impl TryFrom<String> for Ways {
    type Error = String;

    fn try_from(text: String) -> Result<Ways, String> {
        if text == "regions" {
            return Ok(Ways::Regions);
        }
        let (least, most) = text.split_once("..").unwrap_or((&text, &text));
        let (least, most) = (Span::try_from(least.to_owned())?, Span::try_from(most.to_owned())?);
        if least > most {
            return Err(format!("{text}: the longest way is shorter than the shortest"));
        }
        Ok(Ways::Between(least, most))
    }
}

/// A figure of the report with its bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// Path of the figure in the report, such as `repair_ms.p95`.
    pub figure: String,
    /// Upper bound.
    pub at_most: Option<f64>,
    /// Lower bound.
    pub at_least: Option<f64>,
}

impl Target {
    fn can_be_met(&self) -> bool {
        let ordered = self.at_least.zip(self.at_most).is_none_or(|(least, most)| least <= most);
        ordered && [self.at_least, self.at_most].into_iter().flatten().all(f64::is_finite)
    }
}

impl Scenario {
    /// Parses a scenario; an error is described in one line, with its place.
    pub fn read(name: &str, text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let place = line.map_or(String::new(), |line| format!(", line {line}"));
            format!("{name}{place}: {}", error.message().replace('\n', " "))
        })?;
        scenario.check().map_err(|what| format!("{name}: {what}"))?;
        let name = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".toml").to_owned();
        Ok(Scenario { name, ..scenario })
    }

    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// A one-line description: the file is unreadable, or its content is invalid.
    pub fn open(path: &str) -> Result<Scenario, String> {
        let wrong = |error: std::io::Error| format!("cannot read {path}: {error}");
        let mut text = String::new();
        File::open(path).map_err(wrong)?.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(wrong)?;
        if text.len() as u64 > FILE_LEN_MAX {
            return Err(format!("cannot read {path}: a scenario has at most {FILE_LEN_MAX} bytes"));
        }
        Scenario::read(path, &text)
    }

    /// Checks the parts of the file against each other.
    fn check(&self) -> Result<(), String> {
        let host = self.peers.first().ok_or("nobody is there: it needs peers")?;
        if host.count == 0 || host.kind == Kind::Viewer {
            return Err("the first group has to hold the host: a speaker or a candidate".to_owned());
        }
        if self.peers.iter().any(|group| group.sees && group.kind != Kind::Speaker) {
            return Err("sees is for speakers: viewers see in any case, candidates never".to_owned());
        }
        if self.peers.iter().any(|group| group.arrival.ends() > self.storm) {
            return Err(format!("some arrive after the storm, which lasts {}", self.storm));
        }
        if self.calm < CALM_MIN {
            return Err(format!(
                "calm = \"{}\": what must hold in a room left alone shows after {CALM_MIN}",
                self.calm
            ));
        }
        if self.peers.iter().any(|group| group.pages.is_some() && group.kind != Kind::Viewer) {
            return Err("pages are viewers here".to_owned());
        }
        if self.peers.iter().any(|group| group.pages.is_some()) && self.media_model() != MediaModel::Packet {
            return Err("pages forward whole frames, which only the media model packet shows".to_owned());
        }
        if self.peers.iter().any(|group| group.pages.is_some_and(|pages| pages.shown.0 == 0)) {
            return Err("shown = \"0s\": a page that is never shown relays to nobody".to_owned());
        }
        if let Some(rate) = self.room.program.filter(|rate| u32::try_from(rate.0).is_err()) {
            return Err(format!("program: {} bit/s is more than any video takes", rate.0));
        }
        if self.net.loss == Share(1_000_000) {
            return Err("loss = \"100%\": nobody would ever hear of anybody".to_owned());
        }
        if self.people() > PEERS_MAX {
            return Err(format!("{} peers: at most {PEERS_MAX}", self.people()));
        }
        let stage = self.peers.iter().filter(|group| group.kind != Kind::Viewer);
        let stage: usize = stage.map(|group| group.count).sum();
        if stage > ROSTER_MAX {
            return Err(format!("{stage} on stage: at most {ROSTER_MAX}"));
        }
        if self.judged == Some(Judged::Tree) && self.net.ways != Ways::Regions {
            return Err("the oracle knows delays by region only: judged needs ways = \"regions\"".to_owned());
        }
        if self.net.bursts > Share(500_000) {
            return Err(
                "bursts lose half of what is sent in them, so 50% is the most they can lose".to_owned()
            );
        }
        if [self.room.k, self.room.k1, self.room.mixers].contains(&Some(0)) {
            return Err(
                "a room needs a mixer, and mixers and relays a child: k, k1 and mixers are 1 at least"
                    .to_owned(),
            );
        }
        let stalls = self.peers.iter().filter_map(|group| group.stalls.map(|stalls| stalls.each));
        if stalls.chain(self.net.pauses_each).any(|each| each < EACH_MIN) {
            return Err(format!("each {EACH_MIN} is the most often that something can stall or pause"));
        }
        if self.peers.iter().any(|group| group.nats && group.devices == Devices::default()) {
            return Err("nats needs devices: it is these that are behind one, or aren't".to_owned());
        }
        if let Some(vain) =
            self.targets.iter().find(|target| target.at_most.is_none() && target.at_least.is_none())
        {
            return Err(format!("{}: a target is at-most or at-least something", vain.figure));
        }
        if let Some(Target { figure, .. }) = self.targets.iter().find(|target| !target.can_be_met()) {
            return Err(format!("{figure}: no figure meets that target"));
        }
        self.targets.iter().try_for_each(|target| is_figure(&target.figure))?;
        if let Some(late) = self.acts.iter().find(|act| act.at > self.storm) {
            return Err(format!("something happens at {}, after the storm", late.at));
        }
        let cuts = |(_, act): &(Time, usize)| match self.acts[*act].action {
            Action::Partition(_) => Some(true),
            Action::Heal => Some(false),
            _ => None,
        };
        if self.script().iter().find_map(cuts) == Some(true) {
            return Err(
                "a partition that isn't healed by the end of the storm: no calm can follow".to_owned()
            );
        }
        let named = self.acts.iter().filter_map(|act| match act.action.whom() {
            Some(Whom::Region(name)) => Some(name),
            _ => None,
        });
        let mut named = named.chain(self.peers.iter().filter_map(|group| group.region.as_ref()));
        if let Some(name) = named.find(|name| geography::region(name).is_none()) {
            let known = geography::REGIONS.map(|region| region.name).join(", ");
            return Err(format!("{name} is none of the regions: {known}"));
        }
        Ok(())
    }

    /// Level of detail of the program's distribution.
    pub fn media_model(&self) -> MediaModel {
        let audience = self.peers.iter().filter(|group| group.kind == Kind::Viewer);
        self.media.unwrap_or(MediaModel::for_viewers(audience.map(|group| group.count).sum()))
    }

    /// Whether any peer violates the protocol.
    pub fn has_attackers(&self) -> bool {
        self.liars > Share(0) || self.peers.iter().any(|group| group.attack.is_some())
    }

    /// Number of peers at the beginning.
    pub fn people(&self) -> usize {
        self.peers.iter().fold(0, |sum, group| sum.saturating_add(group.count))
    }

    /// Sets the size of the audience, and scales its groups in proportion.
    pub fn with_audience(mut self, viewers: usize) -> Result<Scenario, String> {
        let audience = |group: &&mut Group| group.kind == Kind::Viewer;
        let before: usize = self.peers.iter_mut().filter(audience).map(|group| group.count).sum();
        if before == 0 {
            return Err(format!("{} has no audience that could be {viewers}", self.name));
        }
        let mut left = viewers;
        for group in self.peers.iter_mut().filter(audience) {
            group.count = (group.count as u128 * viewers as u128 / before as u128) as usize;
            left -= group.count;
        }
        if let Some(group) = self.peers.iter_mut().find(|group| group.kind == Kind::Viewer) {
            group.count += left;
        }
        self.check()?;
        Ok(self)
    }

    /// Makes the stay of all peers that leave exponential with this mean.
    pub fn with_stays(mut self, mean: Span) -> Scenario {
        for group in self.peers.iter_mut().filter(|group| group.stay.is_some()) {
            group.stay = Some(people::Stay::Exponential(mean));
        }
        self
    }

    /// Gives each peer that shares no machine one of its own with this many cores.
    pub fn with_own_machines(mut self, cores: u8) -> Scenario {
        let shared = self.peers.iter().filter_map(|group| group.machines);
        let mut first = shared.map(|of| of.first.saturating_add(of.count)).max().unwrap_or(0);
        for group in self.peers.iter_mut().filter(|group| group.machines.is_none()) {
            let count = u16::try_from(group.count).unwrap_or(u16::MAX);
            group.machines = Some(people::MachinesOf { count, first, cores });
            first = first.saturating_add(count);
        }
        self
    }

    /// The plan of the world for one seed.
    pub fn plan(&self, seed: u64) -> WorldPlan {
        let net = &self.net;
        let room = RoomPlan::DEFAULT;
        WorldPlan {
            room: RoomPlan {
                k: self.room.k.unwrap_or(room.k),
                k1: self.room.k1.unwrap_or(room.k1),
                mixers: self.room.mixers.unwrap_or(room.mixers),
                program_bps: self
                    .room
                    .program
                    .map_or(room.program_bps, |rate| rate.0.min(u32::MAX.into()) as u32),
                names: self.room.names,
            },
            net: NetPlan {
                delays: match net.ways {
                    Ways::Between(least, most) => Delays::Drawn { least_us: least.0, most_us: most.0 },
                    Ways::Regions => geography::delays(),
                },
                loss_ppm: net.loss.0,
                bursts: (net.bursts.0 > 0).then(|| Bursts::losing(net.bursts.0)),
                pauses: net.pauses_each.map(|each| Pauses { mean_gap_us: each.0, ..Pauses::WIFI }),
                jitter_us: net.jitter.0,
                tunnels: net.tunnels,
                queue_us_max: net.queue.0,
            },
            media: self.media_model(),
            peers: people::draw(&self.peers, Time(self.storm.0), seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::time::SECOND;

    use super::*;
    use crate::world::World;

    const SMALL: &str =
        "title = 'small'\nstorm = '5s'\ncalm = '5s'\n[[peers]]\nkind = 'speaker'\ncount = 2\n";

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_a_line_with_its_place() {
        assert!(Scenario::read("small", SMALL).is_ok());
        for (more, told) in [
            ("colour = 'red'", "mine.toml, line 7: unknown field `colour`"),
            ("[[acts]]\nat = '1s'\nkill = 'everyone'", "everyone is none of"),
            ("[[acts]]\nat = '9s'\nkill = 'mixer'", "happens at 9s, after the storm"),
            ("[[acts]]\nat = '1s'", "mine.toml, line 7: an act needs one of"),
            ("[[acts]]\nat = '1s'\nstall = 'mixer'", "needs last"),
            ("[[acts]]\nat = '1s'\nsleep = 'mixer'", "a sleep needs last"),
            ("[[acts]]\nat = '1s'\nkill = 'mixer'\nlast = '2s'", "kill happens at once"),
            ("[[acts]]\nat = '1s'\nkill = 'mixer'\nloss = '2%'", "an act needs one of"),
            ("[[acts]]\nat = '1s'\npartition = '40%'", "a partition that isn't healed"),
            (
                "[[acts]]\nat = '2s'\nheal = true\n[[acts]]\nat = '1s'\neach = '2s'\npartition = '40%'",
                "isn't healed",
            ),
            ("[net]\nloss = '101%'", "mine.toml, line 8: 101%: a share looks like"),
            ("[net]\nways = '40ms..5ms'", "the longest way is shorter"),
            ("[[acts]]\nat = '1s'\ntell = 'everyone'", "everyone is none of"),
            ("[net]\nbursts = '60%'", "50% is the most"),
            ("[[peers]]\nkind = 'viewer'\ncount = 300000", "at most 200000"),
            ("[[peers]]\nkind = 'viewer'\ncount = 3\nregion = 'Atlantis'", "Atlantis is none of the regions"),
            ("[[peers]]\nkind = 'viewer'\ncount = 3\nattack = 'hack'", "hack is none of drop"),
            ("[[peers]]\nkind = 'watcher'\ncount = 3", "line 8: unknown variant `watcher`"),
            ("[[peers]]\nkind = 'viewer'\ncount = 3\nsees = true", "sees is for speakers"),
            ("[[peers]]\nkind = 'viewer'\ncount = 3\nnats = true", "nats needs devices"),
            (
                "[[peers]]\nkind = 'viewer'\ncount = 3\nstalls = { each = '0s', last = '1s' }",
                "100ms is the most often",
            ),
            ("[net]\npauses-each = '1ms'", "100ms is the most often"),
            ("[room]\nk = 0", "1 at least"),
            ("[[targets]]\nfigure = 'join_ms.p95'", "at-most or at-least"),
            (
                "[[targets]]\nfigure = 'repair_ms.p59'\nat-most = 1",
                "report: repair_ms.max, repair_ms.p50, repair_ms.p95",
            ),
            ("[[targets]]\nfigure = 'repair'\nat-most = 1", "delivery.data_reached, "),
            ("[[targets]]\nfigure = 'delivery'\nat-most = 1", "delivery is no figure"),
            ("[[peers]]\nkind = 'viewer'\ncount = -3", "line 9: invalid value"),
            ("[[targets]]\nfigure = 'join_ms.p95'\nat-most = nan", "join_ms.p95: no figure meets"),
            ("[[targets]]\nfigure = 'join_ms.p95'\nat-most = 1\nat-least = 2", "no figure meets"),
            ("[[peers]]\nkind = 'candidate'\ncount = 63", "65 on stage: at most 64"),
            (&"[[peers]]\nkind = 'candidate'\ncount = 9223372036854775807\n".repeat(3), "at most 200000"),
            (
                "[[peers]]\nkind = 'viewer'\ncount = 3\narrival = { from = '4s', within = '2s' }",
                "some arrive after the storm, which lasts 5s",
            ),
            ("[net]\nloss = '100%'", "nobody would ever hear"),
            ("[room]\nprogram = '18446744073gbit'", "18446744073000000000 bit/s is more than"),
        ] {
            let said = Scenario::read("mine.toml", &format!("{SMALL}{more}\n")).unwrap_err();
            assert!(said.contains(told) && !said.contains('\n'), "{more}: {said}");
        }
        let hasty = SMALL.replace("calm = '5s'", "calm = '4900ms'");
        let said = Scenario::read("mine.toml", &hasty).unwrap_err();
        assert!(said.contains("left alone shows after 5s"), "{said}");
        for text in ["", "title = ''\nstorm = '1s'\ncalm = '1s'\npeers = []", "[["] {
            assert!(Scenario::read("mine.toml", text).is_err());
        }
    }

    #[test]
    fn speakers_that_see_are_shown_the_program_and_the_others_are_not() {
        let groups = "[[peers]]\nkind = 'speaker'\ncount = 2\nsees = true\n[[peers]]\nkind = 'candidate'\ncount = 2\n\
                      [[peers]]\nkind = 'viewer'\ncount = 3\n";
        let scenario = Scenario::read("some", &format!("{SMALL}{groups}")).unwrap();
        let mut world = World::new(scenario.plan(1), 1);
        let settled = Time(10 * SECOND);
        world.run_until(settled);
        world.run_for(5 * SECOND);
        let longest_gap_us = |planned| world.longest_gap_us(world.planned(planned), settled);
        for planned in [2, 3] {
            assert!(longest_gap_us(planned) < SECOND / 2, "{} us", longest_gap_us(planned));
        }
        for planned in [0, 1] {
            assert!(longest_gap_us(planned) >= 5 * SECOND);
        }
    }

    #[test]
    fn an_audience_is_scaled_in_proportion() {
        let groups = "[[peers]]\nkind = 'viewer'\ncount = 30\n[[peers]]\nkind = 'viewer'\ncount = 10\n";
        let scenario = Scenario::read("some", &format!("{SMALL}{groups}")).unwrap();
        for (viewers, counts) in [(40, [2, 30, 10]), (401, [2, 301, 100]), (0, [2, 0, 0])] {
            let scaled = scenario.clone().with_audience(viewers).unwrap();
            assert_eq!(scaled.peers.iter().map(|group| group.count).collect::<Vec<_>>(), counts);
        }
        let nobody = Scenario::read("none", SMALL).unwrap().with_audience(3);
        assert_eq!(nobody.unwrap_err(), "none has no audience that could be 3");
    }
}
