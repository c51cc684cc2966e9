//! Comparison of two reports.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// Figures that describe the run and aren't compared.
const GIVEN: &[&str] = &["scenario", "seed", "runs", "peers", "media_model"];
/// Figures for which more is better; for all other measured figures less is better.
const MORE_IS_BETTER: &[&str] = &[
    "delivery.frames_within_1s",
    "delivery.frames_within_600ms",
    "delivery.viewers_without_gap_500ms",
    "delivery.data_reached",
    "elections.within_5pct_of_oracle",
];
/// Figures that are neither good nor bad.
const NEITHER: &[&str] =
    &["inputs", "room_time_s", "elections.count", "elections.mixer_hours", "depth.oracle_mean"];

/// A table of the figures that differ, one line each: both values, the change in percent, and whether it is
/// better.
pub fn compare(before: &Value, after: &Value) -> String {
    let mut text = String::new();
    for name in GIVEN {
        let (one, other) = (&before[*name], &after[*name]);
        if one != other {
            let _ = writeln!(text, "not the same {name}: {one} and {other}");
        }
    }
    let same_hash = before["trace_hash"] == after["trace_hash"];
    let told = if same_hash { "the same: every brain said the same" } else { "another" };
    let _ = writeln!(text, "trace_hash is {told}");
    let (one, other) = (figures(before), figures(after));
    let names: Vec<&String> =
        one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))).collect();
    let changed: Vec<_> = names.into_iter().filter(|name| one.get(*name) != other.get(*name)).collect();
    let widest = changed.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in changed {
        let _ = writeln!(text, "{name:<widest$}  {}", change(name, one.get(name), other.get(name)));
    }
    text
}

fn change(name: &str, before: Option<&f64>, after: Option<&f64>) -> String {
    let told = |value: Option<&f64>| value.map_or("not measured".to_owned(), |value| value.to_string());
    let mut line = format!("{:>14} -> {:<14}", told(before), told(after));
    let (Some(before), Some(after)) = (before, after) else { return line.trim_end().to_owned() };
    if *before != 0.0 {
        let _ = write!(line, " {:>+9.1} %", 100.0 * (after - before) / before.abs());
    }
    if !NEITHER.contains(&name) {
        let better = (after > before) == MORE_IS_BETTER.contains(&name);
        line += if better { "  better" } else { "  worse" };
    }
    line
}

/// All measured numbers by their path in the report; for violations, their number.
fn figures(report: &Value) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    gather(report, String::new(), &mut found);
    if let Some(violations) = report["violations"].as_array() {
        found.insert("violations".to_owned(), violations.len() as f64);
    }
    found
}

fn gather(value: &Value, place: String, found: &mut BTreeMap<String, f64>) {
    if GIVEN.contains(&&*place) {
        return;
    }
    match value {
        Value::Number(number) => {
            found.extend(number.as_f64().map(|number| (place, number)));
        }
        Value::Object(parts) => {
            for (name, part) in parts {
                let dot = if place.is_empty() { "" } else { "." };
                gather(part, format!("{place}{dot}{name}"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_with_its_size_and_whether_it_is_better() {
        let before = json!({
            "scenario": "churn-500", "seed": 1, "trace_hash": "a", "inputs": 10,
            "delivery": { "frames_within_1s": 0.98, "bytes_over_ideal": 1.1 },
            "repair_ms": null, "join_ms": { "p50": 100.0, "p95": 300.0 }, "violations": [{}],
        });
        let after = json!({
            "scenario": "churn-500", "seed": 2, "trace_hash": "b", "inputs": 20,
            "delivery": { "frames_within_1s": 0.99, "bytes_over_ideal": 1.1 },
            "repair_ms": { "p50": 7.5 }, "join_ms": { "p50": 150.0, "p95": 300.0 }, "violations": [],
        });
        let lines = compare(&before, &after);
        let lines: Vec<String> =
            lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "not the same seed: 1 and 2",
                "trace_hash is another",
                "delivery.frames_within_1s 0.98 -> 0.99 +1.0 % better",
                "inputs 10 -> 20 +100.0 %",
                "join_ms.p50 100 -> 150 +50.0 % worse",
                "violations 1 -> 0 -100.0 % better",
                "repair_ms.p50 not measured -> 7.5",
            ]
        );
        assert_eq!(compare(&before, &before), "trace_hash is the same: every brain said the same\n");
    }
}
