//! How long a line that people read, and a test's name, may be.

use std::path::PathBuf;

use crate::architecture::{files, root, sources};

/// Maximum characters of a line of a comment or of a document. A row of a table, an address and code may be longer.
const LINE_LEN_MAX: usize = 120;
/// Maximum characters of a test's name: the rest is for the assertion's message.
const TEST_NAME_LEN_MAX: usize = 70;
/// Folders that git doesn't track, and its own.
const UNREAD: &[&str] = &["target", "node_modules", "out", ".git"];

/// Whether a line of Rust or TypeScript is a comment alone.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "/*", "* "].iter().any(|mark| line.starts_with(mark))
}

/// Lines of a document that are prose: no table, code or picture.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    numbered.filter(move |(_, line)| {
        is_code ^= line.starts_with("```");
        !is_code && !line.starts_with(['|', '!', '<']) && !line.starts_with("    ")
    })
}

fn is_too_long(line: &str) -> bool {
    line.chars().count() > LINE_LEN_MAX && !line.contains("https://") && !line.contains("//! | ")
}

/// Returns the name of the test that a line defines, given the line before.
fn test_name<'a>(before: &str, line: &'a str) -> Option<&'a str> {
    let (before, line) = (before.trim_start(), line.trim_start());
    if let Some(rest) = line.strip_prefix("test(\"").or_else(|| line.strip_prefix("it(\"")) {
        return rest.split('"').next();
    }
    let is_test = before.starts_with("#[") && !before.starts_with("#[cfg") && !before.starts_with("#[derive");
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").filter(|_| is_test)?;
    name.split(['(', '<']).next()
}

fn pages() -> impl Iterator<Item = (PathBuf, String)> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files(&["web/src", "web/test", "web/kill"], "ts").into_iter().map(read)
}

/// Returns every Markdown file of the project.
fn documents() -> Vec<PathBuf> {
    let (mut folders, mut documents) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !UNREAD.iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == "md") {
                documents.push(path);
            }
        }
    }
    documents
}

#[test]
fn a_line_of_a_comment_or_document_has_at_most_120_characters() {
    let mut long = Vec::new();
    for (path, text) in sources().into_iter().chain(pages()) {
        let comments = text.lines().enumerate().filter(|(_, line)| is_comment(line) && is_too_long(line));
        long.extend(comments.map(|(at, _)| format!("{}:{}", path.display(), at + 1)));
    }
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = prose(&text).filter(|(_, line)| is_too_long(line));
        long.extend(lines.map(|(number, _)| format!("{}:{number}", path.display())));
    }
    assert!(long.is_empty(), "longer than {LINE_LEN_MAX} characters: {long:#?}");
}

#[test]
fn the_name_of_a_test_has_at_most_70_characters() {
    assert_eq!(test_name("    #[test]", "    fn all_is_well() {"), Some("all_is_well"));
    assert_eq!(test_name("", "test(\"all is well\", async () => {"), Some("all is well"));
    assert_eq!(test_name("#[derive(Debug)]", "fn all_is_well()"), None);
    let mut long = Vec::new();
    for (path, text) in sources().into_iter().chain(pages()) {
        let lines: Vec<&str> = text.lines().collect();
        let pairs = lines.windows(2).filter_map(|pair| test_name(pair[0], pair[1]));
        let names = pairs.filter(|name| name.chars().count() > TEST_NAME_LEN_MAX);
        long.extend(names.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(long.is_empty(), "longer than {TEST_NAME_LEN_MAX} characters: {long:#?}");
}
