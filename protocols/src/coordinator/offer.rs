//! How an agent says, among the capabilities in its hello, how much it does at once for a coordinator.

use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32, str::FromStr};

/// The word before the colon.
const WORD: &str = "slots";

/// How many parts an agent works on at once, and how many more it has room for: the capability `slots:8+1` in the text of
/// a hello, `slots:8` where there is no such room. What it can do is what it exposes. An agent that does not say it has the
/// [default](Self::default).
///
/// An agent should have room for a part or two more than it works on, so that a thread need not wait for the network before
/// it gets its next one. It begins parts in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(NonZeroU32, u32)", into = "(NonZeroU32, u32)")]
pub struct Slots {
    at_once: NonZeroU32,
    ahead: u32,
}

/// Why numbers or a text are no number of slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an offer of slots; expected {WORD}:N or {WORD}:N+M, 1 to {} together", Slots::MAX)]
pub struct InvalidSlots {
    /// The text as given, cut off after 80 characters.
    pub text: String,
}

impl Slots {
    /// The most slots that a coordinator believes an agent to have.
    pub const MAX: u32 = 1_024;

    /// For so many parts at once, and `ahead` more that wait.
    pub fn new(at_once: NonZeroU32, ahead: u32) -> Result<Self, InvalidSlots> {
        let slots = Self { at_once, ahead };
        let is_valid = at_once.checked_add(ahead).is_some_and(|all| all.get() <= Self::MAX);
        if is_valid { Ok(slots) } else { Err(InvalidSlots { text: slots.to_string() }) }
    }

    /// What an agent offers with these capabilities; the default where none of them says it.
    pub fn offered<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidSlots> {
        let is_offer = |text: &&str| text.split(':').next() == Some(WORD);
        capabilities.into_iter().find(is_offer).map_or(Ok(Self::default()), str::parse)
    }

    /// How many parts it works on at once.
    pub fn at_once(self) -> NonZeroU32 {
        self.at_once
    }

    /// How many parts it may be given before it has answered one.
    pub fn all(self) -> NonZeroU32 {
        self.at_once.saturating_add(self.ahead)
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self { at_once: NonZeroU32::new(4).expect("4 is not zero"), ahead: 0 }
    }
}

impl TryFrom<(NonZeroU32, u32)> for Slots {
    type Error = InvalidSlots;
    fn try_from((at_once, ahead): (NonZeroU32, u32)) -> Result<Self, InvalidSlots> {
        Self::new(at_once, ahead)
    }
}

impl From<Slots> for (NonZeroU32, u32) {
    fn from(Slots { at_once, ahead }: Slots) -> Self {
        (at_once, ahead)
    }
}

impl FromStr for Slots {
    type Err = InvalidSlots;
    fn from_str(text: &str) -> Result<Self, InvalidSlots> {
        let invalid = || InvalidSlots { text: text.chars().take(80).collect() };
        let number = |text: &str| match text.starts_with('+') {
            true => Err(invalid()),
            false => text.parse::<u32>().map_err(|_| invalid()),
        };
        let numbers = text.strip_prefix(WORD).and_then(|rest| rest.strip_prefix(':')).ok_or_else(invalid)?;
        let (at_once, ahead) = match numbers.split_once('+') {
            Some((at_once, ahead)) => (at_once, number(ahead)?),
            None => (numbers, 0),
        };
        let at_once = NonZeroU32::new(number(at_once)?).ok_or_else(invalid)?;
        Self::new(at_once, ahead).map_err(|_| invalid())
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ahead {
            0 => write!(f, "{WORD}:{}", self.at_once),
            ahead => write!(f, "{WORD}:{}+{ahead}", self.at_once),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    fn slots(at_once: u32, ahead: u32) -> Slots {
        Slots::new(NonZeroU32::new(at_once).unwrap(), ahead).unwrap()
    }

    #[test]
    fn an_offer_is_a_bounded_number_of_slots() {
        for (text, expected) in
            [("slots:8", slots(8, 0)), ("slots:8+2", slots(8, 2)), ("slots:1023+1", slots(1_023, 1))]
        {
            assert_eq!((expected.to_string().as_str(), text.parse()), (text, Ok(expected)));
            assert_eq!(codec::decode(&codec::encode(&expected).unwrap()), Ok(expected));
        }
        assert_eq!(slots(8, 2).all().get(), 10);
        let wrong = [
            "",
            "slots",
            "slots:",
            "slots:0",
            "slots:-1",
            "slots:1025",
            "slots:8:8",
            "slots: 8",
            "seats:8",
            "slots:0+1",
            "slots:1024+1",
            "slots:1+4294967295",
            "slots:1+",
            "slots:1+-1",
            "slots:1+1+1",
            "slots:8++1",
            "slots:+8",
        ];
        for bad in wrong {
            assert_eq!(bad.parse::<Slots>(), Err(InvalidSlots { text: bad.into() }), "{bad:?} passed");
        }
        assert_eq!(
            "slots:0".parse::<Slots>().unwrap_err().to_string(),
            "\"slots:0\" is not an offer of slots; expected slots:N or slots:N+M, 1 to 1024 together"
        );
        assert!(codec::decode::<Slots>(&codec::encode(&(NonZeroU32::MIN, Slots::MAX)).unwrap()).is_err());
    }

    #[test]
    fn an_agent_offers_what_it_says_or_the_default() {
        assert_eq!(Slots::offered(["gpu", "slots:2"]), Ok("slots:2".parse().unwrap()));
        assert_eq!(Slots::offered(["gpu", "slotsmith:3"]), Ok(Slots::default()));
        assert!(Slots::offered(["slots:many"]).is_err(), "what it says wrong is not taken for silence");
    }
}
