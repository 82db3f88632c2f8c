//! What can go wrong between a caller and a handler, and what is then known.

use std::time::Duration;
use unicode_width::UnicodeWidthChar as _;

/// What is known about a request that brought no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The handler has not seen it and never will: it may be repeated freely.
    NotSent,
    /// It may or may not have been handled: only an idempotent request may be repeated.
    Unknown,
    /// The handler began to work on it.
    Delivered,
}

/// A text that a peer or a file wrote, fit for a log or a terminal: at most 300 characters, none of which moves the
/// cursor, turns the direction of reading or cannot be seen, and few of which stand on one another.
pub fn printable(text: &str) -> String {
    unstacked(text.chars().map(visible)).take(300).collect()
}

/// How many marks a character may carry. Vietnamese writes two, Hebrew and Tibetan with all their signs four.
const MARKS_MAX: usize = 4;

/// The same without the combining marks that would stand on too many others, and so on the lines above and below.
pub fn unstacked(text: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let mut marks = 0;
    text.filter(move |c| {
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        marks <= MARKS_MAX
    })
}

/// The character, or a replacement for one that moves the cursor, breaks the line, turns the direction of reading, or
/// has no shape (so that two names could look the same).
pub fn visible(c: char) -> char {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    let shapeless = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe;
    if c.is_control() || turns || breaks || shapeless { char::REPLACEMENT_CHARACTER } else { c }
}

/// What can be said of a mailbox that does not accept the version `wanted` of a request.
pub fn acceptance(request: &str, wanted: u16, offered: Option<u16>) -> String {
    match offered {
        Some(offered) => format!("accepts `{request}` version {offered}, not {wanted}"),
        None => format!("does not accept `{request}`"),
    }
}

/// Why a request brought no answer of its handler.
///
/// The handler's own errors are [`Request::Error`](crate::Request::Error) and stay apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The peer exposes no such mailbox, or no longer.
    #[error("{what} is not exposed there")]
    NotExposed {
        /// The mailbox.
        what: String,
    },
    /// The peer does not accept this request, or not in this version.
    #[error("the peer {}", acceptance(request, *wanted, *offered))]
    Incompatible {
        /// The name of the request.
        request: String,
        /// The version that was asked.
        wanted: u16,
        /// The highest version there, if there is one.
        offered: Option<u16>,
    },
    /// The peer does not let this node's role call the mailbox.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// Which role lacks which permission.
        reason: String,
    },
    /// A bound on requests in flight was reached.
    #[error("overloaded, try again in {retry_after:?}")]
    Overloaded {
        /// When another attempt makes sense.
        retry_after: Duration,
    },
    /// The message is longer than the other side accepts.
    #[error("a message of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The longest one accepted.
        limit: u64,
    },
    /// The request or the answer could not be encoded or decoded.
    #[error("{reason}")]
    Codec {
        /// What did not fit which type.
        reason: String,
        /// Whether the handler had done its work when that came out.
        delivery: Delivery,
    },
    /// The node finishes what it has and takes nothing new.
    #[error("the node is draining")]
    Draining,
    /// The actor behind the mailbox stopped.
    #[error("the actor stopped before it answered")]
    Stopped,
    /// The actor panicked, over this request or, where it is reached through its address, over one before it.
    #[error("the actor panicked")]
    Panicked,
    /// The request was cancelled by its caller.
    #[error("cancelled by the caller")]
    Cancelled,
    /// No answer came in time.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The time the caller gave.
        after: Duration,
        /// What is known of the request.
        delivery: Delivery,
    },
    /// The session with the peer ended.
    #[error("the session ended: {reason}")]
    SessionLost {
        /// Why it ended.
        reason: String,
        /// What is known of the request.
        delivery: Delivery,
    },
}

impl DeliveryError {
    /// What is known about the request.
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::NotExposed { .. }
            | Self::Incompatible { .. }
            | Self::NotPermitted { .. }
            | Self::Overloaded { .. }
            | Self::TooLarge { .. }
            | Self::Draining => Delivery::NotSent,
            Self::Stopped | Self::Panicked | Self::Cancelled => Delivery::Unknown,
            Self::Codec { delivery, .. }
            | Self::TimedOut { delivery, .. }
            | Self::SessionLost { delivery, .. } => *delivery,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_moves_no_cursor_and_turns_no_text() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{202e}c\u{2067}é"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}é");
        assert_eq!(printable(&"x".repeat(400)).len(), 300);
    }

    #[test]
    fn a10_what_breaks_a_line_or_cannot_be_seen_is_replaced() {
        for c in
            "\u{2028}\u{2029}\u{200b}\u{200d}\u{feff}\u{ad}\u{180e}\u{e0041}\u{3164}\u{115f}\u{ffff}\u{1fffe}"
                .chars()
        {
            assert_eq!(visible(c), char::REPLACEMENT_CHARACTER, "{c:?}");
        }
        assert_eq!(printable("añ漢 e\u{301}🦀"), "añ漢 e\u{301}🦀");
    }

    #[test]
    fn a10_marks_do_not_pile_up_over_the_lines_beside_theirs() {
        let piled = format!("a{}b{}c", "\u{301}".repeat(40), "\u{e49}\u{20dd}\u{5b4}".repeat(9));
        assert_eq!(printable(&piled), "a\u{301}\u{301}\u{301}\u{301}b\u{e49}\u{20dd}\u{5b4}\u{e49}c");
        assert_eq!(printable("e\u{302}\u{301}e\u{323}\u{302}"), "e\u{302}\u{301}e\u{323}\u{302}");
    }
}
