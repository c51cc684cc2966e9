//! Reading of files that a user names, which may be anything.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// Returns the text of a file.
///
/// # Errors
/// The file can't be read, holds no UTF-8, or is longer than `len_max` bytes; the rest isn't read.
pub(crate) fn text(file: &Path, len_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(len_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > len_max {
        let why = format!("it has more than {len_max} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_refused_after_so_many_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        std::fs::write(&file, "twelve bytes").unwrap();
        assert_eq!(text(&file, 12).unwrap(), "twelve bytes");
        assert_eq!(text(&file, 11).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(text(Path::new("/dev/zero"), 1000).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
