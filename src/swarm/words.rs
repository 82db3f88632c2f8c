//! What parsers say of configuration and task files, in words for those who write such files.

/// Phrases of parsers, and what they mean; a message begins with one of them.
const PHRASES: &[(&str, &str)] = &[
    ("EOF while parsing", "the file ends too early: a bracket or a quotation mark is not closed"),
    ("trailing characters", "expected the end of the file, found more"),
    ("trailing comma", "a comma after the last entry, remove it"),
    ("key must be a string", "expected a key in double quotes"),
    ("expected ident", "expected a value: a text in double quotes, a number, a list or an object"),
    ("expected value", "expected a value: a text in double quotes, a number, a list or an object"),
    ("expected `,` or `}`", "expected a comma and the next key, or `}`"),
    ("expected `,` or `]`", "expected a comma and the next entry, or `]`"),
    ("expected `:`", "expected a colon between key and value"),
    ("number out of range", "the number is too large"),
    ("invalid number", "expected a number such as 1.5"),
    ("invalid boolean", "expected a value: a text in quotes, a number, true, false, a list or a table"),
    ("invalid escape", "expected a backslash only before one of \" \\ / b f n r t u"),
    (
        "control character",
        "a line end or another control character in a text, expected an escape such as \\n",
    ),
    ("lone leading surrogate", "half of a character in a text, expected two \\u escapes"),
    ("unexpected end of hex escape", "half of a character in a text, expected two \\u escapes"),
    ("recursion limit", "too many brackets within brackets"),
    ("cannot recurse further", "too many brackets within brackets"),
    ("key with no value", "expected `=` and a value after the key"),
    ("invalid key-value pair", "expected a line KEY = VALUE"),
    ("unquoted keys cannot be empty", "expected the name of a key"),
    ("invalid unquoted key", "expected a key of letters, digits, `-` and `_`"),
    ("wanted string or table", "expected a word in quotes"),
    ("expected table, found", "expected a word in quotes"),
    (
        "string values must be quoted",
        "expected a value: a text in quotes, a number, true, false, a list or a table",
    ),
    ("invalid basic string", "expected a text that ends on its line, without control characters"),
    ("invalid literal string", "expected a text that ends on its line, without control characters"),
    ("missing escaped value", "expected a backslash only before one of \" \\ b e f n r t u x"),
    ("`_` may only go between digits", "expected a digit after `_` in a number"),
    ("unexpected key or value", "expected the end of the line"),
    (
        "carriage return must be",
        "a carriage return without a line feed, expected lines that end in LF or CRLF",
    ),
];

/// How long a number is shown as it is.
const NUMBER_CHARS_MAX: usize = 24;

/// What TOML calls keys with their values.
pub(super) const TABLE: &str = "a table";

/// A message of a parser; others stay as they are. `keys` is what the format calls keys with their values.
pub(super) fn plain(message: &str, keys: &str) -> String {
    if let Some((_, words)) = PHRASES.iter().find(|(phrase, _)| message.starts_with(phrase)) {
        return (*words).to_owned();
    }
    if message.is_empty() {
        return "cannot be read".to_owned();
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return format!("unknown word {rest}");
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return format!("unknown key {rest}");
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("{key} is missing");
    }
    let typed = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = typed.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("expected {}, found {}", expectation(expected, keys), finding(found, keys));
    }
    let length = message.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "));
    match length {
        Some((length, expected)) => {
            format!("expected {}, found a list of {length}", expectation(expected, keys))
        }
        None => message.to_owned(),
    }
}

fn expectation<'a>(expected: &'a str, keys: &'a str) -> &'a str {
    match expected {
        "a string" => "a text in quotes",
        "path string" => "a path in quotes",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "a map" => keys,
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" | "a JSON number" => "a number",
        other if other.starts_with("struct ") || other.starts_with("tuple struct ") => keys,
        other if other.starts_with("enum ") || other.starts_with("string or ") => "a word in quotes",
        other => other,
    }
}

fn finding(found: &str, keys: &str) -> String {
    let number = found.strip_prefix("integer `").or(found.strip_prefix("floating point `"));
    if let Some((number, _)) = number.and_then(|rest| rest.split_once('`')) {
        // The parser writes all digits of one, up to 309 before its point.
        let shown = number.parse::<f64>().ok().filter(|_| number.len() > NUMBER_CHARS_MAX);
        return shown.map_or_else(|| format!("the number {number}"), |value| format!("the number {value:?}"));
    }
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    if let Some(word) = found.strip_prefix("boolean `") {
        return word.trim_end_matches('`').to_owned();
    }
    match found {
        "sequence" => "a list".to_owned(),
        // A date in TOML is read as one.
        "map" if keys == TABLE => format!("{keys} or a date without quotes"),
        "map" => keys.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f14_types_of_the_parser_get_the_words_of_the_file() {
        for (message, expected) in [
            ("invalid type: integer `5`, expected a string", "expected a text in quotes, found the number 5"),
            (
                &format!("invalid type: floating point `-{}.0`, expected u64", 1e300),
                "expected a whole number from 0 on, found the number -1e300",
            ),
            (
                "invalid type: floating point `0.5`, expected i64",
                "expected a whole number, found the number 0.5",
            ),
            (
                "invalid type: integer `99999999999999999999` as i128, expected i64",
                "expected a whole number, found the number 99999999999999999999",
            ),
            (
                "invalid value: integer `-1`, expected u8",
                "expected a whole number from 0 on, found the number -1",
            ),
            (
                "invalid type: string \"a, expected b\", expected a sequence",
                "expected a list, found the text \"a, expected b\"",
            ),
            ("invalid type: boolean `true`, expected struct Raw", "expected a table, found true"),
            ("invalid type: sequence, expected f64", "expected a number, found a list"),
            ("invalid length 1, expected struct Raw with 2 elements", "expected a table, found a list of 1"),
            ("unknown variant `agnet`, expected one of `a`", "unknown word `agnet`, expected one of `a`"),
            ("two symbols are called SPY", "two symbols are called SPY"),
        ] {
            assert_eq!(plain(message, TABLE), expected);
        }
    }
}
