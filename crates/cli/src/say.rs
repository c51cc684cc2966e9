//! What the program says to a person, on stderr. Text that can't be written is lost, and nothing else: the reader of
//! stderr (a terminal, a log collector) may go away at any time, and the room goes on.

use std::fmt::Arguments;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use plenary::Reason;

/// Targets of log lines with events of the room, and with other messages.
pub(crate) const EVENTS: &str = "plenary_cli::event";
pub(crate) const SAID: &str = "plenary_cli::said";

/// Whether messages are written to the log.
static AS_LOG: AtomicBool = AtomicBool::new(false);

/// Writer to stderr: a failed write loses its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().lock().flush();
        Ok(())
    }
}

/// Writes everything to the log from now on, which has been set up.
pub(crate) fn as_log() {
    AS_LOG.store(true, Ordering::Relaxed);
}

/// Reports an event of the room: as a bare line on a terminal, elsewhere in the log, with the code of its reason.
pub(crate) fn event(line: &str, reason: Option<Reason>) {
    if !AS_LOG.load(Ordering::Relaxed) && io::stderr().is_terminal() {
        write(format_args!("{line}\n"));
    } else {
        tracing::info!(target: EVENTS, reason = reason.map(Reason::code), "{line}");
    }
}

/// Says why the command has failed; a log names the code of the reason beside it.
pub(crate) fn failure(line: &str, reason: Option<Reason>) {
    if AS_LOG.load(Ordering::Relaxed) {
        tracing::error!(target: SAID, reason = reason.map(Reason::code), "{line}");
    } else {
        write(format_args!("plenary: {line}\n"));
    }
}

/// Writes text in one piece, so that lines of several threads don't mix.
pub(crate) fn write(text: Arguments<'_>) {
    if AS_LOG.load(Ordering::Relaxed) {
        tracing::info!(target: SAID, "{}", text.to_string().trim_end());
        return;
    }
    let _ = Stderr.write(text.to_string().as_bytes());
}

/// Says a line, formatted as by `format!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Says a text without adding a line end.
macro_rules! say_text {
    ($($text:tt)*) => { $crate::say::write(format_args!($($text)*)) };
}
