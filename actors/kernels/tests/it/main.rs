//! Every kernel against an oracle that applies its definition without any cleverness.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bars;
mod cancelled;
mod classify;
mod clustering;
mod correlation;
mod dtw;
mod lcss;
mod lower_bound;
mod many;
mod oracle;
mod pairs;
mod search;
mod stream;
