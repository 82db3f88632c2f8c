//! What a person sees on stderr while a swarm works.
//!
//! Not with `indicatif`: it writes to the terminal on the thread that calls it, which may have to wait, shows nothing
//! where there is no terminal, and needs more code to be led through [`stderr`] than the one line that is drawn here.

use std::fmt::Display;
use std::io::{self, IsTerminal};

use swarm_protocols::coordinator::Progress as Parts;

use crate::stderr;

/// Begins a line anew on a terminal, whatever stands there.
pub(crate) const CLEAR_LINE: &str = "\r\x1b[2K";

/// Prints a line, on a terminal in place of a progress line that may stand there.
pub(crate) fn say(line: impl Display) {
    let clear = if io::stderr().is_terminal() { CLEAR_LINE } else { "" };
    stderr::write(format!("{clear}{line}\n").as_bytes());
}

/// Shows how far a swarm is: one line that changes on a terminal, otherwise a line for each stage.
#[derive(Debug)]
pub(crate) struct Progress {
    form: Form,
    /// Tenths of a job that have been told of.
    tenths: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Silent,
    Lines,
    ChangingLine,
}

impl Progress {
    /// Shows progress on stderr.
    pub(crate) fn shown() -> Self {
        let form = if io::stderr().is_terminal() { Form::ChangingLine } else { Form::Lines };
        Self { form, tenths: None }
    }

    /// Shows nothing: a program reads the outcome.
    pub(crate) fn silent() -> Self {
        Self { form: Form::Silent, tenths: None }
    }

    /// Shows a changing line on a terminal, and nothing elsewhere.
    pub(crate) fn on_terminal() -> Self {
        if io::stderr().is_terminal() { Self::shown() } else { Self::silent() }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.form != Form::Silent
    }

    /// A new stage begins.
    pub(crate) fn stage(&mut self, text: impl Display) {
        self.tenths = None;
        match self.form {
            Form::Silent => {}
            Form::Lines => say(text),
            Form::ChangingLine => draw(text),
        }
    }

    /// How far the job `name` is.
    pub(crate) fn parts(&mut self, name: impl Display, parts: Parts) {
        let Parts { done, assigned, total } = parts;
        let text = format!("{name}: {done} of {total} parts done, {assigned} in work");
        match self.form {
            Form::Silent => {}
            Form::ChangingLine => draw(text),
            Form::Lines => {
                let tenths = (u64::from(done) * 10).checked_div(u64::from(total)).map(|tenths| tenths as u32);
                if tenths > self.tenths {
                    self.tenths = tenths;
                    say(text);
                }
            }
        }
    }

    /// Takes the changing line away, for what comes next.
    pub(crate) fn clear(&mut self) {
        if self.form == Form::ChangingLine {
            draw("");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn draw(text: impl Display) {
    stderr::write(in_place(text).as_bytes());
}

/// A text in place of the line that the cursor is in. It is cut at the edge of the terminal: of one that ran on in the
/// next line the beginning would stay for ever.
fn in_place(text: impl Display) -> String {
    format!("{CLEAR_LINE}\x1b[?7l{text}\x1b[?7h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changing_line_is_never_wrapped_and_leaves_wrapping_on() {
        assert_eq!(in_place("searching: 5 %"), "\r\u{1b}[2K\u{1b}[?7lsearching: 5 %\u{1b}[?7h");
    }
}
