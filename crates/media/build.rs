//! Refuses to build a slow codec without a word: without nasm, openh264 quietly falls back to plain C++, which
//! encodes 2.5 times slower.

fn main() {
    println!("cargo::rerun-if-env-changed=NASM");
    println!("cargo::rerun-if-env-changed=PLENARY_SLOW_CODEC");
    let codecs = std::env::var_os("CARGO_FEATURE_CODECS").is_some();
    let x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch.starts_with("x86"));
    if !codecs || !x86 || std::env::var_os("PLENARY_SLOW_CODEC").is_some() {
        return;
    }
    let nasm = std::env::var_os("NASM").unwrap_or_else(|| "nasm".into());
    if std::process::Command::new(&nasm).arg("-v").output().is_err() {
        println!(
            "cargo::error=nasm is missing: the H.264 codec would be 2.5 times slower. Install nasm (Debian: apt-get \
             install nasm) or point NASM at it; PLENARY_SLOW_CODEC=1 builds without it."
        );
    }
}
