//! Decoding of speakers' sound apart: times, losses, slow readers.

use bytes::Bytes;
use plenary_media::Frame;
use plenary_proto::identity::{FrameIdentity, MediaKind};
use plenary_testkit::fake::FakeCodecs;
use tracing::Span;

use super::*;

const BEGIN_US: u64 = 1_000_000_000;

fn speakers(rate: u32, channels: u8) -> Speakers {
    let codecs = Arc::new(FakeCodecs::default());
    Speakers { rate, channels, codecs, speakers: BTreeMap::new(), uses: 0 }
}

/// Frame of that number, captured `number` frames after the beginning, and `later_us`.
fn frame(peer: u8, number: u32, later_us: u64) -> VoiceFrame {
    let mut encoder = FakeCodecs::default().sound_encoder(1, 32_000).unwrap();
    let data = encoder.encode(&[0.5; SOUND_FRAME_LEN]).unwrap();
    let captured_us = BEGIN_US + u64::from(number) * SOUND_FRAME_US + later_us;
    let identity =
        FrameIdentity { key: true, ..FrameIdentity::single(StreamId([peer; 8]), number, captured_us) };
    let frame = Frame { kind: MediaKind::Sound, identity, data, level: None };
    VoiceFrame { speaker: PeerId([peer; 32]), frame, captured_us }
}

/// Milliseconds since the beginning of each chunk, and whether it is concealed.
fn times(chunks: &[Voice], rate: u32) -> Vec<(u64, bool)> {
    let delay_us = Downsampled::new(rate, 1).unwrap().delay_us();
    chunks.iter().map(|chunk| ((chunk.captured_us + delay_us - BEGIN_US) / 1000, chunk.concealed)).collect()
}

#[test]
fn chunks_of_each_rate_have_20_ms_and_the_time_of_their_first_sample() {
    for (rate, channels) in [(8_000, 1), (12_000, 2), (16_000, 1), (24_000, 2), (48_000, 2)] {
        let mut speakers = speakers(rate, channels);
        for number in 1..5 {
            let chunks = speakers.take(&frame(1, number, 0));
            assert_eq!(times(&chunks, rate), [(20 * u64::from(number), false)], "{rate}");
            assert_eq!(chunks[0].samples.len(), rate as usize / 50 * usize::from(channels));
        }
    }
}

#[test]
fn a_short_loss_is_concealed_a_longer_one_and_silence_are_gaps() {
    let mut speakers = speakers(16_000, 1);
    speakers.take(&frame(1, 1, 0));
    let chunks = speakers.take(&frame(1, 4, 0));
    assert_eq!(times(&chunks, 16_000), [(40, true), (60, true), (80, false)]);
    let chunks = speakers.take(&frame(1, 11, 0));
    assert_eq!(times(&chunks, 16_000), [(220, false)], "six frames are lost");
    let chunks = speakers.take(&frame(1, 12, 700_000));
    assert_eq!(times(&chunks, 16_000), [(940, false)], "silence has no numbers");
    let mark = frame(1, 13, 700_000);
    let mark = VoiceFrame { frame: Frame { data: Bytes::from_static(&[8]), ..mark.frame }, ..mark };
    assert!(speakers.take(&mark).is_empty());
}

#[test]
fn speakers_are_decoded_apart_and_a_new_stream_begins_anew() {
    let mut speakers = speakers(16_000, 1);
    for number in 1..3 {
        for peer in [1, 2] {
            let chunks = speakers.take(&frame(peer, 10 * u32::from(peer) + number, 0));
            assert_eq!(chunks.len(), 1);
            assert_eq!(chunks[0].speaker, PeerId([peer; 32]));
        }
    }
    let other = frame(1, 5, 0);
    assert_eq!(speakers.take(&other).len(), 1, "numbers that begin anew");
    for peer in 0..100 {
        speakers.take(&frame(peer, 1, 0));
    }
    assert_eq!(speakers.speakers.len(), ROSTER_MAX);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_many_of_the_wanted_chunks_it_has_missed() {
    let (requests, _driver) = mpsc::channel(1);
    let mut outlets = VoiceOutlets::default();
    let only = VoicesOf::Only([PeerId([1; 32])].into());
    let inlet = outlets.listen(only);
    let wish = Wish::new(requests.downgrade(), Handle::current(), || Request::Voices(false));
    let threads = Threads::new(Span::none());
    let codecs = Arc::new(FakeCodecs::default());
    let count = 2000_u32;
    for number in 1..=count {
        outlets.give(&frame(1, number, 0));
        outlets.give(&frame(2, number, 0));
    }
    let mut stream = decode(inlet, (16_000, 1), codecs, wish, &threads).unwrap();
    let mut heard = Vec::new();
    // what comes after the loss tells of it; until the threads have taken all that was queued it is given again
    for number in count + 1.. {
        outlets.give(&frame(1, number, 0));
        let chunk = stream.next().await.unwrap();
        assert_eq!(chunk.speaker, PeerId([1; 32]));
        let missed = chunk.missed;
        heard.push(chunk);
        if missed > 0 {
            let all = u64::from(number.min(count)) - FRAMES_MAX as u64;
            assert!(missed >= all, "{missed} of {all}");
            break;
        }
        assert!(heard.len() < 3000);
    }
    outlets.close();
    let _ = outlets.listen(VoicesOf::All);
    assert!(outlets.listening.is_empty());
}

#[test]
fn other_rates_and_channels_are_refused_by_name() {
    let with = |rate, channels| check(&Voices { rate, channels, ..Voices::default() });
    assert_eq!(with(44_100, 1), Err(VoicesError::Rate(44_100)));
    assert_eq!(with(16_000, 0), Err(VoicesError::Channels(0)));
    assert_eq!(with(16_000, 3), Err(VoicesError::Channels(3)));
    assert_eq!(with(16_000, 2), Ok(()));
    assert!(VoicesError::Rate(44_100).to_string().contains("[8000, 12000, 16000, 24000, 48000]"));
}
