//! Whole numbers of the command line, and what is said of a text that is none.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;

pub(super) fn whole(argument: &str) -> Result<usize, String> {
    argument.parse().map_err(|_| "expected a whole number from 0 on".to_owned())
}

pub(super) fn at_least_one(argument: &str) -> Result<NonZeroUsize, String> {
    argument.parse().map_err(|_| "expected a whole number from 1 on".to_owned())
}

/// A whole number in a range.
pub(super) fn within<T: FromStr + PartialOrd + Display + Clone>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |argument| {
        let number = argument.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A number below 0 after an option is its value, which it may refuse, and no option of its own.
pub(super) fn negative_ones_are_values(command: clap::Command) -> clap::Command {
    let with_values = |arg: clap::Arg| {
        let takes_values = !arg.is_positional() && arg.get_action().takes_values();
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    command.mut_args(with_values).mut_subcommands(negative_ones_are_values)
}
