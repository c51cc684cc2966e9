//! People's devices and access lines.

use plenary_proto::time::MS;
use serde::Deserialize;

use crate::dice::SmallDice;
use crate::plan::{Access, Browser, Location, Nat, PagePlan, PeerPlan};

/// Mix of devices, as weights. With all weights 0 every peer has a computer on a wire of 100 Mbit/s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Phones: half of them on a mobile network, the others on Wi-Fi at home.
    pub phone: u32,
    /// Laptops at home.
    pub laptop: u32,
    /// Desktop computers at home.
    pub desktop: u32,
    /// Servers in a data centre.
    pub server: u32,
}

/// A kind of device.
#[derive(Clone, Copy, Debug)]
struct Device {
    /// Times to encode and decode one 720p picture. The server's are this project's measurements; the others'
    /// ratios to it are a guess.
    encode_us: u32,
    decode_us: u32,
    /// Percentages, guessed: devices on radio; of those, devices on a mobile network; devices willing to
    /// relay (on mains, unmetered).
    wireless: u64,
    mobile: u64,
    relays: u64,
}

const PHONE: Device = Device { encode_us: 14_000, decode_us: 4_000, wireless: 100, mobile: 50, relays: 0 };
const LAPTOP: Device = Device { encode_us: 8_000, decode_us: 2_500, wireless: 80, mobile: 0, relays: 70 };
const DESKTOP: Device = Device { encode_us: 5_000, decode_us: 1_800, wireless: 30, mobile: 0, relays: 100 };
const SERVER: Device = Device { encode_us: 4_000, decode_us: 1_500, wireless: 0, mobile: 0, relays: 100 };

/// A kind of access line at home.
#[derive(Clone, Copy, Debug)]
struct Home {
    /// Share of all lines, per thousand.
    per_mille: u64,
    up_bps: u64,
    down_bps: u64,
    /// Half of the round-trip time to the provider's backbone.
    last_mile_us: u64,
}

/// Lines of British homes in 2023, chosen so that the median is that of Ofcom's "UK home broadband
/// performance" (March 2023: 18.4 Mbit/s up, 69.4 down). 9 % are ADSL and 55 % fibre to the cabinet (of 28
/// million lines, 2 to 3 and 15.6:
/// <https://www.ispreview.co.uk/index.php/2023/09/ofcom-2023-study-finds-average-uk-broadband-isp-speeds-hit-69-4mbps.html>),
/// the latter split evenly between their two products by guess; the rest is cable and fibre, split likewise. Rates
/// other than the median are those of the providers' products; last-mile delays are a guess.
const HOMES: [Home; 5] = [
    Home { per_mille: 90, up_bps: 900_000, down_bps: 10_000_000, last_mile_us: 12 * MS },
    Home { per_mille: 275, up_bps: 9_000_000, down_bps: 36_000_000, last_mile_us: 6 * MS },
    Home { per_mille: 275, up_bps: 18_400_000, down_bps: 69_400_000, last_mile_us: 6 * MS },
    Home { per_mille: 180, up_bps: 36_000_000, down_bps: 200_000_000, last_mile_us: 7 * MS },
    Home { per_mille: 180, up_bps: 110_000_000, down_bps: 500_000_000, last_mile_us: 2 * MS },
];

/// 5G rates: the worldwide median of the third quarter of 2021 (Ookla, "Growing and slowing: the state of 5G
/// worldwide in 2021": 21.08 Mbit/s up, 166.13 down).
const MOBILE_UP_BPS: u64 = 21_080_000;
const MOBILE_DOWN_BPS: u64 = 166_130_000;
/// Half of a round trip over the air and through the operator's core network: a guess.
const MOBILE_LAST_MILE_US: u64 = 20 * MS;
/// Percentage of NATs for which UDP hole punching fails: 100 - 82 (Ford, Srisuresh, Kegel: "Peer-to-peer
/// communication across network address translators", 2005).
const SYMMETRIC_PERCENT: u64 = 18;
/// Rate of a data centre's line, bits per second.
const SERVER_BPS: u64 = 1_000_000_000;

impl Devices {
    /// Gives a peer a device, a line, and a NAT if `nats` is set.
    pub(crate) fn equip(&self, peer: &mut PeerPlan, nats: bool, dice: &mut SmallDice) {
        let mix =
            [(self.phone, PHONE), (self.laptop, LAPTOP), (self.desktop, DESKTOP), (self.server, SERVER)];
        let all: u64 = mix.iter().map(|(weight, _)| u64::from(*weight)).sum();
        if all == 0 {
            return;
        }
        let mut draw = dice.between(0, all - 1);
        let found = mix.iter().find(|(weight, _)| {
            let here = draw < u64::from(*weight);
            draw = draw.saturating_sub(u64::from(*weight));
            here
        });
        let (_, device) = *found.unwrap_or(&mix[3]);
        let of_hundred = dice.between(0, 99);
        let wireless = of_hundred < device.wireless;
        let mobile = dice.between(0, 99) < device.mobile;
        peer.encode_us = device.encode_us;
        peer.decode_us = device.decode_us;
        peer.relays = dice.between(0, 99) < device.relays;
        let draw = dice.between(0, 99);
        let nat = if !nats || device.wireless == 0 {
            Nat::Open
        } else if draw < SYMMETRIC_PERCENT {
            Nat::Symmetric
        } else if draw.is_multiple_of(2) {
            // the study didn't cover filtering: half of the others for each kind is a guess
            Nat::Cone
        } else {
            Nat::PortRestricted
        };
        let (access, last_mile_us) = line(&device, mobile, dice);
        peer.access = Access { nat, wireless, ..access };
        peer.place = Location { last_mile_us: last_mile_us as u32, ..peer.place };
    }
}

/// Percentages of browsers by which people open a page: Chromium and what is made of it, Firefox; the rest is Safari.
/// Guesses, near what counters of web traffic report of desktop computers.
const CHROMIUM_PERCENT: u64 = 82;
const FIREFOX_PERCENT: u64 = 8;

/// Makes a peer a page. A device that is not willing to relay runs on battery, or on a metered line where that is a
/// mobile network's.
pub(super) fn browse(peer: &mut PeerPlan, dice: &mut SmallDice) {
    let draw = dice.between(0, 99);
    let browser = match draw {
        _ if draw < CHROMIUM_PERCENT => Browser::Chromium,
        _ if draw < CHROMIUM_PERCENT + FIREFOX_PERCENT => Browser::Firefox,
        _ => Browser::Safari,
    };
    let is_metered = peer.place.last_mile_us >= MOBILE_LAST_MILE_US as u32;
    let on_battery = !peer.relays && !is_metered;
    peer.page = Some(PagePlan { browser, on_battery, is_metered, ..PagePlan::RELAY });
    peer.relays = true;
}

/// Access of a device, and its last-mile delay in microseconds.
fn line(device: &Device, mobile: bool, dice: &mut SmallDice) -> (Access, u64) {
    if device.wireless == 0 {
        return (Access { up_bps: SERVER_BPS, down_bps: SERVER_BPS, ..Access::WIRE }, MS / 2);
    }
    if mobile {
        // from a third to three times the median
        let percent = [33, 50, 75, 100, 133, 200, 300][dice.between(0, 6) as usize];
        let [up_bps, down_bps] = [MOBILE_UP_BPS, MOBILE_DOWN_BPS].map(|bps| bps * percent / 100);
        return (Access { up_bps, down_bps, ..Access::WIRE }, MOBILE_LAST_MILE_US);
    }
    let mut draw = dice.between(0, 999);
    let found = HOMES.iter().find(|home| {
        let here = draw < home.per_mille;
        draw = draw.saturating_sub(home.per_mille);
        here
    });
    let home = found.unwrap_or(&HOMES[2]);
    // lines vary by up to a tenth
    let percent = dice.between(90, 110);
    let [up_bps, down_bps] = [home.up_bps, home.down_bps].map(|bps| bps * percent / 100);
    (Access { up_bps, down_bps, ..Access::WIRE }, home.last_mile_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_home_have_the_published_median_and_nats_the_published_share() {
        let devices = Devices { desktop: 1, ..Devices::default() };
        let peers: Vec<PeerPlan> = (0..20_000)
            .map(|at| {
                let mut peer = PeerPlan::VIEWER;
                devices.equip(&mut peer, true, &mut SmallDice::of(&[at]));
                peer
            })
            .collect();
        let mut uplinks: Vec<u64> = peers.iter().map(|peer| peer.access.up_bps).collect();
        uplinks.sort_unstable();
        let median = uplinks[10_000];
        assert!((17_000_000..20_000_000).contains(&median), "{median}");
        let symmetric = peers.iter().filter(|peer| peer.access.nat == Nat::Symmetric).count();
        assert!((3_400..3_800).contains(&symmetric), "{symmetric} of 20000");
        let wireless = peers.iter().filter(|peer| peer.access.wireless).count();
        assert!((5_800..6_200).contains(&wireless), "{wireless} of 20000");
    }

    #[test]
    fn pages_relay_on_mains_and_an_unmetered_line_in_chromium_alone() {
        let devices = Devices { phone: 1, laptop: 1, ..Devices::default() };
        let mut relays = [0; 2];
        for at in 0..2_000 {
            let mut peer = PeerPlan::VIEWER;
            let dice = &mut SmallDice::of(&[at]);
            devices.equip(&mut peer, false, dice);
            let willing = peer.relays;
            browse(&mut peer, dice);
            let page = peer.page.unwrap();
            let most = page.children_max(false, 0);
            assert_eq!(most > 0, willing && page.browser == Browser::Chromium, "{peer:?}");
            assert_eq!([page.children_max(true, 0), page.children_max(false, 1)], [0, most]);
            let low = PagePlan { hops_max: Some(2), ..page };
            assert_eq!([low.children_max(false, 1), low.children_max(false, 2)], [most, 0]);
            relays[usize::from(most > 0)] += 1;
        }
        // of the laptops, half of all, 70 % are on mains
        assert!((500..650).contains(&relays[1]), "{relays:?}");
    }

    #[test]
    fn phones_never_relay_and_servers_always_do() {
        for (devices, relays, wireless) in [
            (Devices { phone: 1, ..Devices::default() }, false, true),
            (Devices { server: 1, ..Devices::default() }, true, false),
        ] {
            for at in 0..200 {
                let mut peer = PeerPlan::VIEWER;
                devices.equip(&mut peer, true, &mut SmallDice::of(&[at]));
                assert_eq!((peer.relays, peer.access.wireless), (relays, wireless));
            }
        }
    }
}
