//! Recordings tell their length and where to seek, also after a crash and a repair.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use plenary_media::{Recorder, RepairError, is_finished_recording, repair_recording};
use plenary_testkit::fake::FakeCodecs;
use proptest::prelude::*;
use shiguredo_mp4::boxes::{MfraBox, MoofBox, MoovBox, TfraBox};
use shiguredo_mp4::{BoxHeader, Decode, Encode};

use crate::record::{A, SMALL, T_US, judged, stream, stream_of, target};

/// Bytes of a recording of 5 s before it was finished, and afterwards.
static RECORDED: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    recorder.note(b"a note, as rooms with seals have them");
    stream(A, 1, SMALL, T_US, 5.0).iter().for_each(|frame| recorder.push(frame).unwrap());
    let unfinished = fs::read(&path).unwrap();
    recorder.finish().unwrap();
    [unfinished, fs::read(&path).unwrap()]
});

/// Returns kind, begin and end of each box at the top level; a truncated file ends within the last box.
fn boxes(bytes: &[u8]) -> Vec<([u8; 4], usize, usize)> {
    let (mut boxes, mut at) = (Vec::new(), 0);
    while let Ok((header, _)) = BoxHeader::decode(&bytes[at..]) {
        let end = at + header.box_size.get() as usize;
        boxes.push((bytes[at + 4..at + 8].try_into().unwrap(), at, end));
        if end >= bytes.len() {
            break;
        }
        at = end;
    }
    boxes
}

fn header_of(bytes: &[u8]) -> MoovBox {
    let (_, at, end) = boxes(bytes)[1];
    MoovBox::decode(&bytes[at..end]).unwrap().0
}

/// Lengths in a header: of the movie twice, then of each track in the movie's ticks and its own.
fn lengths(bytes: &[u8]) -> Vec<u64> {
    let moov = header_of(bytes);
    let movie = moov.mvex_box.and_then(|mvex| mvex.mehd_box).unwrap().fragment_duration;
    let tracks =
        moov.trak_boxes.iter().flat_map(|track| [track.tkhd_box.duration, track.mdia_box.mdhd_box.duration]);
    [moov.mvhd_box.duration, movie].into_iter().chain(tracks).collect()
}

/// Returns what ffprobe says of a file, in words.
fn ffprobe(path: &Path, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    let output = command.args(["-v", "error", "-of", "csv=p=0"]).args(arguments).arg(path).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = String::from_utf8(output.stdout).unwrap();
    words.split(['\n', ',']).map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn repaired(bytes: &[u8]) -> (plenary_media::Repaired, Vec<u8>) {
    let (_folder, path) = target();
    fs::write(&path, bytes).unwrap();
    let repaired = repair_recording(&path).unwrap_or_else(|error| panic!("{error}"));
    (repaired, fs::read(&path).unwrap())
}

/// Returns why a file is refused, which leaves it as it was.
fn refusal(bytes: &[u8]) -> String {
    let (_folder, path) = target();
    fs::write(&path, bytes).unwrap();
    let error = repair_recording(&path).unwrap_err().to_string();
    assert_eq!(fs::read(&path).unwrap(), bytes, "{error}");
    error.strip_prefix(&format!("{}: ", path.display())).expect("the file's name").to_owned()
}

#[test]
fn a_finished_recording_tells_its_length_and_where_its_keyframes_are() {
    let [unfinished, finished] = &*RECORDED;
    assert_eq!(lengths(unfinished), [0; 6]);
    assert_eq!(lengths(finished), [5_000, 5_000, 5_000, 450_000, 5_000, 240_000]);
    let all = boxes(finished);
    let (kind, at, end) = *all.last().unwrap();
    assert_eq!((&kind, end), (b"mfra", finished.len()));
    let (mfra, _) = MfraBox::decode(&finished[at..]).unwrap();
    assert_eq!(mfra.mfro_box.size as usize, end - at, "found from the end of the file");
    let [video, sound] = &mfra.tfra_boxes[..] else { panic!("{mfra:?}") };
    let times: Vec<_> = video.entries.iter().map(|entry| entry.time).collect();
    assert_eq!((video.track_id, times), (1, vec![0, 180_000, 360_000]));
    assert!(sound.entries.len() >= 10 && sound.entries[0].time == 0);
    let entries =
        |tfra: &TfraBox| tfra.entries.clone().into_iter().map(|entry| (tfra.track_id, entry)).collect();
    for (track, entry) in mfra.tfra_boxes.iter().flat_map(|tfra| -> Vec<_> { entries(tfra) }) {
        let (moof, _) = MoofBox::decode(&finished[entry.moof_offset as usize..]).unwrap();
        let traf = &moof.traf_boxes[entry.traf_number as usize - 1];
        let begins = traf.tfdt_box.as_ref().unwrap().base_media_decode_time;
        assert_eq!((traf.tfhd_box.track_id, begins), (track, entry.time), "a fragment begins there");
        let sample =
            &traf.trun_boxes[entry.trun_number as usize - 1].samples[entry.sample_number as usize - 1];
        assert!(!sample.flags.unwrap().sample_is_non_sync_sample());
    }

    let (_folder, path) = target();
    fs::write(&path, finished).unwrap();
    let said = ffprobe(&path, &["-show_entries", "format=duration"]);
    assert_eq!(said, ["5.000000"]);
    let seek = ["-select_streams", "v:0", "-show_entries", "packet=pts_time", "-read_intervals", "4.5%+#1"];
    assert_eq!(ffprobe(&path, &seek), ["4.000000"], "the keyframe before");
    assert!(is_finished_recording(&path).unwrap());
    let repaired = repair_recording(&path).unwrap();
    assert_eq!((repaired.has_changed, repaired.cut_len, repaired.duration.as_millis()), (false, 0, 5_000));
    assert_eq!(&fs::read(&path).unwrap(), finished);
}

#[test]
fn a_repaired_recording_plays_without_errors_and_tells_its_length() {
    let [unfinished, _] = &*RECORDED;
    for share in [0.3, 0.61, 0.97, 1.0] {
        let (_folder, path) = target();
        fs::write(&path, &unfinished[..(unfinished.len() as f64 * share) as usize]).unwrap();
        assert!(!is_finished_recording(&path).unwrap());
        let repaired = repair_recording(&path).unwrap();
        let judged = judged(&path);
        let count = judged.frames.len();
        let in_order =
            (0..).zip(&judged.frames).all(|(number, frame)| frame.codes[0].unwrap().number == number);
        assert!(in_order && count as f64 > 150.0 * share - 40.0, "{share}: {count}");
        let duration_s = repaired.duration.as_secs_f64();
        let said: f64 = ffprobe(&path, &["-show_entries", "format=duration"])[0].parse().unwrap();
        assert!((said - duration_s).abs() < 0.002 && duration_s > 5.0 * share - 1.0, "{said} {duration_s}");
        assert!(repaired.has_changed && (repaired.cut_len > 0) == (share < 1.0), "{repaired:?}");
    }
}

#[test]
fn a_recording_whose_lengths_have_four_bytes_is_repaired_too() {
    let [unfinished, _] = &*RECORDED;
    let all = boxes(unfinished);
    let mut older = unfinished[..all[1].1].to_vec();
    older.extend(header_of(unfinished).encode_to_vec().unwrap());
    assert!(older.len() < all[1].2, "in fewer bytes");
    older.extend(&unfinished[all[1].2..]);
    let (_, bytes) = repaired(&older);
    let lengths = lengths(&bytes);
    assert!(lengths[0] > 4_000 && lengths[0] == lengths[1] && lengths[3] > 360_000, "{lengths:?}");
}

#[test]
fn what_is_recorded_at_present_is_not_repaired() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let frames = stream_of(&FakeCodecs::default(), A, 1, SMALL, T_US, 2.0);
    frames.iter().for_each(|frame| recorder.push(frame).unwrap());
    assert!(matches!(repair_recording(&path), Err(RepairError::InUse { .. })));
    recorder.finish().unwrap();
    assert!(!repair_recording(&path).unwrap().has_changed);
}

#[test]
fn what_no_recorder_wrote_is_refused_and_stays_as_it_is() {
    let [unfinished, finished] = &*RECORDED;
    assert_eq!(refusal(b""), "it is empty");
    for other in [&b"a text, and no recording of anything"[..], &[0; 40]] {
        assert!(refusal(other).contains("no recording of plenary"), "{}", refusal(other));
    }
    let all = boxes(unfinished);
    assert!(refusal(&unfinished[..all[1].2 - 1]).contains("nothing of it can be played"));
    let middle = all.iter().filter(|(kind, ..)| kind == b"moof").nth(5).unwrap().1;
    let inserted = |bytes: &[u8]| [&unfinished[..middle], bytes, &unfinished[middle..]].concat();
    assert!(refusal(&inserted(b"\0\0\0\x08free")).contains("a box \"free\" at byte"));
    assert!(refusal(&inserted(&[0; 99])).contains("damaged at byte"));
    assert!(refusal(&[&finished[..], &unfinished[middle..]].concat()).contains("follows its index"));
    // by another program, from the same frames
    let (folder, path) = target();
    fs::write(&path, finished).unwrap();
    let other = folder.path().join("other.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(&path);
    command.args(["-c", "copy", "-movflags", "frag_keyframe+empty_moov"]).arg(&other);
    assert!(command.status().unwrap().success());
    assert!(refusal(&fs::read(&other).unwrap()).contains("recording of plenary"));
    assert!(repair_recording(folder.path()).unwrap_err().to_string().contains("no regular file"));
    assert!(matches!(repair_recording(Path::new("/nowhere/a.mp4")), Err(RepairError::Io { .. })));
}

#[test]
fn lengths_that_a_file_claims_take_no_memory_and_no_long_tail_is_cut_off() {
    let [unfinished, _] = &*RECORDED;
    for claim in [&b"\x7f\xff\xff\xffmoof"[..], b"\0\0\0\x01moof\0\0\0\x40\0\0\0\0", b"\0\0\0\0\0\0\0\0"] {
        let (_folder, path) = target();
        fs::write(&path, [unfinished, claim].concat()).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let error = repair_recording(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged at byte"), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 40);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_recording_cut_at_any_byte_is_repaired_to_its_whole_fragments(
        finished in any::<bool>(),
        at in any::<prop::sample::Index>(),
    ) {
        let whole = &RECORDED[usize::from(finished)];
        let bytes = &whole[..at.index(whole.len() + 1)];
        let all = boxes(whole);
        let header_end = all[1].2;
        if bytes.len() < header_end {
            refusal(bytes);
            return Ok(());
        }
        let kept = |kind: &[u8; 4]| kind == b"mdat" || kind == b"uuid" || kind == b"moov";
        let ends = all.iter().filter(|(kind, _, end)| kept(kind) && *end <= bytes.len());
        let end = ends.map(|(.., end)| *end).max().unwrap();
        let (repaired, result) = repaired(bytes);
        prop_assert_eq!(&result[header_end..end], &bytes[header_end..end]);
        prop_assert!(repaired.cut_len as usize == bytes.len() - end || bytes.len() == whole.len());
        let has_frames = boxes(&bytes[..end]).iter().any(|(kind, ..)| kind == b"mdat");
        let last = boxes(&result).last().map(|(kind, at, _)| (*kind, *at)).unwrap();
        prop_assert_eq!(last == (*b"mfra", end), has_frames);
        prop_assert_eq!(lengths(&result)[0] > 0, has_frames);
        prop_assert_eq!(u128::from(lengths(&result)[0]), repaired.duration.as_micros().div_ceil(1000));
    }

    #[test]
    fn whatever_a_file_holds_a_repair_ends_and_a_second_one_changes_nothing(
        finished in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        near in any::<bool>(),
    ) {
        let mut bytes = RECORDED[usize::from(finished)].clone();
        let ends: Vec<_> = boxes(&bytes).iter().map(|(_, at, _)| *at).collect();
        for (at, value) in flips {
            // mostly in headers of boxes, where a byte says the most
            let at = if near { ends[at.index(ends.len())] + usize::from(value % 120) } else { at.index(bytes.len()) };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let (_folder, path) = target();
        fs::write(&path, &bytes).unwrap();
        match repair_recording(&path) {
            Ok(_) => prop_assert!(!repair_recording(&path).unwrap().has_changed),
            Err(_) => prop_assert_eq!(fs::read(&path).unwrap(), bytes),
        }
    }
}
