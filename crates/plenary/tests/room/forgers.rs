//! A relay that forges what it forwards, over real links.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use plenary::testing::Forge;
use plenary::{Consent, MediaKind, Options, Origin, PeerId, Room};
use tokio::task::JoinHandle;

use crate::support::*;

/// Viewers below each of two relays.
const BELOW: usize = 5;
/// Payloads that a forger of old pictures goes back.
const OLD: usize = 60;
/// Time for which a forger's subtree may be without the program, by the protocol and on a busy machine.
const OUT_MAX: Duration = Duration::from_secs(10);

/// A forgery that begins when the switch is set.
fn forging(begins: &Arc<AtomicBool>, change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Forge {
    let begins = begins.clone();
    Arc::new(move |payload| if begins.load(Ordering::Relaxed) { change(payload) } else { payload })
}

fn with_byte(payload: &Bytes, at: usize, change: impl Fn(u8) -> u8) -> Bytes {
    let mut bytes = payload.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
    bytes.into()
}

/// The forgeries: another picture or sound, an old one, half of one, a larger one.
fn forgeries(begins: &Arc<AtomicBool>) -> Vec<(&'static str, Forge)> {
    let kept: Mutex<Vec<Bytes>> = Mutex::default();
    let old = move |payload: Bytes| {
        let mut kept = kept.lock().unwrap();
        kept.push(payload.clone());
        let old = kept.len().checked_sub(OLD).map(|at| kept[at].clone());
        old.unwrap_or_else(|| with_byte(&payload, 8, |byte| !byte))
    };
    let longer = |payload: Bytes| Bytes::from([&payload[..], &[0xee; 64]].concat());
    vec![
        ("another", forging(begins, |payload| with_byte(&payload, payload.len() / 3, |byte| !byte))),
        ("old", forging(begins, old)),
        ("half", forging(begins, |payload| payload.slice(..payload.len() / 2))),
        ("larger", forging(begins, longer)),
    ]
}

/// Pictures of the program that a viewer was given, by number.
type Seen = Arc<Mutex<BTreeMap<(Vec<u8>, u32), Bytes>>>;

/// Collects the pictures of a viewer.
fn watch(room: &Room) -> (Seen, JoinHandle<()>) {
    let (seen, mut frames) = (Seen::default(), room.frames());
    let into = seen.clone();
    let task = tokio::spawn(async move {
        while let Some(received) = frames.next().await {
            let frame = received.frame;
            if frame.kind == MediaKind::Video && received.origin == Origin::Program {
                let key = (frame.identity.stream.0.to_vec(), frame.identity.number);
                into.lock().unwrap().insert(key, frame.data);
            }
        }
    });
    (seen, task)
}

fn parent(room: &Room) -> Option<PeerId> {
    room.snapshot().parent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_below_a_forging_relay_show_nothing_forged_and_leave_it() {
    let begins = Arc::new(AtomicBool::default());
    for (kind, forge) in forgeries(&begins) {
        begins.store(false, Ordering::Relaxed);
        let ada = quick(Options::speaker("Ada")).mix(Consent::Always);
        let ada = Room::host(ada, small().k1(2).k(BELOW as u8)).await.unwrap();
        ada.publish(source(0)).await.unwrap().detach();
        let mut options = quick(Options::viewer("Mallory"));
        options.testing.forge = Some(forge);
        let mallory = join(&ada, options).await;
        let honest = join(&ada, quick(Options::viewer("Ben"))).await;
        for relay in [&mallory, &honest] {
            until(relay, "a place below the mixer", |relay| relay.parent == Some(ada.me())).await;
        }
        let mut viewers = Vec::new();
        for at in 0..BELOW {
            let viewer = join(&ada, quick(Options::viewer(&format!("Viewer {at}")))).await;
            until(&viewer, "a parent", |viewer| viewer.parent.is_some()).await;
            viewers.push(viewer);
        }
        let deceived = |viewer: &&Room| parent(viewer) == Some(mallory.me());
        assert!(viewers.iter().any(|viewer| deceived(&viewer)), "{kind}: nobody is below the forger");
        let (truth, _task) = watch(&honest);
        let seen: Vec<_> = viewers.iter().map(watch).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        begins.store(true, Ordering::Relaxed);
        for viewer in &viewers {
            let left = until(viewer, "another parent", |viewer| {
                viewer.parent.is_some_and(|parent| parent != mallory.me())
            });
            tokio::time::timeout(OUT_MAX, left)
                .await
                .unwrap_or_else(|_| panic!("{kind}: still below the forger"));
        }
        let shown = |at: usize| seen[at].0.lock().unwrap().len();
        let before: Vec<_> = (0..BELOW).map(shown).collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let truth = std::mem::take(&mut *truth.lock().unwrap());
        for (at, (seen, _)) in seen.iter().enumerate() {
            assert!(shown(at) > before[at] + 20, "{kind}: viewer {at} is shown the program again");
            for (number, data) in seen.lock().unwrap().iter() {
                let forged = truth.get(number).is_some_and(|true_data| true_data != data);
                assert!(!forged, "{kind}: viewer {at} was shown a forged picture {}", number.1);
            }
        }
        for room in viewers.into_iter().chain([mallory, honest, ada]) {
            room.close().await;
        }
    }
}
