//! What hostile peers send: pictures that state any size, and forgeries of what a relay forwards.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use plenary_proto::RoomId;
use plenary_proto::identity::seal::Sealer;
use plenary_proto::identity::{MediaKind, opus};
use plenary_proto::seal::Keypair;

/// Payloads that a forger of old pictures goes back.
const OLD: usize = 60;

/// Writer of a parameter set's bits.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn number(&mut self, number: u32) {
        let number = number + 1;
        let len = number.ilog2();
        self.0.extend((0..len).map(|_| false));
        self.0.extend((0..=len).rev().map(|bit| number >> bit & 1 == 1));
    }
}

/// Returns an H.264 keyframe that states this size, in macroblocks, followed by so many bytes of no picture.
pub fn keyframe((columns, rows): (u32, u32), len: usize) -> Bytes {
    let mut bits = Bits::default();
    [0, 0, 2, 1].into_iter().for_each(|number| bits.number(number));
    bits.0.push(false);
    [columns - 1, rows - 1].into_iter().for_each(|number| bits.number(number));
    bits.0.extend([true, true, false, false, true]);
    let byte = |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at) == Some(&true)));
    let sps: Vec<u8> = bits.0.chunks(8).map(byte).collect();
    let head = [&[0, 0, 0, 1, 0x67, 66, 0xc0, 31][..], &sps, &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80]].concat();
    let mut unit = [&head[..], &[0, 0, 0, 1, 0x65, 0x88]].concat();
    unit.resize(unit.len() + len, 0x41);
    unit.into()
}

/// A change of a packet's payload, as a forging relay makes it.
pub type Forge = Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>;

fn with_byte(payload: &Bytes, at: usize, change: impl Fn(u8) -> u8) -> Bytes {
    let mut bytes = payload.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
    bytes.into()
}

/// Returns sound that the maker of another room has sealed, with the identity of what it stands for. Pictures stay.
fn sound_of_another_room(payload: Bytes, sealer: &mut Sealer) -> Bytes {
    let Some(identity) = opus::read(&payload) else { return payload };
    let sound = [&[0xfc][..], &[0x5a; 80]].concat();
    let tail = sealer.seal(&sound, &identity);
    opus::mark_with(&sound, &identity, &tail).map_or(payload, Bytes::from)
}

/// The forgeries, each with its name: another picture or sound, an old one, half of one, a larger one, sound of another
/// room. They begin when the switch is set.
pub fn forgeries(begins: &Arc<AtomicBool>) -> Vec<(&'static str, Forge)> {
    let forging = |change: Forge| -> Forge {
        let begins = begins.clone();
        Arc::new(move |payload| if begins.load(Ordering::Relaxed) { change(payload) } else { payload })
    };
    let kept: Mutex<VecDeque<Bytes>> = Mutex::default();
    let old = move |payload: Bytes| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(payload.clone());
        if kept.len() > OLD { kept.pop_front() } else { None }
            .unwrap_or_else(|| with_byte(&payload, 8, |byte| !byte))
    };
    let longer = |payload: Bytes| Bytes::from([&payload[..], &[0xee; 64]].concat());
    let sealer = Sealer::new(Keypair::from_seed(&[7; 32]), RoomId([7; 16]), MediaKind::Sound);
    let sealer = Mutex::new(sealer);
    let foreign = move |payload| {
        sound_of_another_room(payload, &mut sealer.lock().unwrap_or_else(PoisonError::into_inner))
    };
    vec![
        ("another", forging(Arc::new(|payload| with_byte(&payload, payload.len() / 3, |byte| !byte)))),
        ("old", forging(Arc::new(old))),
        ("half", forging(Arc::new(|payload| payload.slice(..payload.len() / 2)))),
        ("larger", forging(Arc::new(longer))),
        ("foreign sound", forging(Arc::new(foreign))),
    ]
}
