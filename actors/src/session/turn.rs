//! Turns: how much is done in one go of what has come together.
//!
//! QUIC hands over what has come, and takes what is to go, in turns with everything else on its thread. Whoever takes a
//! thousand messages in one go has their consequences sent in one go, and then waits for the peer, which does the same:
//! one of the two is always idle. In shares the first are on their way while the next are worked on.

/// In how many turns what is there is taken: both ends and the way between them have work then.
const TURNS: usize = 3;

/// A turn costs two system calls and up to two packets, which less than this does not pay for.
const TURN_MIN: usize = 16;

/// Other tasks of the thread do not wait for more, unless the actor spawns into its context: actix polls that again at
/// once.
const TURN_MAX: usize = 256;

/// Where there is as much as this, more changes nothing.
pub(crate) const COUNTED_MAX: usize = TURNS * TURN_MAX;

/// How many messages are taken in one turn where so many have a way back `together`, and `others` each its own.
pub(crate) fn turn_of(together: usize, others: usize) -> usize {
    (together / TURNS + others).clamp(TURN_MIN, TURN_MAX)
}
