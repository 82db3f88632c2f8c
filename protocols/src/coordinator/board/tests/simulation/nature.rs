//! What agents are like.

use super::*;

/// How long an answer is waited for: longer than any honest agent takes.
const ASK_TIMEOUT: Duration = Duration::from_secs(150);

/// A wrong answer.
pub(super) const GARBAGE: u8 = 255;

/// SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(super) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("it is below a usize")
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn seconds(&mut self, from: u64, until: u64) -> Duration {
        Duration::from_millis(1_000 * from + self.below(1_000 * (until - from)))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Nature {
    Honest,
    /// Honest, and often slower than a lease.
    Late,
    Hanging,
    /// Answers what is not so.
    Lying,
    /// Answers with errors.
    Failing,
    Busy,
    Denying,
    Crashing,
    /// Any of the above, anew for each part.
    Moody,
}

pub(super) const NATURES: [Nature; 9] = [
    Nature::Honest,
    Nature::Late,
    Nature::Hanging,
    Nature::Lying,
    Nature::Failing,
    Nature::Busy,
    Nature::Denying,
    Nature::Crashing,
    Nature::Moody,
];

#[derive(Debug)]
pub(super) enum Outcome {
    Answer(u8),
    Failure(Failure),
    Crash,
}

impl Nature {
    /// What becomes of an attempt whose answer is `right`, and after how long.
    pub(super) fn outcome(self, right: u8, dice: &mut Dice) -> (Duration, Outcome) {
        let not_begun = |again| Outcome::Failure(Failure::NotBegun { cause: "no".into(), again });
        let soon = dice.seconds(0, 10);
        match self {
            Nature::Late if dice.chance(40) => (dice.seconds(31, 149), Outcome::Answer(right)),
            Nature::Honest | Nature::Late => (soon, Outcome::Answer(right)),
            Nature::Hanging => (ASK_TIMEOUT, Outcome::Failure(Failure::TimedOut { after: ASK_TIMEOUT })),
            Nature::Lying => (soon, Outcome::Answer(GARBAGE)),
            Nature::Failing => (soon, Outcome::Failure(wrong())),
            Nature::Busy => (Duration::ZERO, not_begun(Some(dice.seconds(0, 3)))),
            Nature::Denying => (Duration::ZERO, not_begun(None)),
            Nature::Crashing => (soon, Outcome::Crash),
            Nature::Moody => NATURES[dice.index(8)].outcome(right, dice),
        }
    }
}
