//! Quantities as people write them: `5mbit`, `30ms`, `1.5%`.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_with::DeserializeFromStr;

/// Nanoseconds since the lab started; every event in the lab is dated in it.
pub(crate) type Nanos = u64;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, DeserializeFromStr)]
pub(crate) enum Rate {
    Unlimited,
    BitsPerSecond(u64),
}

impl Rate {
    /// How long a packet of `bytes` occupies a line of this rate.
    pub(crate) fn transmit_time(self, bytes: usize) -> Nanos {
        match self {
            Rate::Unlimited => 0,
            Rate::BitsPerSecond(rate) => (bytes as u128 * 8 * NANOS_PER_SECOND / u128::from(rate)) as Nanos,
        }
    }
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "unlimited" {
            return Ok(Rate::Unlimited);
        }
        let (number, unit) = number_and_unit(text)?;
        let scale = match unit {
            "bit" => 1.0,
            "kbit" => 1e3,
            "mbit" => 1e6,
            "gbit" => 1e9,
            _ => bail!("{text:?}: expected a rate such as 800kbit, 5mbit or unlimited"),
        };
        let bits_per_second = (number * scale) as u64;
        ensure!(bits_per_second > 0, "a rate of zero is `cut`, not {text:?}");
        Ok(Rate::BitsPerSecond(bits_per_second))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, DeserializeFromStr)]
pub(crate) struct Span(pub Duration);

impl Span {
    pub(crate) fn nanos(self) -> Nanos {
        self.0.as_nanos() as Nanos
    }
}

impl FromStr for Span {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (number, unit) = number_and_unit(text)?;
        let scale = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            _ => bail!("{text:?}: expected a time such as 250us, 30ms, 1.5s or 2m"),
        };
        Ok(Span(Duration::from_secs_f64(number * scale)))
    }
}

/// A probability, written as a percentage.
#[derive(Clone, Copy, Debug, Default, PartialEq, DeserializeFromStr)]
pub(crate) struct Chance(pub f64);

impl FromStr for Chance {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (number, unit) = number_and_unit(text)?;
        ensure!(unit == "%" && number <= 100.0, "{text:?}: expected a percentage from 0% to 100%");
        Ok(Chance(number / 100.0))
    }
}

/// Splits `1.5mbit` into 1.5 and `mbit`. There is no sign, so no negative value.
fn number_and_unit(text: &str) -> Result<(f64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..digits].parse().with_context(|| format!("{text:?} does not start with a number"))?;
    Ok((number, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!("1.5mbit".parse::<Rate>().unwrap(), Rate::BitsPerSecond(1_500_000));
        assert_eq!("unlimited".parse::<Rate>().unwrap(), Rate::Unlimited);
        assert_eq!("250us".parse::<Span>().unwrap().nanos(), 250_000);
        assert_eq!("2.5%".parse::<Chance>().unwrap(), Chance(0.025));
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        for text in ["0mbit", "5", "5mb", "-1mbit", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
        assert!("30".parse::<Span>().is_err());
        assert!("101%".parse::<Chance>().is_err());
    }

    #[test]
    fn transmit_time_is_bits_over_rate() {
        assert_eq!(Rate::BitsPerSecond(1_000_000).transmit_time(1500), 12_000_000);
        assert_eq!(Rate::Unlimited.transmit_time(1500), 0);
    }
}
