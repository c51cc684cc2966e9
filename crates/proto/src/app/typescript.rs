//! The page's types of this vocabulary: `web/src/app.ts`, which this test writes.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ts_rs::{Config, TS, TypeVisitor};

use super::page::{Aside, PageSnapshot};
use super::{Command, Event, Reason, Snapshot};

const HEAD: &str = "\
// What a page tells its room and hears of it. Written from crates/proto/src/app by its test:
// PLENARY_BLESS=1 cargo test -p plenary-proto --lib typescript
";

/// Declarations by name.
struct Declared {
    config: Config,
    seen: BTreeSet<TypeId>,
    types: BTreeMap<String, String>,
}

impl TypeVisitor for Declared {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        // TypeScript's own types need no declaration
        if T::output_path().is_some() {
            let docs = T::docs().unwrap_or_default();
            let text = lines(&format!("{docs}export {}\n", T::decl(&self.config)));
            self.types.insert(T::ident(&self.config), text);
        }
        T::visit_dependencies(self);
    }
}

/// Returns a declaration with each alternative of its own union on a line.
fn lines(declaration: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0);
    for line in declaration.lines() {
        for (at, c) in line.char_indices() {
            depth += i32::from("{[<(".contains(c)) - i32::from("}]>)".contains(c));
            let begins = depth == 0 && line[at..].starts_with("| ") && !line.starts_with(" *");
            text.push_str(if begins { "\n  " } else { "" });
            text.push(c);
        }
        text.push('\n');
    }
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn declared() -> BTreeMap<String, String> {
    let config = Config::new().with_large_int("number");
    let mut declared = Declared { config, seen: BTreeSet::new(), types: BTreeMap::new() };
    declared.visit::<Command>();
    declared.visit::<Event>();
    declared.visit::<Snapshot>();
    declared.visit::<Aside>();
    declared.visit::<PageSnapshot>();
    declared.visit::<Reason>();
    declared.types
}

#[test]
fn the_page_has_the_types_of_this_vocabulary() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../web/src/app.ts"].iter().collect();
    let types: Vec<_> = std::iter::once(HEAD.to_owned()).chain(declared().into_values()).collect();
    let expected = types.join("\n");
    if std::env::var_os("PLENARY_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == expected,
        "web/src/app.ts is out of date: PLENARY_BLESS=1 cargo test -p plenary-proto --lib"
    );
}

#[test]
fn the_page_knows_each_reason_by_its_code() {
    let union = &declared()["Reason"];
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .filter(|code| !union.contains(&format!("\"{code}\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
