//! Each speaker's sound apart, at agents: transcribers and bots.

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::time::Duration;

use plenary::{
    Consent, Error, Events, Mode, Options, PeerId, Reason, Room, RoomEvent, Voice, VoiceStream, Voices,
    VoicesError, VoicesOf, VoicesState,
};

use crate::support::*;

const RATE: u32 = 16_000;
/// Longest gap in a voice when its mixer dies: as long as the program's picture may be away, and the request to the
/// next mixer.
const GAP_US_MAX: u64 = 1_500_000;

/// Frequency of a test source's tone in Hz.
fn tone_hz(index: usize) -> f32 {
    300.0 + 150.0 * index as f32
}

/// Mean amplitude of a tone, in chunks of 20 ms, each of whole periods.
fn amplitude(chunks: &[Voice], hz: f32) -> f32 {
    let of_one = |chunk: &Voice| {
        let (sin, cos) = chunk.samples.iter().enumerate().fold((0.0, 0.0), |(sin, cos), (index, sample)| {
            let at = TAU * hz * index as f32 / RATE as f32;
            (sin + sample * at.sin(), cos + sample * at.cos())
        });
        2.0 * f32::hypot(sin, cos) / chunk.samples.len() as f32
    };
    chunks.iter().map(of_one).sum::<f32>() / chunks.len() as f32
}

async fn state(events: &mut Events, wanted: VoicesState) {
    let is_wanted = |event| matches!(event, RoomEvent::Voices { state } if state == wanted).then_some(());
    event(events, &format!("{wanted:?}"), is_wanted).await;
}

/// Returns that many chunks of each of these speakers, and checks their times.
async fn chunks(
    voices: &mut VoiceStream,
    room: &Room,
    speakers: &[PeerId],
    count: usize,
) -> BTreeMap<PeerId, Vec<Voice>> {
    let mut heard: BTreeMap<PeerId, Vec<Voice>> = BTreeMap::new();
    while speakers.iter().any(|speaker| heard.get(speaker).is_none_or(|chunks| chunks.len() < count)) {
        let chunk = within("a voice", voices.next()).await.unwrap();
        assert!(speakers.contains(&chunk.speaker), "{}", chunk.speaker);
        assert_eq!((chunk.samples.len(), chunk.missed), (RATE as usize / 50, 0));
        // all clocks are the same here, and packets take some milliseconds
        let now_us = room.clock().now_us();
        let age_us = now_us.saturating_sub(chunk.captured_us);
        assert!(chunk.captured_us < now_us && age_us < 1_000_000, "{age_us} µs old");
        heard.entry(chunk.speaker).or_default().push(chunk);
    }
    for (speaker, chunks) in &heard {
        let steps: Vec<_> = chunks.windows(2).map(|pair| pair[1].captured_us - pair[0].captured_us).collect();
        let even = steps.iter().filter(|step| step.abs_diff(20_000) < 5_000).count();
        assert!(even * 10 >= steps.len() * 9, "{speaker}: {steps:?}");
    }
    heard
}

/// Checks that each speaker is heard alone.
fn are_apart(heard: &BTreeMap<PeerId, Vec<Voice>>, speakers: &[PeerId]) {
    for (index, speaker) in speakers.iter().enumerate() {
        for tone in 0..speakers.len() {
            let amplitude = amplitude(&heard[speaker], tone_hz(tone));
            let (is_own, loud) = (tone == index, amplitude > 0.05);
            assert!(is_own == loud && (is_own || amplitude < 0.01), "{index} has {amplitude} of {tone}");
        }
    }
}

async fn is_silent(voices: &mut VoiceStream) {
    let next = tokio::time::timeout(Duration::from_millis(700), voices.next()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_hears_each_speaker_apart_also_when_the_mixer_dies() {
    let never = |name| local(Options::speaker(name)).mix(Consent::Never);
    let ada = Room::host(never("Ada"), small().mixers(1)).await.unwrap();
    let [ben, cat] = [join(&ada, never("Ben")).await, join(&ada, never("Cat")).await];
    for (index, room) in (0..).zip([&ada, &ben, &cat]) {
        room.publish(source(index)).await.unwrap().detach();
    }
    let mut mixers = Vec::new();
    for name in ["Mia", "Max"] {
        mixers.push(join(&ada, local(Options::mixer(name))).await);
    }
    let speakers = [ada.me(), ben.me(), cat.me()];
    let bot = join(&ada, local(Options::viewer("Bot"))).await;
    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    until(&ada, "a mixer and a standby", |room| room.rank.term > 0 && !room.standbys.is_empty()).await;

    let (mut events, mut of_zoe) = (bot.events(), zoe.events());
    let mut voices = bot.voices(Voices::default()).await.unwrap();
    let mut no_voices = zoe.voices(Voices::default()).await.unwrap();
    state(&mut events, VoicesState::NotAgent).await;
    state(&mut of_zoe, VoicesState::NotAgent).await;
    is_silent(&mut voices).await;

    let host = ada.as_host().unwrap();
    host.set_agent(bot.me(), true).await.unwrap();
    state(&mut events, VoicesState::Coming).await;
    are_apart(&chunks(&mut voices, &bot, &speakers, 60).await, &speakers);
    assert_eq!(zoe.agents(), [bot.me()], "everybody may know");
    is_silent(&mut no_voices).await;
    let only = Voices { of: VoicesOf::Only([ben.me()].into()), ..Voices::default() };
    let mut one = bot.voices(only).await.unwrap();
    chunks(&mut one, &bot, &speakers[1..2], 30).await;

    let elected = ada.snapshot().mixers[0];
    let (dying, living): (Vec<_>, Vec<_>) = mixers.into_iter().partition(|mixer| mixer.me() == elected);
    let mut newest_us: BTreeMap<PeerId, u64> = BTreeMap::new();
    while newest_us.len() < speakers.len() {
        let chunk = within("a voice", voices.next()).await.unwrap();
        newest_us.insert(chunk.speaker, chunk.captured_us);
    }
    let killed_us = bot.clock().now_us();
    let (_, heard) = tokio::join!(dying[0].close(), async {
        let mut gaps_us: BTreeMap<PeerId, u64> = BTreeMap::new();
        while newest_us.values().any(|newest_us| *newest_us < killed_us + 3_000_000) {
            let chunk = within("a voice after the mixer's death", voices.next()).await.unwrap();
            let before_us = newest_us.insert(chunk.speaker, chunk.captured_us).unwrap();
            let gap_us = gaps_us.entry(chunk.speaker).or_default();
            *gap_us = chunk.captured_us.saturating_sub(before_us).max(*gap_us);
        }
        gaps_us
    });
    eprintln!("gaps when the mixer dies, µs: {heard:?}");
    assert!(heard.len() == 3 && heard.values().all(|gap_us| *gap_us < GAP_US_MAX), "{heard:?}");
    are_apart(&chunks(&mut voices, &bot, &speakers, 60).await, &speakers);

    host.set_agent(bot.me(), false).await.unwrap();
    state(&mut events, VoicesState::NotAgent).await;
    while tokio::time::timeout(Duration::from_millis(100), voices.next()).await.is_ok() {}
    is_silent(&mut voices).await;
    is_silent(&mut no_voices).await;
    tokio::join!(living[0].close(), zoe.close(), bot.close(), cat.close(), ben.close(), ada.close());
    assert_eq!(voices.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_hears_a_speaker_in_a_mesh_and_one_that_is_passed_through() {
    let ada = host(local(Options::speaker("Ada"))).await;
    let ben = join(&ada, local(Options::speaker("Ben"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    ben.publish(source(1)).await.unwrap().detach();
    ada.as_host().unwrap().set_agent(ben.me(), true).await.unwrap();
    let mut voices = ben.voices(Voices::default()).await.unwrap();
    let heard = chunks(&mut voices, &ben, &[ada.me()], 60).await;
    assert_eq!(ben.snapshot().mode, Mode::Mesh);
    assert!(
        amplitude(&heard[&ada.me()], tone_hz(0)) > 0.05 && amplitude(&heard[&ada.me()], tone_hz(1)) < 0.01
    );
    drop(voices);
    ben.close().await;

    let bot = join(&ada, local(Options::viewer("Bot"))).await;
    ada.as_host().unwrap().set_agent(bot.me(), true).await.unwrap();
    until(&ada, "one speaker passed through", |room| room.mode == Mode::PassThrough && room.mixing).await;
    let mut voices = bot.voices(Voices::default()).await.unwrap();
    let heard = chunks(&mut voices, &bot, &[ada.me()], 60).await;
    assert!(amplitude(&heard[&ada.me()], tone_hz(0)) > 0.05);
    tokio::join!(bot.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ninth_agent_and_forms_that_are_not_made_are_refused_by_name() {
    let ada = host(local(Options::speaker("Ada"))).await;
    let host = ada.as_host().unwrap();
    for agent in 1..=8 {
        host.set_agent(PeerId([agent; 32]), true).await.unwrap();
    }
    let ninth = host.set_agent(PeerId([9; 32]), true).await.unwrap_err();
    assert!(matches!(ninth, Error::Command(Reason::TooManyAgents)), "{ninth}");
    host.set_agent(PeerId([1; 32]), true).await.unwrap();
    let wrong = ada.voices(Voices { rate: 44_100, ..Voices::default() }).await.unwrap_err();
    assert!(matches!(wrong, Error::Voices(VoicesError::Rate(44_100))), "{wrong}");
    ada.close().await;
    assert!(matches!(ada.voices(Voices::default()).await, Err(Error::Closed)));
}
