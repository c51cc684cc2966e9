//! Times, shares and rates as written in scenario files.

use std::fmt;

use serde::Deserialize;

/// A duration in microseconds; written `300ms`, `20s`, `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub u64);

/// A share in millionths; written `2.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Share(pub u32);

/// A rate in bits per second; written `1500kbit` or `20mbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate(pub u64);

impl Share {
    /// This share of `count`, rounded down.
    pub fn of(self, count: usize) -> usize {
        (count as u64 * u64::from(self.0) / 1_000_000) as usize
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        let told = || format!("{text}: a time looks like 300ms, 20s or 2m");
        let span = humantime::parse_duration(&text).map_err(|_| told())?;
        u64::try_from(span.as_micros()).ok().filter(|us| *us <= SPAN_US_MAX).map(Span).ok_or_else(told)
    }
}

/// Longest duration, a day: nothing in a scenario lasts longer.
const SPAN_US_MAX: u64 = 86_400_000_000;

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Share, String> {
        let percent = text.strip_suffix('%').and_then(|number| fixed(number.trim(), 4));
        let share = percent.filter(|share| *share <= 1_000_000).map(|share| Share(share as u32));
        share.ok_or_else(|| format!("{text}: a share looks like 2.5%, and is 100% at most"))
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        let units = [("kbit", 3), ("mbit", 6), ("gbit", 9)];
        let bps = units.iter().find_map(|(unit, digits)| fixed(text.strip_suffix(unit)?.trim(), *digits));
        bps.filter(|bps| *bps > 0)
            .map(Rate)
            .ok_or_else(|| format!("{text}: a rate looks like 1500kbit or 20mbit"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(std::time::Duration::from_micros(self.0)).fmt(f)
    }
}

/// Parses a decimal number and multiplies it exactly by 10^`digits`; `None` if it has more fractional digits,
/// or isn't a decimal number.
fn fixed(number: &str, digits: usize) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > digits || !plain(whole) || !plain(part) {
        return None;
    }
    let scale = 10_u64.pow(digits as u32);
    let part: u64 = format!("{part:0<digits$}").parse().unwrap_or(0);
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant_or_refused() {
        for (text, share) in [
            ("1%", Some(10_000)),
            ("0.5%", Some(5_000)),
            ("0.0001%", Some(1)),
            ("100%", Some(1_000_000)),
            ("100.1%", None),
            ("-1%", None),
            ("0.00001%", None),
            ("%", None),
            ("5", None),
        ] {
            assert_eq!(Share::try_from(text.to_owned()).ok(), share.map(Share), "{text}");
        }
        for (text, bps) in [
            ("1500kbit", Some(1_500_000)),
            ("2.5mbit", Some(2_500_000)),
            ("0mbit", None),
            ("99999999999999gbit", None),
            ("1500", None),
        ] {
            assert_eq!(Rate::try_from(text.to_owned()).ok(), bps.map(Rate), "{text}");
        }
        for (text, us) in [("300ms", Some(300_000)), ("2m", Some(120_000_000)), ("20", None), ("9000h", None)]
        {
            assert_eq!(Span::try_from(text.to_owned()).ok(), us.map(Span), "{text}");
        }
    }
}
