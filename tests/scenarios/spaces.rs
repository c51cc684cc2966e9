//! Network namespaces of a scenario's own, for what `netlab` doesn't emulate: a router's daemon, IPv6.

use std::process::Command;

use libtest_mimic::Failed;

/// Namespaces that end with the value.
pub(crate) struct Spaces<const N: usize>(pub(crate) [String; N]);

impl<const N: usize> Spaces<N> {
    pub(crate) fn new(names: [&str; N]) -> Result<Spaces<N>, Failed> {
        let spaces = Spaces(names.map(|name| format!("plenary-{}-{name}", std::process::id())));
        for name in &spaces.0 {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        Ok(spaces)
    }
}

impl<const N: usize> Drop for Spaces<N> {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| _ = ip(&format!("netns del {name}")));
    }
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) -> Result<(), Failed> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
