//! Files with secrets, which only their user may read.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::random_u64;

/// Maximum bytes read of a file: more than any secret has.
const LEN_MAX: u64 = 4096;

/// Reads a file; `None` if there is none. A file that others may read is refused, since its secret is one no more.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| trouble("cannot read", path, error))?,
    };
    let mut text = Zeroizing::new(String::with_capacity(LEN_MAX as usize));
    let read = is_private(&file).and_then(|()| file.take(LEN_MAX).read_to_string(&mut text));
    read.map_err(|error| trouble("cannot read", path, error))?;
    Ok(Some(text))
}

/// Writes a new file; fails if there is one.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), Error> {
    write_new(path, text, 0o600).map_err(|error| trouble("cannot write", path, error))
}

/// Writes a file in place of an existing one: a crash leaves the old file or the new one intact.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    replace_with(path, text, 0o600)
}

/// Does the same for a file beside a secret one, which others may read.
pub(crate) fn replace_public(path: &Path, text: &str) -> Result<(), Error> {
    replace_with(path, text, 0o644)
}

fn replace_with(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    // a link's target is replaced, and neither a device nor a pipe
    let path = &match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let error = io::Error::new(ErrorKind::InvalidInput, "it is no regular file");
            return Err(trouble("cannot write", path, error));
        }
        Ok(_) => fs::canonicalize(path).map_err(|error| trouble("cannot write", path, error))?,
        Err(_) => path.to_owned(),
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{:x}", random_u64()));
    let beside = Path::new(&beside);
    let written = write_new(beside, text, mode).and_then(|()| fs::rename(beside, path));
    written.map_err(|error| {
        // the error that matters is the first one
        let _ = fs::remove_file(beside);
        trouble("cannot write", path, error)
    })
}

/// Takes the lock of a file, which its holder may replace: the lock is a file of its own, whose name ends in `.lock`.
/// It lasts until the returned file is dropped, or its process has ended. `None`: another process has it. On a file
/// system without locks everybody gets it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let locked = options.open(&beside).and_then(|file| match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => Err(error),
        _ => Ok(Some(file)),
    });
    locked.map_err(|error| trouble("cannot lock", Path::new(&beside), error))
}

#[cfg_attr(not(unix), allow(unused_variables, reason = "other systems have no modes"))]
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn is_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let is_read_by_others = metadata.permissions().mode() & 0o077 != 0;
    let open = || io::Error::new(ErrorKind::PermissionDenied, "others may read it (its mode must be 0600)");
    if is_read_by_others { Err(open()) } else { Ok(()) }
}

#[cfg(not(unix))]
fn is_private(_: &File) -> io::Result<()> {
    Ok(())
}

fn trouble(what: &str, path: &Path, error: io::Error) -> Error {
    Error::Io { what: format!("{what} {}", path.display()), error }
}
