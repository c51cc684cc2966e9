//! Invites and passwords: as an argument, a line of standard input (`-`), a file (`@FILE`), an environment variable, or
//! typed at a prompt. Every user of a machine may read the arguments of its processes; the other ways hide the secret.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::os::fd::AsRawFd as _;

use anyhow::Context as _;
use plenary::{Invite, Password};

use crate::{Failure, usage};

/// Environment variables for secrets that are not given as arguments.
const INVITE_VARIABLE: &str = "PLENARY_INVITE";
const PASSWORD_VARIABLE: &str = "PLENARY_PASSWORD";
const TURN_VARIABLE: &str = "PLENARY_TURN_SECRET";
/// Maximum bytes of a secret's line: an invite has up to 2.6 kB.
const LINE_MAX: u64 = 4096;

/// Returns the invite to a room. To be called before [`password`]: of two lines of standard input, the invite's comes
/// first.
pub(crate) fn invite(typed: Option<&str>) -> Result<Invite, Failure> {
    match given(typed, INVITE_VARIABLE)? {
        Some(text) => Ok(text.parse()?),
        None if io::stdin().is_terminal() => Ok(line_of_stdin("Invite: ", true)?.parse()?),
        None => Err(usage(format!(
            "no invite: give it as an argument, @FILE, - for standard input, or in {INVITE_VARIABLE}"
        ))),
    }
}

/// Returns the invite to a room, if the user gives one.
pub(crate) fn maybe_invite(typed: Option<&str>) -> Result<Option<Invite>, Failure> {
    Ok(given(typed, INVITE_VARIABLE)?.map(|text| text.parse()).transpose()?)
}

/// Returns the password, if one is given; asks for a password that is `needed` at the prompt.
pub(crate) fn password(typed: Option<&str>, needed: bool) -> Result<Option<Password>, Failure> {
    Ok(password_text(typed, needed)?.map(Password::from))
}

/// Returns the password as [`password`] does, to hand it to another process.
pub(crate) fn password_text(typed: Option<&str>, needed: bool) -> Result<Option<String>, Failure> {
    let text = match given(typed, PASSWORD_VARIABLE)? {
        None if needed && io::stdin().is_terminal() => Some(line_of_stdin("Password: ", false)?),
        text => text,
    };
    match text {
        Some(text) if text.is_empty() => Err(usage("the password is empty")),
        text => Ok(text),
    }
}

/// Returns the password at TURN servers.
pub(crate) fn turn(typed: Option<&str>) -> Result<String, Failure> {
    let missing =
        || usage(format!("no password for --turn: give it by --turn-secret, or in {TURN_VARIABLE}"));
    given(typed, TURN_VARIABLE)?.ok_or_else(missing)
}

/// Returns a secret as the user gives it, without asking.
fn given(typed: Option<&str>, variable: &str) -> Result<Option<String>, Failure> {
    match typed {
        Some("-") => line_of_stdin("", true).map(Some),
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                let opened = File::open(file).with_context(|| format!("cannot read {file}"))?;
                Ok(Some(
                    first_line(io::BufReader::new(opened)).with_context(|| format!("cannot read {file}"))?,
                ))
            }
            None => Ok(Some(text.to_owned())),
        },
        // the text of a variable that isn't UTF-8 is not shown
        None => match std::env::var(variable) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(text)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(_) => Err(usage(format!("{variable} is no text"))),
        },
    }
}

/// Reads a line of standard input; on a terminal after a prompt, and without showing what is typed unless `shown`.
fn line_of_stdin(prompt: &str, shown: bool) -> Result<String, Failure> {
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        say_text!("{prompt}");
    }
    let hidden = if is_terminal && !shown { Hidden::begin() } else { None };
    let line = first_line(io::stdin().lock());
    drop(hidden);
    Ok(line.context("standard input has no such line")?)
}

/// Reads a line, which must have an end within [`LINE_MAX`] bytes or be the last one.
fn first_line(reader: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    let mut reader = reader.take(LINE_MAX);
    if reader.read_line(&mut line)? == 0 || reader.limit() == 0 && !line.ends_with('\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(libc::termios);

impl Hidden {
    /// Returns `None` if the terminal can't be told.
    fn begin() -> Option<Hidden> {
        let fd = io::stdin().as_raw_fd();
        // SAFETY: `termios` is plain data, for which all zeros is a value
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open as long as the process, and `before` is a local variable
        if unsafe { libc::tcgetattr(fd, &mut before) } != 0 {
            return None;
        }
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        // SAFETY: as above; the call only reads `silent`
        let set = unsafe { libc::tcsetattr(fd, libc::TCSAFLUSH, &silent) };
        (set == 0).then_some(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open as long as the process, and the call only reads the settings
        unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSAFLUSH, &self.0) };
        say!(""); // the line end that was typed was not shown either
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends_and_an_endless_one_is_refused() {
        assert_eq!(first_line(&b"swordfish\r\nnext"[..]).unwrap(), "swordfish");
        assert_eq!(first_line(&b"swordfish"[..]).unwrap(), "swordfish");
        assert_eq!(first_line(&b"\n"[..]).unwrap(), "");
        assert!(first_line(&b""[..]).is_err());
        assert!(first_line(&[b'a'; LINE_MAX as usize + 1][..]).is_err());
    }

    #[test]
    fn what_is_in_a_file_is_not_taken_for_the_secret_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "swordfish\n").unwrap();
        let given = |typed: &str| given(Some(typed), "PLENARY_NO_SUCH_VARIABLE");
        assert_eq!(given(&format!("@{}", file.display())).unwrap().as_deref(), Some("swordfish"));
        assert_eq!(given("tulip").unwrap().as_deref(), Some("tulip"));
        let Err(Failure::Failed(error)) = given("@/nowhere/at") else { panic!("there is no such file") };
        assert!(error.to_string().contains("/nowhere/at"), "{error}");
    }
}
