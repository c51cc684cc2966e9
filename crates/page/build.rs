//! Embeds the files that `web/build` has made. Without them the crate serves no page.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
    let folder = Path::new("../../web/dist");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| ["br", "gz"].iter().all(|kind| folder.join(format!("{name}.{kind}")).is_file()))
        .collect();
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        let path = folder.join(&name).canonicalize().expect("a file that was just listed");
        // writing to a String cannot fail
        let _ = writeln!(
            list,
            "({name:?}, [include_bytes!({path:?}), include_bytes!(\"{0}.br\"), include_bytes!(\"{0}.gz\")]),",
            path.display()
        );
    }
    list.push(']');
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("files.rs"), list).expect("the output folder is writable");
}
