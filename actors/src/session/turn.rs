//! Turns: how much is done in one go of what has come together.
//!
//! QUIC hands over what has come, and takes what is to go, in turns with everything else on its thread. Whoever takes a
//! thousand messages in one go has their consequences sent in one go, and then waits for the peer, which does the same:
//! one of the two is always idle. In shares the first are on their way while the next are worked on.

/// The share of what is there that is taken in one turn: both ends and the way between them have work then.
const SHARE: usize = 3;

/// A turn costs two system calls and up to two packets, which less than this does not pay for.
const MIN: usize = 16;

/// Other tasks of the thread do not wait for more.
const MAX: usize = 256;

/// How many messages are taken before others have their turn, where so many are on one way, and so `many` others not.
pub(crate) fn turn_of(together: usize, others: usize) -> usize {
    (together / SHARE + others).clamp(MIN, MAX)
}
