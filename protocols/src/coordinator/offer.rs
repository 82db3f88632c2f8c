//! How an agent says, among the capabilities in its hello, how much it does at once for a coordinator.

use std::{fmt, num::NonZeroU32, str::FromStr};

/// The word before the colon.
const WORD: &str = "slots";

/// How many parts an agent works on at once: the capability `slots:8` in the text of a hello. What it can do is what
/// it exposes. An agent that does not say it has the [default](Self::default).
///
/// An agent should offer a slot or two more than it has threads for the work, so that a thread
/// need not wait for the network before it gets its next part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots(NonZeroU32);

/// Why a number or a text is no number of slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no offer of slots: {WORD}: and 1 to {} are expected", Slots::MAX)]
pub struct InvalidSlots {
    /// The text as given, cut off after 80 characters.
    pub text: String,
}

impl Slots {
    /// The most slots that a coordinator believes an agent to have.
    pub const MAX: u32 = 1_024;

    /// What an agent offers with these capabilities; the default where none of them says it.
    pub fn offered<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidSlots> {
        let is_offer = |text: &&str| text.split(':').next() == Some(WORD);
        capabilities.into_iter().find(is_offer).map_or(Ok(Self::default()), str::parse)
    }

    /// The number.
    pub fn get(self) -> NonZeroU32 {
        self.0
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self(NonZeroU32::new(4).expect("4 is not zero"))
    }
}

impl TryFrom<NonZeroU32> for Slots {
    type Error = InvalidSlots;
    fn try_from(slots: NonZeroU32) -> Result<Self, InvalidSlots> {
        if slots.get() <= Self::MAX { Ok(Self(slots)) } else { Err(InvalidSlots { text: slots.to_string() }) }
    }
}

impl FromStr for Slots {
    type Err = InvalidSlots;
    fn from_str(text: &str) -> Result<Self, InvalidSlots> {
        let number = text.strip_prefix(WORD).and_then(|rest| rest.strip_prefix(':'));
        let slots = number.and_then(|number| Self::try_from(number.parse::<NonZeroU32>().ok()?).ok());
        slots.ok_or_else(|| InvalidSlots { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD}:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_a_bounded_number_of_slots() {
        let eight = Slots::try_from(NonZeroU32::new(8).unwrap()).unwrap();
        assert_eq!((eight.to_string().as_str(), "slots:8".parse()), ("slots:8", Ok(eight)));
        assert_eq!("slots:1024".parse::<Slots>().unwrap().get().get(), Slots::MAX);
        for bad in
            ["", "slots", "slots:", "slots:0", "slots:-1", "slots:1025", "slots:8:8", "slots: 8", "seats:8"]
        {
            assert_eq!(bad.parse::<Slots>(), Err(InvalidSlots { text: bad.into() }), "{bad:?} passed");
        }
        assert_eq!(
            "slots:0".parse::<Slots>().unwrap_err().to_string(),
            "\"slots:0\" is no offer of slots: slots: and 1 to 1024 are expected"
        );
    }

    #[test]
    fn an_agent_offers_what_it_says_or_the_default() {
        assert_eq!(Slots::offered(["gpu", "slots:2"]), Ok("slots:2".parse().unwrap()));
        assert_eq!(Slots::offered(["gpu", "slotsmith:3"]), Ok(Slots::default()));
        assert!(Slots::offered(["slots:many"]).is_err(), "what it says wrong is not taken for silence");
    }
}
