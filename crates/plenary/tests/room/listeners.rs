//! Slow listeners.

use plenary::{MediaKind, Options};

use crate::support::*;

/// Frames pushed: more than a listener's queue (160 frames of picture and sound), plus some GOPs.
const PUSHED: u32 = 240;
const GROUP: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_frames_loses_whole_groups_and_hinders_nobody() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let mut application = Application::new(ada.publish_encoded().await.unwrap(), ada.clock());
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let (mut prompt, mut slow) = (ben.frames(), ben.frames());
    let first = frame(&mut prompt, "a frame", |received| received.frame.kind == MediaKind::Video);
    application.push_during(first).await;
    let mut missed = 0;
    for number in 0..PUSHED {
        application.push(number.is_multiple_of(GROUP));
        let next = frame(&mut prompt, "each frame", |received| received.frame.kind == MediaKind::Video).await;
        missed += next.missed;
    }
    assert_eq!(missed, 0, "the prompt listener gets everything");

    // the queued frames of the slow listener, then current ones
    let mut numbers = Vec::new();
    let (mut told, mut key) = (0, false);
    while told == 0 {
        let next =
            frame(&mut slow, "the first after the hole", |received| received.frame.kind == MediaKind::Video);
        let next = application.push_during(next).await;
        (told, key) = (next.missed, next.frame.identity.key);
        numbers.push(next.frame.identity.number);
        if numbers.len() % 8 == 0 {
            application.push(true);
        }
    }
    let (last, before) = numbers.split_last().unwrap();
    assert!(before.windows(2).all(|pair| pair[1] == pair[0] + 1), "no hole before");
    assert_eq!(u64::from(last - before.last().unwrap()), told + 1);
    assert!(key, "it goes on at a key frame");
    tokio::join!(ada.close(), ben.close());
}
