//! Regions of the world, and the delays between them.

use crate::plan::Delays;

/// A region with its backbone.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// A city in the region.
    pub name: &'static str,
    /// Percentage of all people that live there. A guess: at most a third of the world's time zones are
    /// awake.
    percent: u64,
}

/// All regions.
pub const REGIONS: [Region; 8] = [
    Region { name: "Virginia", percent: 20 },
    Region { name: "California", percent: 12 },
    Region { name: "Dublin", percent: 18 },
    Region { name: "Frankfurt", percent: 26 },
    Region { name: "Tokyo", percent: 6 },
    Region { name: "Singapore", percent: 8 },
    Region { name: "Sydney", percent: 3 },
    Region { name: "São Paulo", percent: 7 },
];

/// Round-trip times between regions in tenths of a millisecond, as measured between data centres of Amazon
/// Web Services in April 2017 (<https://acomputerscientistlearnsaws.blogspot.com/2017/04/aws-regions.html>,
/// the upper triangle). Delays within a region (the diagonal) were not measured: 2 ms is a guess.
#[rustfmt::skip]
const ROUND_TRIPS: [[u32; 8]; 8] = [
    //  Vir    Cal    Dub    Fra    Tok    Sin    Syd    São
    [    20,   727,   806,   887, 1_453, 2_167, 2_300, 1_195],
    [   727,    20, 1_532, 1_666, 1_025, 1_740, 1_575, 1_927],
    [   806, 1_532,    20,   196, 2_124, 2_390, 3_096, 1_913],
    [   887, 1_666,   196,    20, 2_365, 3_259, 3_235, 1_949],
    [ 1_453, 1_025, 2_124, 2_365,    20,   738, 1_039, 2_568],
    [ 2_167, 1_740, 2_390, 3_259,   738,    20, 1_753, 3_281],
    [ 2_300, 1_575, 3_096, 3_235, 1_039, 1_753,    20, 3_225],
    [ 1_195, 1_927, 1_913, 1_949, 2_568, 3_281, 3_225,    20],
];

/// One-way delays between the regions' backbones, microseconds.
pub fn delays() -> Delays {
    Delays::Regions(ROUND_TRIPS.iter().map(|row| row.iter().map(|tenths| tenths * 50).collect()).collect())
}

/// Index of the region with this name.
pub fn region(name: &str) -> Option<u16> {
    REGIONS.iter().position(|region| region.name == name).map(|at| at as u16)
}

/// Region of a person, from a uniform draw below a hundred.
pub(crate) fn drawn(mut percent: u64) -> u16 {
    let found = REGIONS.iter().position(|region| {
        let here = percent < region.percent;
        percent = percent.saturating_sub(region.percent);
        here
    });
    found.unwrap_or(0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_same_both_ways_and_everyone_lives_somewhere() {
        for (one, row) in ROUND_TRIPS.iter().enumerate() {
            for (other, round_trip) in row.iter().enumerate() {
                assert_eq!(*round_trip, ROUND_TRIPS[other][one], "{one} and {other}");
            }
        }
        for (at, region) in REGIONS.iter().enumerate() {
            let people = (0..100).filter(|draw| usize::from(drawn(*draw)) == at).count() as u64;
            assert_eq!(people, region.percent, "{}", region.name);
        }
    }
}
