//! The outcome of the job `similar-windows` for people.

use std::fmt::{self, Display, Formatter};
use std::io::IsTerminal;

use swarm_protocols::similar_windows::{Distribution, Match, SimilarToQuery, SimilarWindows, WindowRule};

use crate::plot::count;

/// So many of a thing.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Whether the text may hold colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Plain,
    /// ANSI escape sequences.
    Ansi,
}

impl Colour {
    /// Colours on a terminal, unless the environment asks for none (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// The same for stderr.
    pub(crate) fn of_stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stream.is_terminal() && !refused { Colour::Ansi } else { Colour::Plain }
    }

    pub(crate) fn paint(self, style: &'static str, text: String) -> String {
        match self {
            Colour::Plain => text,
            Colour::Ansi => format!("\x1b[{style}m{text}\x1b[0m"),
        }
    }
}

pub(super) const BOLD: &str = "1";
pub(crate) const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";

/// A table for each symbol: the most similar windows, what followed them, and what followed all.
///
/// Laid out here: its two tables share columns, and `comfy-table` colours cells only with three more crates.
pub(crate) struct Report<'a> {
    pub(crate) outcome: &'a SimilarWindows,
    pub(crate) rule: &'a WindowRule,
    pub(crate) colour: Colour,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for similar in &self.outcome.symbols {
            self.symbol(f, similar)?;
        }
        let statement = format!(
            "Shown is what followed windows of {} bars over the next {}. This demonstrates matching on real\n\
             history; a handful of matches is no evidence about the future, and nothing here is advice.",
            self.rule.length, self.rule.following
        );
        writeln!(f, "{}", self.colour.paint(DIM, statement))
    }
}

impl Report<'_> {
    /// A line for each symbol, with the best match alone.
    pub(crate) fn summary(&self) -> impl Display {
        Summary(self)
    }

    fn symbol(&self, f: &mut Formatter<'_>, similar: &SimilarToQuery) -> fmt::Result {
        let title = self.colour.paint(BOLD, similar.symbol.to_string());
        let candidates = count(similar.candidates);
        let query = similar.query;
        writeln!(f, "{title}  {} to {}, compared with {candidates} windows", query.start, query.end)?;
        if similar.matches.is_empty() {
            return writeln!(f, "  nothing in the library lies before it\n");
        }
        let head = format!("  {:<8}{:<28}{:>8}{:>11}", "symbol", "window", "distance", "followed");
        writeln!(f, "{}", self.colour.paint(DIM, head))?;
        similar.matches.iter().try_for_each(|found| self.found(f, found))?;
        let head = format!(
            "  {:<36}{:>8}{:>11}{:>10}{:>10}{:>8}",
            "what followed", "mean", "median", "5 %", "95 %", "up"
        );
        writeln!(f, "{}", self.colour.paint(DIM, head))?;
        self.distribution(f, "these windows", similar.following.as_ref())?;
        self.distribution(f, "all windows", similar.unconditional.as_ref())?;
        writeln!(f)
    }

    fn found(&self, f: &mut Formatter<'_>, found: &Match) -> fmt::Result {
        let window = format!("{} to {}", found.start, found.end);
        let followed = self.gain(found.following_return, 11);
        writeln!(f, "  {:<8}{window:<28}{:>8.3}{followed}", found.symbol, found.distance)
    }

    fn distribution(&self, f: &mut Formatter<'_>, of: &str, returns: Option<&Distribution>) -> fmt::Result {
        let Some(Distribution { mean, median, p05, p95, share_up }) = returns else { return Ok(()) };
        write!(f, "  {of:<32}")?;
        for (share, width) in [(mean, 12), (median, 11), (p05, 10), (p95, 10)] {
            f.write_str(&self.gain(*share, width))?;
        }
        writeln!(f, "{:>6.0} %", share_up * 100.0)
    }

    /// A signed percentage, right-aligned; the padding is inside of the colour, which has no width.
    fn gain(&self, share: f64, width: usize) -> String {
        let text = format!("{:>width$}", format!("{:+.1} %", share * 100.0));
        self.colour.paint(if share < 0.0 { RED } else { GREEN }, text)
    }
}

struct Summary<'a>(&'a Report<'a>);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { outcome, rule, colour } = *self.0;
        let head = format!(
            "  {:<8}{:<34}{:>8}{:>11}",
            "symbol",
            format!("most like its last {} bars", rule.length),
            "distance",
            "followed"
        );
        writeln!(f, "{}", colour.paint(DIM, head))?;
        for similar in &outcome.symbols {
            let symbol = &similar.symbol;
            let Some(Match { symbol: found, start, end, distance, following_return }) =
                similar.matches.first()
            else {
                writeln!(f, "  {symbol:<8}nothing in the library lies before them")?;
                continue;
            };
            let window = format!("{found:<6} {start} to {end}");
            let followed = self.0.gain(*following_return, 11);
            writeln!(f, "  {symbol:<8}{window:<34}{distance:>8.3}{followed}")?;
        }
        let statement = format!(
            "Followed: over the next {} bars. It demonstrates matching and is no advice.",
            rule.following
        );
        writeln!(f, "{}", colour.paint(DIM, statement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_protocols::similar_windows::Span;

    fn outcome() -> SimilarWindows {
        let span = |start: &str, end: &str| Span { start: start.parse().unwrap(), end: end.parse().unwrap() };
        let found = |symbol: &str, distance, following_return| Match {
            symbol: symbol.parse().unwrap(),
            start: "2008-09-02".parse().unwrap(),
            end: "2008-11-25".parse().unwrap(),
            distance,
            following_return,
        };
        let symbols = vec![
            SimilarToQuery {
                symbol: "SPY".parse().unwrap(),
                query: span("2021-01-04", "2021-03-31"),
                candidates: 46_022,
                matches: vec![found("AAPL", 1.25, 0.031), found("BRK.B", 12.5, -0.125)],
                following: Distribution::of(vec![0.031, -0.125]),
                unconditional: Distribution::of(vec![0.01, 0.02, -0.5, 1.0]),
            },
            SimilarToQuery {
                symbol: "USO".parse().unwrap(),
                query: span("2006-04-10", "2006-07-05"),
                candidates: 0,
                matches: vec![],
                following: None,
                unconditional: None,
            },
        ];
        SimilarWindows { symbols }
    }

    fn report(colour: Colour) -> String {
        Report { outcome: &outcome(), rule: &WindowRule::DAILY, colour }.to_string()
    }

    #[test]
    fn the_report_reads_as_a_table() {
        let expected = "\
SPY  2021-01-04 to 2021-03-31, compared with 46,022 windows
  symbol  window                      distance   followed
  AAPL    2008-09-02 to 2008-11-25       1.250     +3.1 %
  BRK.B   2008-09-02 to 2008-11-25      12.500    -12.5 %
  what followed                           mean     median       5 %      95 %      up
  these windows                         -4.7 %     -4.7 %   -11.7 %    +2.3 %    50 %
  all windows                          +13.2 %     +1.5 %   -42.4 %   +85.3 %    75 %

USO  2006-04-10 to 2006-07-05, compared with 0 windows
  nothing in the library lies before it

Shown is what followed windows of 60 bars over the next 20. This demonstrates matching on real
history; a handful of matches is no evidence about the future, and nothing here is advice.
";
        assert_eq!(report(Colour::Plain), expected);
    }

    #[test]
    fn c6_the_summary_has_a_line_for_each_symbol() {
        let expected = "  \
  symbol  most like its last 60 bars        distance   followed
  SPY     AAPL   2008-09-02 to 2008-11-25      1.250     +3.1 %
  USO     nothing in the library lies before them
Followed: over the next 20 bars. It demonstrates matching and is no advice.
";
        let outcome = outcome();
        let report = Report { outcome: &outcome, rule: &WindowRule::DAILY, colour: Colour::Plain };
        assert_eq!(report.summary().to_string(), expected);
    }

    #[test]
    fn colour_changes_no_text() {
        let mut plain = report(Colour::Ansi);
        for style in [BOLD, DIM, RED, GREEN, "0"] {
            plain = plain.replace(&format!("\x1b[{style}m"), "");
        }
        assert_eq!(plain, report(Colour::Plain));
    }

    #[test]
    fn json_has_the_keys_of_the_contract() {
        let json = serde_json::to_value(outcome()).unwrap();
        let spy = &json["symbols"][0];
        assert_eq!(spy["symbol"], "SPY");
        assert_eq!(spy["query"], serde_json::json!({"start": "2021-01-04", "end": "2021-03-31"}));
        assert_eq!(spy["candidates"], 46_022);
        let found = serde_json::json!({
            "symbol": "AAPL", "start": "2008-09-02", "end": "2008-11-25",
            "distance": 1.25, "following_return": 0.031,
        });
        assert_eq!(spy["matches"][0], found);
        for of in ["following", "unconditional"] {
            let keys: Vec<&String> = spy[of].as_object().unwrap().keys().collect();
            assert_eq!(keys, ["mean", "median", "p05", "p95", "share_up"]);
            assert!(json["symbols"][1][of].is_null(), "no statistics of nothing");
        }
        assert_eq!(serde_json::from_value::<SimilarWindows>(json).unwrap(), outcome());
    }
}
