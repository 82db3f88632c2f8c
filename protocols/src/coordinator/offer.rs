//! How an agent says what it does for a coordinator, among the capabilities in its hello.

use std::{fmt, num::NonZeroU32, str::FromStr};

/// How many parts an agent works on at once that does not say it.
pub const SLOTS_DEFAULT: NonZeroU32 = NonZeroU32::new(4).expect("4 is not zero");

/// The most slots that a coordinator believes an agent to have.
pub const SLOTS_MAX: u32 = 1_024;

/// A capability with the number of parts that its agent works on at once: `pattern-matcher:8` in
/// the text of a hello, or `pattern-matcher` alone for [`SLOTS_DEFAULT`] of them.
///
/// An agent should offer a slot or two more than it has threads for the work, so that a thread
/// need not wait for the network before it gets its next part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the agent can do: a word without a colon.
    pub capability: String,
    /// How many parts it works on at once.
    pub slots: NonZeroU32,
}

/// Why a text is no offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no offer: a word, or a word, a colon and 1 to {SLOTS_MAX} are expected")]
pub struct InvalidOffer {
    /// The text as given, cut off after 80 characters.
    pub text: String,
}

impl FromStr for Offer {
    type Err = InvalidOffer;

    fn from_str(text: &str) -> Result<Self, InvalidOffer> {
        let (capability, slots) = match text.split_once(':') {
            None => (text, Some(SLOTS_DEFAULT)),
            Some((word, slots)) => {
                (word, slots.parse().ok().filter(|slots: &NonZeroU32| slots.get() <= SLOTS_MAX))
            }
        };
        let slots = slots.filter(|_| !capability.is_empty());
        slots
            .map(|slots| Self { capability: capability.to_owned(), slots })
            .ok_or_else(|| InvalidOffer { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.capability, self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_a_word_and_a_bounded_number() {
        let offer = |slots: NonZeroU32| Offer { capability: "pattern-matcher".into(), slots };
        let eight = offer(NonZeroU32::new(8).unwrap());
        assert_eq!(eight.to_string(), "pattern-matcher:8");
        assert_eq!("pattern-matcher:8".parse(), Ok(eight));
        assert_eq!("pattern-matcher".parse(), Ok(offer(SLOTS_DEFAULT)));
        for bad in ["", ":8", "a:", "a:0", "a:-1", "a:1025", "a:8:8", "a: 8"] {
            assert_eq!(bad.parse::<Offer>(), Err(InvalidOffer { text: bad.into() }), "{bad:?} passed");
        }
    }
}
