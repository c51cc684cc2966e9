//! Result of the first benchmark, kept in a folder per machine and codec, so that a peer claims at once when it starts
//! again.
//!
//! One file holds one line per codec: a hash of codec and processor, both times in microseconds, and when it was
//! measured. A file that is damaged, or that others may read or write, counts as none; the benchmark of the next minute
//! corrects what no longer holds.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plenary_media::CodecBench;

use crate::secret_file;

/// Maximum number of codecs kept, the newest. A guess: codecs and processors of one machine.
const LINES_MAX: usize = 16;
/// Time for which a result counts. A guess: drivers and cooling change.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest time for a picture that is believed.
const PICTURE_US_MAX: u32 = 10_000_000;

/// Place of the result of some codecs.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    file: PathBuf,
    key: String,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    key: String,
    bench: CodecBench,
    unix_s: u64,
}

impl Line {
    fn read(text: &str) -> Option<Line> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        let (key, encode, decode, unix) = (next()?, next()?, next()?, next()?);
        let us = |word: &str| word.parse().ok().filter(|us| (1..=PICTURE_US_MAX).contains(us));
        let is_hash = key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bench = CodecBench { encode_us: us(encode)?, decode_us: us(decode)? };
        (is_hash && next().is_none()).then_some(Line {
            key: key.to_owned(),
            bench,
            unix_s: unix.parse().ok()?,
        })
    }

    fn write(&self) -> String {
        let Line { key, bench: CodecBench { encode_us, decode_us }, unix_s } = self;
        format!("{key} {encode_us} {decode_us} {unix_s}\n")
    }
}

impl Kept {
    pub(super) fn new(folder: &Path, codecs: &str) -> Kept {
        Kept { file: folder.join("codecs"), key: hash(&format!("{codecs}\n{}", processor())) }
    }

    fn lines(&self) -> Vec<Line> {
        let text = secret_file::read(&self.file).ok().flatten();
        text.iter().flat_map(|text| text.lines()).filter_map(Line::read).take(LINES_MAX).collect()
    }

    /// Returns the kept result, if there is one that still counts.
    pub(super) fn read(&self) -> Option<CodecBench> {
        let line = self.lines().into_iter().find(|line| line.key == self.key)?;
        let age_s = unix_s().checked_sub(line.unix_s)?;
        (age_s < AGE_MAX.as_secs()).then_some(line.bench)
    }

    /// Keeps a result, if the folder can be written.
    pub(super) fn write(&self, bench: CodecBench) {
        let own = Line { key: self.key.clone(), bench, unix_s: unix_s() };
        let others = self.lines().into_iter().filter(|line| line.key != self.key);
        let lines: String =
            std::iter::once(own).chain(others).take(LINES_MAX).map(|line| line.write()).collect();
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        if let Err(error) = secret_file::replace(&self.file, &lines) {
            tracing::debug!("the codecs' times are not kept: {error}");
        }
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the model and number of this machine's processors, as far as the system tells.
fn processor() -> String {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open("/proc/cpuinfo");
    // the first processor's part is enough
    let read = file.and_then(|file| file.take(4096).read_to_string(&mut text));
    let model = text.lines().find(|line| line.starts_with("model name")).filter(|_| read.is_ok());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} {count} {}", std::env::consts::ARCH, model.unwrap_or_default())
}

/// Returns the FNV-1a hash of a text in hexadecimal: it tells files' lines apart, and hides nothing.
fn hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_result_is_read_back_and_a_damaged_old_or_open_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Kept::new(folder.path(), "one"), Kept::new(folder.path(), "other"));
        let bench = |encode_us| CodecBench { encode_us, decode_us: 1_500 };
        assert_eq!(one.read(), None);
        one.write(bench(4_000));
        other.write(bench(7_000));
        one.write(bench(5_000));
        assert_eq!((one.read(), other.read()), (Some(bench(5_000)), Some(bench(7_000))));

        let now = unix_s();
        let old = now - AGE_MAX.as_secs();
        let key = &one.key;
        for damaged in [
            format!("{key} 5000 1500"),
            format!("{key} 5000 1500 {now} more"),
            format!("{key} 0 1500 {now}"),
            format!("{key} 99999999 1500 {now}"),
            format!("{key} -5 1500 {now}"),
            format!("{key} 5000 1500 {old}"),
            format!("{key} 5000 1500 {}", now + 3600),
            "\u{0}".repeat(9_000),
        ] {
            secret_file::replace(&one.file, &damaged).unwrap();
            assert_eq!(one.read(), None, "{damaged:.40}");
        }
        std::fs::write(&one.file, [0xff; 100]).unwrap();
        assert_eq!(one.read(), None);
        one.write(bench(6_000));
        assert_eq!(one.read(), Some(bench(6_000)), "it is written anew");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&one.file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(&one.file, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(one.read(), None);
        }
    }
}
