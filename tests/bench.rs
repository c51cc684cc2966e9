//! `plenary bench mix`, `bench sound` and `bench relay` as processes: figures, and refused arguments.

use crate::running::run;
use serde_json::Value;

/// Runs a bench with these flags and returns its report.
fn report(args: &str) -> Value {
    let args: Vec<&str> = args.split_whitespace().collect();
    let ended = run(&[&["bench"], &*args, &["--json", "-"]].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn number(report: &Value, place: &str) -> f64 {
    report.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("{place} in {report:#}"))
}

#[test]
fn a_mix_costs_its_parts_and_shows_what_cameras_showed() {
    let report = report("mix --inputs 4 --in 320x180@30 --out 640x360@30 --bitrate 800kbit --frames 48");
    for (place, value) in [("/inputs", 4.0), ("/frames", 48.0)] {
        assert_eq!(number(&report, place), value);
    }
    let part = |name: &str| number(&report, &format!("/cpu_ms_per_frame/{name}"));
    for name in ["decode", "scale", "encode", "total"] {
        assert!(part(name) > 0.0, "{name} of {report:#}");
    }
    // each part's figure is a median over its own stretches, so the sum may exceed the total
    let parts = part("decode") + part("scale") + part("encode");
    assert!(parts < 1.5 * part("total"), "{report:#}");
    assert!(number(&report, "/bound_ms_per_frame") > 0.0);
    // a low value would mean a late picture, or one in the wrong tile
    assert!(number(&report, "/psnr_db") > 25.0, "{report:#}");
    let rate = number(&report, "/kbit_s");
    assert!((400.0..1_600.0).contains(&rate), "{rate} kbit/s");
}

#[test]
fn what_was_mixed_is_kept_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("kept");
    report(&format!("mix --inputs 2 --in 160x90@30 --out 320x180@30 --frames 12 --keep {}", keep.display()));
    let plan: Value = serde_json::from_slice(&std::fs::read(keep.join("plan.json")).unwrap()).unwrap();
    assert_eq!((&plan["inputs"], &plan["width"], &plan["height"]), (&2.into(), &320.into(), &180.into()));
    for stream in ["in-00.h264", "in-01.h264", "program.h264"] {
        assert_eq!(std::fs::read(keep.join(stream)).unwrap()[..4], [0, 0, 0, 1], "{stream}");
    }
    let ideal = std::fs::metadata(keep.join("ideal.yuv")).unwrap().len();
    assert_eq!(ideal % (320 * 180 * 3 / 2), 0);
    assert!(ideal >= 12 * 320 * 180 * 3 / 2);
}

#[test]
fn the_sound_of_many_costs_its_mixes_and_shows_the_bound() {
    let report = report("sound --speakers 12 --heard 2 --seconds 4");
    for (place, value) in [("/speakers", 12.0), ("/heard", 2.0), ("/seconds", 4.0)] {
        assert_eq!(number(&report, place), value);
    }
    let (core, bound) = (number(&report, "/core_percent"), number(&report, "/bound_core_percent"));
    assert!(core > 0.0 && bound > 0.0, "{report:#}");
    assert!(number(&report, "/over_bound/median") > 0.5, "{report:#}");
    // one mix for all and one mix-minus for each of the two that are heard; more while a turn changes
    let encoded = number(&report, "/encoded_per_step");
    assert!((2.5..5.0).contains(&encoded), "{report:#}");
}

#[test]
fn nobody_is_heard_who_is_not_there() {
    let ended = run(&["bench", "sound", "--speakers", "2", "--heard", "3"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--heard 3: there are only 2 speakers"), "{}", ended.stderr);
}

#[test]
fn a_relay_is_measured_beside_the_bare_stack_and_another_server() {
    // the bare relay's process speaks the protocol of other servers
    let server = format!("again={} bench relay --part bare", env!("CARGO_BIN_EXE_plenary"));
    let args = "bench relay --children 2 --rounds 1 --duration 500ms --json - --server";
    let args: Vec<&str> = args.split(' ').chain([&*server]).collect();
    let ended = run(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report.pointer("/servers/0/name").and_then(Value::as_str), Some("again"));
    for relay in ["", "/bare", "/servers/0"] {
        let figure = |name: &str| number(&report, &format!("{relay}/{name}"));
        assert!(figure("delivered") > 0.5, "{relay} of {report:#}");
        assert!(figure("cpu_us_per_packet") > 0.0, "{relay} of {report:#}");
        assert!(figure("added_ms/p50") > 0.0, "{relay} of {report:#}");
    }
}
