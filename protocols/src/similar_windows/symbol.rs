//! The name of a series.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest symbol, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 24;

/// What a series is called at its exchange: `SPY`, `BRK.B`.
///
/// It never holds a slash and never begins with a dot, so it may become part of a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Symbol(String);

/// Why a text is no symbol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no symbol: {SYMBOL_BYTES_MAX} or fewer capital letters, digits, dots and hyphens are expected, \
     with a letter or a digit at the beginning"
)]
pub struct InvalidSymbol(pub String);

impl Symbol {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Symbol {
    type Error = InvalidSymbol;

    fn try_from(text: String) -> Result<Self, InvalidSymbol> {
        let alphanumeric = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.first().is_some_and(alphanumeric)
            && bytes.len() <= SYMBOL_BYTES_MAX
            && bytes.iter().all(|byte| alphanumeric(byte) || matches!(byte, b'.' | b'-'));
        if valid { Ok(Self(text)) } else { Err(InvalidSymbol(text.chars().take(40).collect())) }
    }
}

impl FromStr for Symbol {
    type Err = InvalidSymbol;
    fn from_str(text: &str) -> Result<Self, InvalidSymbol> {
        text.to_owned().try_into()
    }
}

impl From<Symbol> for String {
    fn from(symbol: Symbol) -> String {
        symbol.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_cannot_lead_out_of_a_folder() {
        for good in ["SPY", "A", "BRK.B", "BF-B", "600519", &"X".repeat(24)] {
            assert_eq!(good.parse::<Symbol>().unwrap().as_str(), good);
        }
        for bad in ["", "spy", "../SPY", ".A", "A/B", "A B", "Ä", "A\0", &"X".repeat(25)] {
            assert!(bad.parse::<Symbol>().is_err(), "{bad:?} passed");
        }
    }
}
