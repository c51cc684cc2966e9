//! Parsers of typed values: durations, rates, sizes, link shapes, and timed events.

use std::time::Duration;

use plenary::{ProgramFormat, Shape};
use plenary_media::compose::Layout;

use crate::bounded_file;

/// Minimum bit rate: below it the encoder yields no watchable picture. A guess.
const BITRATE_BPS_MIN: u64 = 50_000;
/// Maximum share of the viewers that is replaced in a minute: a viewer then stays for 10 s on average, and a
/// graceful departure takes up to 6 s.
const CHURN_PER_MIN_MAX: f64 = 6.0;

/// Parses `500ms`, `20s`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("a duration needs a unit: {text}s, or {text}ms"));
    }
    humantime::parse_duration(text).map_err(|_| "a duration looks like 500ms, 20s or 2m".to_owned())
}

/// Parses a duration above zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("{text}: a duration must be longer than zero")),
        time => Ok(time),
    }
}

/// Parses `1500kbit`, `5mbit`, `1gbit` into bits per second.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let wrong = || "a rate looks like 1500kbit or 5mbit".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bps = number * factor;
    if !(1.0..=1e12).contains(&bps) {
        return Err(format!("{text}: a rate is between 1bit and 1000gbit"));
    }
    Ok(bps as u64)
}

/// Parses a rate that is high enough for a picture.
pub(crate) fn bitrate(text: &str) -> Result<u32, String> {
    match rate(text)? {
        bps if bps < BITRATE_BPS_MIN => Err(format!("{text}: a program takes at least 50kbit")),
        bps => u32::try_from(bps).map_err(|_| format!("{text}: a program takes at most 4gbit")),
    }
}

/// Length of a recording after which the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordMax {
    Bytes(u64),
    Time(Duration),
}

/// Parses `500MB`, `2GB`, or a duration.
pub(crate) fn record_max(text: &str) -> Result<RecordMax, String> {
    let sizes = [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    match sizes.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes))) {
        Some((number, unit_bytes)) => {
            let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(*unit_bytes));
            let bytes = bytes.filter(|bytes| *bytes > 0);
            bytes.map(RecordMax::Bytes).ok_or_else(|| "a size looks like 500MB or 2GB".to_owned())
        }
        None => match some_time(text) {
            Ok(time) => Ok(RecordMax::Time(time)),
            Err(_) => Err("the length of a recording looks like 500MB, 2GB or 30m".to_owned()),
        },
    }
}

/// Maximum length of a file that describes a layout, in bytes: some hundred tiles. A guess.
const LAYOUT_LEN_MAX: u64 = 64 << 10;

/// Parses `grid`, `active`, `share`, `side-by-side`, or the name of a TOML file.
pub(crate) fn layout(text: &str) -> Result<Layout, String> {
    match text {
        "grid" => Ok(Layout::Grid),
        "active" => Ok(Layout::Active),
        "share" => Ok(Layout::Share),
        "side-by-side" => Ok(Layout::SideBySide),
        file if file.ends_with(".toml") => {
            let described = bounded_file::text(file.as_ref(), LAYOUT_LEN_MAX)
                .map_err(|error| format!("cannot read {file}: {error}"))?;
            let custom = toml::from_str(&described).map_err(|error| {
                let before = error.span().and_then(|span| described.get(..span.start)).unwrap_or_default();
                let line = 1 + before.matches('\n').count();
                format!("{file}, line {line}: {}", error.message().replace('\n', " "))
            })?;
            Ok(Layout::Custom(custom))
        }
        _ => Err("a layout is grid, active, share, side-by-side, or a file that ends in .toml".to_owned()),
    }
}

/// Parses `1280x720@30`: width, height, pictures per second.
pub(crate) fn size(text: &str) -> Result<ProgramFormat, String> {
    let wrong = || "a size looks like 1280x720@30".to_owned();
    let (size, fps) = text.split_once('@').ok_or_else(wrong)?;
    let (width, height) = size.split_once('x').ok_or_else(wrong)?;
    let width: u16 = width.parse().map_err(|_| wrong())?;
    let height: u16 = height.parse().map_err(|_| wrong())?;
    let fps: u8 = fps.parse().map_err(|_| wrong())?;
    if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        return Err(format!("{text}: width and height must be even"));
    }
    if !(64..=3840).contains(&width) || !(64..=2160).contains(&height) || !(1..=60).contains(&fps) {
        return Err(format!("{text}: from 64x64 to 3840x2160, at 1 to 60 pictures per second"));
    }
    // the same bits per pixel as 1280x720@30 at 1.5 Mbit/s
    let bitrate_bps =
        (u64::from(width) * u64::from(height) * u64::from(fps) * 543 / 10_000).min(50_000_000) as u32;
    Ok(ProgramFormat { width, height, fps, bitrate_bps })
}

/// Parses `auto` or a number from 1 to 8.
pub(crate) fn mixers(text: &str) -> Result<u8, String> {
    match text {
        "auto" => Ok(0),
        number => match number.parse::<u8>() {
            Ok(count @ 1..=8) => Ok(count),
            Ok(count) => Err(format!("{count} mixers: from 1 to 8, or auto")),
            Err(_) => Err("a number of mixers is 1 to 8, or auto".to_owned()),
        },
    }
}

/// Parses `delay=30ms,loss=1%,rate=5mbit`: the emulated network of each link, in both directions.
pub(crate) fn link(text: &str) -> Result<Shape, String> {
    let mut shape = Shape::default();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("delay", value)) => {
                let delay = duration(value)?;
                if delay > Duration::from_secs(10) {
                    return Err(format!("{part}: at most 10s"));
                }
                shape.delay_us = delay.as_micros() as u64;
            }
            Some(("loss", value)) => {
                let percent = value.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
                let percent = percent.ok_or_else(|| "a loss looks like 1% or 0.5%".to_owned())?;
                shape.loss_ppm = (percent * 10_000.0) as u32;
            }
            Some(("rate", value)) => shape.rate_bps = rate(value)?,
            _ => return Err("a link looks like delay=30ms,loss=1%,rate=5mbit".to_owned()),
        }
    }
    Ok(shape)
}

/// Share of the viewers that is replaced over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Churn {
    /// Replaced share of the viewers per minute: 0.1 for 10 %/min.
    pub(crate) share_per_min: f64,
}

/// Parses `10%/min`, also `1%/s` and `200%/h`.
pub(crate) fn churn(text: &str) -> Result<Churn, String> {
    let wrong = || "a churn looks like 10%/min".to_owned();
    let (percent, unit) = text.split_once("%/").ok_or_else(wrong)?;
    let percent: f64 = percent.parse().map_err(|_| wrong())?;
    let per_min = match unit {
        "s" => 60.0,
        "min" => 1.0,
        "h" => 1.0 / 60.0,
        _ => return Err(wrong()),
    };
    let share_per_min = percent / 100.0 * per_min;
    if !(share_per_min > 0.0 && share_per_min <= CHURN_PER_MIN_MAX) {
        return Err(format!("{text}: a churn is above 0, and at most 600%/min"));
    }
    Ok(Churn { share_per_min })
}

/// Scripted event of a demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    KillMixer,
    KillRelay,
    KillSpeaker,
    LeaveMixer,
    HalveMixer,
    AddSpeaker,
    AddViewer,
    PromoteViewer,
    DemoteViewer,
}

impl What {
    /// Returns the event as it is typed.
    pub(crate) fn text(self) -> &'static str {
        match self {
            What::KillMixer => "kill=mixer",
            What::KillRelay => "kill=relay",
            What::KillSpeaker => "kill=speaker",
            What::LeaveMixer => "leave=mixer",
            What::HalveMixer => "halve=mixer",
            What::AddSpeaker => "add=speaker",
            What::AddViewer => "add=viewer",
            What::PromoteViewer => "promote=viewer",
            What::DemoteViewer => "demote=viewer",
        }
    }
}

/// Scripted event with its time since the creation of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// Parses `10s:kill=mixer`.
pub(crate) fn at(text: &str) -> Result<At, String> {
    let (time, what) = text.split_once(':').ok_or_else(|| "an event looks like 10s:kill=mixer".to_owned())?;
    let all = [
        What::KillMixer,
        What::KillRelay,
        What::KillSpeaker,
        What::LeaveMixer,
        What::HalveMixer,
        What::AddSpeaker,
        What::AddViewer,
        What::PromoteViewer,
        What::DemoteViewer,
    ];
    let what = all.into_iter().find(|known| known.text() == what).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|known| known.text()).collect();
        format!("unknown event {what}, known are {}", known.join(", "))
    })?;
    Ok(At { at: duration(time)?, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["20", "", "s", "20 years ago", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_take_units() {
        for (text, bps) in
            [("1500kbit", 1_500_000), ("5mbit", 5_000_000), ("0.5mbit", 500_000), ("800bit", 800)]
        {
            assert_eq!(rate(text), Ok(bps));
        }
        for wrong in ["1500", "kbit", "5mb", "-1kbit", "0kbit", "1e99mbit", "nanmbit"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn recordings_are_as_long_as_a_size_or_a_time() {
        assert_eq!(record_max("500MB"), Ok(RecordMax::Bytes(500_000_000)));
        assert_eq!(record_max("30m"), Ok(RecordMax::Time(Duration::from_secs(1800))));
        for wrong in ["", "0MB", "-1GB", "20", "1.5GB", "MB", "0s", "99999999999999GB"] {
            assert!(record_max(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn layouts_have_names_or_a_file() {
        assert_eq!(layout("side-by-side"), Ok(Layout::SideBySide));
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/layout.toml");
        let Ok(Layout::Custom(custom)) = layout(example) else { panic!("{:?}", layout(example)) };
        assert_eq!(custom.tiles.len(), 3);
        assert!(layout("Grid").is_err());
    }

    #[test]
    fn sizes_are_even_and_within_bounds() {
        let program = size("1280x720@30").unwrap();
        assert_eq!((program.width, program.height, program.fps), (1280, 720, 30));
        assert!((1_490_000..1_510_000).contains(&program.bitrate_bps), "{}", program.bitrate_bps);
        for wrong in ["1280x720", "1281x720@30", "0x0@30", "1280x720@0", "99999x2@30", "x@", "1280*720@30"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn links_have_delay_loss_and_rate() {
        let shape = link("delay=30ms,loss=1%").unwrap();
        assert_eq!((shape.delay_us, shape.loss_ppm), (30_000, 10_000));
        assert_eq!(link("loss=0.5%").unwrap().loss_ppm, 5_000);
        assert_eq!(link("delay=5ms,rate=5mbit").unwrap().rate_bps, 5_000_000);
        for wrong in
            ["", "delay", "delay=30", "loss=1", "loss=101%", "speed=3", "delay=1h", "rate=5", "rate=0kbit"]
        {
            assert!(link(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn things_happen_at_a_time() {
        assert_eq!(at("10s:kill=mixer"), Ok(At { at: Duration::from_secs(10), what: What::KillMixer }));
        assert_eq!(at("10s:halve=mixer").map(|at| at.what), Ok(What::HalveMixer));
        for wrong in ["kill=mixer", "10s", "10:kill=mixer", "10s:kill=host", "10s:halve=relay", "10s:"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_churn_is_a_share_per_time() {
        for (text, share_per_min) in [("10%/min", 0.1), ("0.5%/s", 0.3), ("600%/h", 0.1), ("600%/min", 6.0)] {
            let read = churn(text).unwrap().share_per_min;
            assert!((read - share_per_min).abs() < 1e-9, "{text}: {read}");
        }
        for wrong in
            ["", "10%", "10/min", "10%/", "10%/day", "%/min", "ten%/min", "-10%/min", "0%/min", "601%/min"]
        {
            assert!(churn(wrong).is_err(), "{wrong}");
        }
        for wrong in ["nan%/min", "inf%/min", "1e300%/s"] {
            assert!(churn(wrong).unwrap_err().contains("at most 600%/min"), "{wrong}");
        }
    }

    #[test]
    fn mixers_are_one_to_eight_or_auto() {
        assert_eq!((mixers("auto"), mixers("3")), (Ok(0), Ok(3)));
        for wrong in ["0", "9", "-1", "many"] {
            assert!(mixers(wrong).is_err(), "{wrong}");
        }
    }
}
