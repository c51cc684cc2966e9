//! The values of constants in docs/CONSTANTS.md are those of the code.

use std::collections::BTreeMap;

use crate::architecture::{root, sources};

/// Returns the expressions of all constants in the crates, by name; with their files.
fn defined() -> BTreeMap<String, Vec<(String, String)>> {
    let mut all: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (path, text) in sources() {
        let file = path.strip_prefix(root().join("crates")).unwrap_or(&path).display().to_string();
        for statement in text.split("const ").skip(1) {
            let Some((head, rest)) = statement.split_once(" =") else { continue };
            let (Some((name, _)), Some((value, _))) = (head.split_once(": "), rest.split_once(';')) else {
                continue;
            };
            if name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                all.entry(name.to_owned()).or_default().push((file.clone(), value.to_owned()));
            }
        }
    }
    all
}

/// Reads an expression of numbers, constants, `+ - * / <<` and durations.
struct Reader<'a> {
    rest: &'a str,
    file: &'a str,
    all: &'a BTreeMap<String, Vec<(String, String)>>,
    /// Bounds the chain of constants that name constants.
    depth: u8,
}

impl Reader<'_> {
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        loop {
            if self.take("<<") {
                value *= 2f64.powf(self.product()?);
            } else if self.take("+") {
                value += self.product()?;
            } else if self.take("-") {
                value -= self.product()?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.atom()?;
        loop {
            if self.take("as ") {
                self.word();
            } else if self.take("*") {
                value *= self.atom()?;
            } else if self.take("/") {
                value /= self.atom()?;
            } else {
                return Some(value);
            }
        }
    }

    fn word(&mut self) -> &str {
        self.rest = self.rest.trim_start();
        let is_in = |c: char| c.is_alphanumeric() || "_:.".contains(c);
        let len = self.rest.find(|c| !is_in(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        word
    }

    fn atom(&mut self) -> Option<f64> {
        if self.take("(") {
            let value = self.sum()?;
            return self.take(")").then_some(value);
        }
        let word = self.word().to_owned();
        let digits: String = word.chars().filter(|c| *c != '_').collect();
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            return ["", "u8", "u16", "u32", "u64", "usize", "f32", "f64"]
                .iter()
                .find_map(|kind| digits.strip_suffix(kind)?.parse().ok());
        }
        let scale = match &*word {
            "Duration::from_micros" => Some(1.0),
            "Duration::from_millis" => Some(1e3),
            "Duration::from_secs" => Some(1e6),
            _ => None,
        };
        match scale {
            Some(scale) => self.atom().map(|value| value * scale),
            None => self.named(word.rsplit("::").next()?),
        }
    }

    fn named(&self, name: &str) -> Option<f64> {
        let known = self.all.get(name)?;
        let crate_of = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
        let is_near: [&dyn Fn(&str) -> bool; 3] =
            [&|file| file == self.file, &|file| crate_of(file) == crate_of(self.file), &|file| {
                crate_of(file) == "proto"
            }];
        let near = is_near.iter().map(|is| known.iter().filter(|(file, _)| is(file)).collect::<Vec<_>>());
        let near = near.into_iter().find(|near| !near.is_empty()).unwrap_or(known.iter().collect());
        let depth = self.depth.checked_sub(1)?;
        let values: Option<Vec<f64>> = near
            .into_iter()
            .map(|(file, value)| Reader { rest: value, file, all: self.all, depth }.whole())
            .collect();
        // of several of one name it isn't known which is meant
        values?.into_iter().map(Some).reduce(|a, b| a.filter(|a| Some(*a) == b))?
    }

    fn whole(&mut self) -> Option<f64> {
        let value = self.sum()?;
        self.rest.trim().is_empty().then_some(value)
    }
}

/// Returns a number with its unit, if it has one that is known: microseconds for times.
fn documented(text: &str) -> Option<(f64, Option<f64>)> {
    let (number, unit) =
        text.trim().split_once(' ').map_or((text.trim(), ""), |(number, unit)| (number, unit));
    let scale = match unit {
        "" => None,
        "µs" | "bytes" | "%" | "bit/s" => Some(1.0),
        "ms" | "kbit/s" | "kB" => Some(1e3),
        "s" | "Mbit/s" => Some(1e6),
        "min" => Some(60e6),
        "KiB" => Some(1024.0),
        "MiB" => Some(1024.0 * 1024.0),
        _ => return None,
    };
    Some((number.parse().ok()?, scale))
}

/// Whether a constant of this name and value is what the document says.
fn is_equal(name: &str, value: f64, (number, scale): (f64, Option<f64>)) -> bool {
    let last = name.rsplit('_').find(|part| !["MAX", "MIN", "EACH"].contains(part));
    let unit = match last {
        Some("S") => 1e6,
        Some("MS") => 1e3,
        Some("KIB") => 1024.0,
        // a share, or thousandths of it, in percent
        Some("MILLI") => 0.1,
        _ if value < 1.0 => 100.0,
        _ => 1.0,
    };
    let said = number * scale.unwrap_or(1.0);
    [value, value * unit].iter().any(|value| (value - said).abs() <= 1e-6 * said.abs())
}

#[test]
fn each_value_in_the_table_of_constants_is_the_code_s() {
    let text = std::fs::read_to_string(root().join("docs/CONSTANTS.md")).unwrap();
    let all = defined();
    let (mut compared, mut wrong) = (0, Vec::new());
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [names, values, place, ..] = cells[..] else { continue };
        let names: Vec<_> = names.split('`').skip(1).step_by(2).collect();
        let mut values: Vec<_> = values.split(", ").map(documented).collect();
        if names.len() != values.len() {
            continue;
        }
        // a unit stands behind the last of several values
        for at in (0..values.len().saturating_sub(1)).rev() {
            let next = values[at + 1].and_then(|(_, scale)| scale);
            if let Some((_, scale @ None)) = &mut values[at] {
                let is_time = all.get(names[at]).is_some_and(|known| known[0].1.contains("Duration"));
                let has_unit = ["_US", "_S", "_MS", "_BPS"].iter().any(|unit| names[at].contains(unit));
                *scale = next.filter(|_| is_time || has_unit);
            }
        }
        let places: Vec<_> = place.split('`').skip(1).step_by(2).collect();
        for (name, said) in names.iter().zip(values) {
            let is_here = |(file, _): &&(String, String)| places.iter().any(|place| file.contains(*place));
            let Some((file, value)) = all.get(*name).and_then(|known| known.iter().find(is_here)) else {
                continue;
            };
            let value = Reader { rest: value, file, all: &all, depth: 8 }.whole();
            if let Some((value, said)) = value.zip(said) {
                compared += 1;
                if !is_equal(name, value, said) {
                    wrong.push(format!("{name}: {said:?} in the document, {value} in {file}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "of {compared}: {wrong:#?}");
    assert!(compared > 350, "only {compared} values could be compared");
}
