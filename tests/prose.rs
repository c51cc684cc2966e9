//! A ratchet for prose: the share of comment sentences that are opaque may only fall.
//!
//! A sentence of at least [`WORDS_MIN`] words is opaque when at least [`OPAQUE_PERCENT`] of them are function words
//! (`prose/function_words.txt`: articles, pronouns, prepositions, conjunctions, auxiliaries, vague adverbs). Well-kept
//! crates of this field have 0.3 to 1 % of such sentences. Counted beside them: *who*, *whom*, *whoever* and *whose*.
//! Comments count without tests, code spans and links; Markdown without code blocks. `prose/figures.toml` sets
//! the limits of each crate and each document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::iter;
use std::path::Path;
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};
use serde::Deserialize;

use crate::architecture::{files, root, sources};

const WORDS_MIN: usize = 6;
const OPAQUE_PERCENT: usize = 70;
/// Maximum distance of a limit above the measured figure; a larger distance fails, so that limits are lowered.
const SLACK: f64 = 0.5;

static FUNCTION_WORDS: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| include_str!("prose/function_words.txt").split_whitespace().collect());
static SPANS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)```.*?```|`[^`]*`|\[([^\]]*)\](\([^)]*\))?|https?://\S+").unwrap());
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Za-z][A-Za-z'’-]*").unwrap());
static FENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)```.*?```|<!--.*?-->").unwrap());
static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^//[/!]?\s?(.*)").unwrap());
/// The start of a Markdown block: a list item, a table row, a heading or a quotation.
static BLOCK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*(?:[-*|#>]|\d+\.)").unwrap());

/// What is counted of one crate or one document.
#[derive(Debug, Default)]
struct Tally {
    opaque: usize,
    sentences: usize,
    who: usize,
    words: usize,
    /// Each opaque sentence: the weight that orders them, its file, and the sentence.
    worst: Vec<(usize, String, String)>,
}

/// Limits of one crate or one document.
#[derive(Debug, Deserialize)]
struct Figures {
    opaque_percent: f64,
    who_per_1000: f64,
}

impl Tally {
    fn count(&mut self, file: &str, text: &str) {
        for sentence in sentences(text) {
            let words = words(&sentence);
            self.words += words.len();
            self.who +=
                words.iter().filter(|word| ["who", "whom", "whoever", "whose"].contains(&&***word)).count();
            if words.len() < WORDS_MIN {
                continue;
            }
            self.sentences += 1;
            let function = words.iter().filter(|word| FUNCTION_WORDS.contains(&***word)).count();
            if 100 * function >= OPAQUE_PERCENT * words.len() {
                self.opaque += 1;
                self.worst.push((function, file.to_owned(), sentence.trim().to_owned()));
            }
        }
    }

    fn opaque_percent(&self) -> f64 {
        100.0 * self.opaque as f64 / self.sentences.max(1) as f64
    }

    fn who_per_1000(&self) -> f64 {
        1000.0 * self.who as f64 / self.words.max(1) as f64
    }
}

fn words(sentence: &str) -> Vec<String> {
    let stem =
        |word: &str| word.to_lowercase().replace('’', "'").split('\'').next().unwrap_or_default().to_owned();
    WORD.find_iter(sentence).map(|word| stem(word.as_str())).collect()
}

/// Cuts at white space behind a full stop, an exclamation or question mark, a semicolon or a colon.
fn sentences(text: &str) -> Vec<String> {
    let text = SPANS.replace_all(text, |span: &Captures<'_>| match span.get(1) {
        Some(link) => format!(" {} ", link.as_str()),
        None => " X ".to_owned(),
    });
    let mut sentences = vec![String::new()];
    let mut ends = false;
    for char in text.chars() {
        if ends && char.is_whitespace() {
            sentences.push(String::new());
        }
        ends = ".!?;:".contains(char);
        sentences.last_mut().expect("one at least").push(char);
    }
    sentences
}

/// The comments of a Rust file up to its unit tests, the lines of one block joined.
fn comments(source: &str) -> Vec<String> {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        match COMMENT.captures(line).and_then(|comment| comment.get(1)) {
            Some(text) if !["```", "    ", "|", "- ["].iter().any(|code| text.as_str().starts_with(code)) => {
                blocks.last_mut().expect("one at least").push(text.as_str());
            }
            _ => blocks.push(Vec::new()),
        }
    }
    blocks.into_iter().map(|block| block.join(" ")).collect()
}

/// The prose of a Markdown file: paragraphs, list items and table cells.
fn paragraphs(text: &str) -> Vec<String> {
    let text = FENCE.replace_all(text, "");
    let mut paragraphs = vec![String::new()];
    for line in text.lines() {
        if line.trim().is_empty() || BLOCK.is_match(line) {
            paragraphs.push(String::new());
        }
        let paragraph = paragraphs.last_mut().expect("one at least");
        paragraph.push_str(line);
        paragraph.push(' ');
    }
    paragraphs.iter().flat_map(|paragraph| paragraph.split(" | ").map(str::to_owned)).collect()
}

/// The name that a source file counts under: its crate, or its folder at the top. None for tests.
fn part(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(root()).expect("within the project");
    let folders: Vec<_> = relative.iter().map(|part| part.to_str().expect("UTF-8")).collect();
    // netlab lies in the folder of the tests, but is a program
    let folders = folders.strip_prefix(&["tests"]).filter(|below| below[0] == "netlab").unwrap_or(&folders);
    if folders.iter().any(|folder| ["tests", "fuzz", "tests.rs"].contains(folder)) {
        return None;
    }
    Some(if folders[0] == "crates" { folders[1] } else { folders[0] }.to_owned())
}

fn tallies() -> BTreeMap<String, Tally> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (path, source) in sources() {
        let Some(part) = part(&path) else { continue };
        let tally = tallies.entry(part).or_default();
        let file = path.strip_prefix(root()).expect("within the project").display().to_string();
        comments(&source).iter().for_each(|text| tally.count(&file, text));
    }
    for path in iter::once(root().join("README.md")).chain(files(&["docs", "tests/netlab"], "md")) {
        let file = path.strip_prefix(root()).expect("within the project").display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let tally = tallies.entry(file.clone()).or_default();
        paragraphs(&text).iter().for_each(|text| tally.count(&file, text));
    }
    tallies
}

#[test]
fn the_share_of_opaque_sentences_only_falls() {
    let mut kept: BTreeMap<String, Figures> = toml::from_str(include_str!("prose/figures.toml")).unwrap();
    let mut faults = String::new();
    for (part, mut tally) in tallies() {
        let Some(most) = kept.remove(&part) else {
            panic!("tests/prose/figures.toml has no figures of {part}")
        };
        for (what, found, most) in [
            ("opaque_percent", tally.opaque_percent(), most.opaque_percent),
            ("who_per_1000", tally.who_per_1000(), most.who_per_1000),
        ] {
            if found > most {
                writeln!(faults, "{part}: {what} is {found:.2}, and {most} at most").unwrap();
                tally.worst.sort_by(|a, b| b.cmp(a));
                for (_, file, sentence) in tally.worst.iter().take(10) {
                    writeln!(faults, "    {file}: {sentence}").unwrap();
                }
            } else if most - found > SLACK {
                writeln!(faults, "{part}: {what} is {found:.2}: lower {most} in tests/prose/figures.toml")
                    .unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
    assert!(kept.is_empty(), "tests/prose/figures.toml has figures of what is not there: {:?}", kept.keys());
}

#[test]
fn a_sentence_is_opaque_when_it_is_mostly_function_words() {
    let opaque = |text: &str| {
        let mut tally = Tally::default();
        tally.count("", text);
        (tally.opaque, tally.sentences, tally.who)
    };
    assert_eq!(opaque("Of whom nothing is known is as far as the other end of some."), (1, 1, 1));
    assert_eq!(opaque("Maximum number of packets queued per link."), (0, 1, 0));
    assert_eq!(opaque("As it is. Of so many."), (0, 0, 0), "too short to count");
    assert_eq!(opaque("`as it is with them so it is` with [the key of it](all of that): one"), (0, 1, 0));
    let source = "/// Of one\n/// kind.\nfn x() {} // not so\n// and this\n#[cfg(test)]\n/// out";
    assert_eq!(
        comments(source).iter().filter(|block| !block.is_empty()).count(),
        2,
        "trailing ones don't count"
    );
    assert_eq!(paragraphs("a\nb\n\n- c\n| d | e |").len(), 6);
}
