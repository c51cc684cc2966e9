//! What the program says to a person, on stderr. Text that can't be written is lost, and nothing else: the reader of
//! stderr (a terminal, a log collector) may go away at any time, and the room goes on.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writer to stderr whose failures lose what was to be written.
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

/// Writes text in one piece, so that lines of several threads don't mix.
pub(crate) fn write(text: Arguments<'_>) {
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
