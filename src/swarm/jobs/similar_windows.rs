//! The job `similar-windows`: which windows of price history resemble the last one of each symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use swarm_actors::WorkError;
use swarm_actors::task::{Inputs, Task};
use swarm_kernels::{Band, compared, dtw, is_constant, z_normalize};
use swarm_protocols::ContentHash;
use swarm_protocols::coordinator::Waiting;
use swarm_protocols::part::Impossible;
use swarm_protocols::similar_windows::{
    FindSimilar, InvalidSymbol, SeriesPart, SimilarInPart, Symbol, WindowQuery, WindowRule, merge,
};
use toml::Spanned;
use toml::de::DeValue;

use super::{Done, Job, Kind, Loaded, TaskFault, Terms};
use crate::input::{InputError, Source};
use crate::swarm::document::{self, Document};
use crate::swarm::node_file::AgentType;
use crate::swarm::operator::{JobError, Operator};
use crate::swarm::prices;
use crate::swarm::progress::Progress;
use crate::swarm::report::{Colour, Report};

/// What another way of rounding may change in a squared distance.
const DISTANCE_TOLERANCE: f64 = 1e-6;

pub(super) const KIND: Kind =
    Kind { word: "similar-windows", agent_type: AgentType::PatternMatcher, in_topology, in_task_file };

const NO_SYMBOLS: &str = "no symbols, at least one is expected";

#[derive(Debug, PartialEq, Eq)]
struct SimilarWindows {
    /// The folder with the daily bars.
    data: PathBuf,
    /// At least one, each once.
    symbols: Vec<Symbol>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "name")]
    _name: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    data: Spanned<PathBuf>,
    symbols: Spanned<Vec<Spanned<String>>>,
}

fn in_topology(table: Spanned<DeValue<'_>>, document: &mut Document<'_>) -> Option<Arc<dyn Job>> {
    let raw: Table = document::read(table, document)?;
    let data = document.resolve(raw.data.get_ref());
    let folder = prices::check_folder(&data).map_err(|error| document.fault(raw.data.span(), error));
    if raw.symbols.get_ref().is_empty() {
        document.fault(raw.symbols.span(), NO_SYMBOLS);
    }
    document.find_duplicates(raw.symbols.get_ref().iter(), "symbols");
    let symbols = raw.symbols.into_inner().into_iter().filter_map(|symbol| {
        let parsed = symbol.get_ref().parse();
        let parsed = parsed.map_err(|error: InvalidSymbol| document.fault(symbol.span(), error)).ok()?;
        if folder.is_ok()
            && let Err(error) = prices::check_symbol(&data, &parsed)
        {
            document.fault(symbol.span(), error);
        }
        Some(parsed)
    });
    Some(Arc::new(SimilarWindows { symbols: symbols.collect(), data }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    data: PathBuf,
    symbols: Symbols,
    #[serde(rename = "priority")]
    _priority: Option<IgnoredAny>,
    #[serde(rename = "deadline_seconds")]
    _deadline: Option<IgnoredAny>,
}

/// At least one symbol, each once.
#[derive(Deserialize)]
#[serde(try_from = "Vec<Symbol>")]
struct Symbols(Vec<Symbol>);

impl TryFrom<Vec<Symbol>> for Symbols {
    type Error = String;

    fn try_from(symbols: Vec<Symbol>) -> Result<Self, String> {
        if symbols.is_empty() {
            return Err(NO_SYMBOLS.to_owned());
        }
        let mut seen = BTreeSet::new();
        match symbols.iter().find(|symbol| !seen.insert(*symbol)) {
            Some(twice) => Err(format!("two symbols are called {twice}")),
            None => Ok(Self(symbols)),
        }
    }
}

/// Where the values of a task file are.
#[derive(Deserialize)]
struct Places<'t> {
    #[serde(borrow)]
    data: &'t RawValue,
    #[serde(borrow)]
    symbols: Vec<&'t RawValue>,
}

fn in_task_file(text: &str, folder: &Path) -> Result<Arc<dyn Job>, TaskFault> {
    let File { data, symbols: Symbols(symbols), .. } = serde_json::from_str(text)?;
    let (data, places) = (folder.join(data), serde_json::from_str::<Places<'_>>(text)?);
    prices::check_folder(&data).map_err(|error| TaskFault::at(text, places.data, error))?;
    for (symbol, place) in symbols.iter().zip(places.symbols) {
        prices::check_symbol(&data, symbol).map_err(|error| TaskFault::at(text, place, error))?;
    }
    Ok(Arc::new(SimilarWindows { data, symbols }))
}

impl Job for SimilarWindows {
    fn load(&self) -> Result<Box<dyn Loaded>, InputError> {
        let mut library = Library { inputs: Inputs::new(), parts: Vec::new(), queries: Vec::new() };
        for symbol in &self.symbols {
            library.add(prices::load(&self.data, symbol)?, &self.data)?;
        }
        Ok(Box::new(library))
    }
}

/// The series, each a part of the library and a query.
struct Library {
    inputs: Inputs<SeriesPart>,
    parts: Vec<ContentHash>,
    queries: Vec<WindowQuery>,
}

impl Library {
    fn add(&mut self, part: SeriesPart, folder: &Path) -> Result<(), InputError> {
        let query = part.last_window(&WindowRule::DAILY).ok_or_else(|| {
            let (symbol, bars, length) = (part.symbol(), part.days().len(), WindowRule::DAILY.length);
            let folder = Source::File(folder.to_owned());
            InputError::whole(&folder, format!("{symbol} has {bars} bars, a window has {length}"))
        })?;
        if is_constant(&query.values) {
            let symbol = part.symbol();
            tracing::warn!(
                "the last closes of {symbol} are all equal: all windows that vary are equally far from them"
            );
        }
        self.queries.push(query);
        self.parts.push(self.inputs.add(part.encode(), part));
        Ok(())
    }

    async fn search(
        self,
        operator: &Operator,
        name: &str,
        terms: Terms,
        progress: &mut Progress,
    ) -> Result<Done, JobError> {
        let Self { inputs, parts, queries } = self;
        let started = Instant::now();
        let rule = WindowRule::DAILY;
        let find = |part: &ContentHash| FindSimilar { part: *part, rule, queries: queries.clone() };
        // A part is searched fast, and best where it is kept.
        let check = |find: &FindSimilar, answer: &SimilarInPart| {
            distances_are_right(find, &inputs.known(find), answer)
        };
        let task = Task::parts(parts.iter().map(find)).inputs(&inputs).waiting(Waiting::ForHome).check(check);
        let done = operator.compute(name, task.kind(KIND.word), terms, progress).await?;
        let agents = done.agents.len();
        let symbols = queries.iter().map(|query| query.symbol.clone());
        let answers: BTreeMap<Symbol, _> = symbols.zip(done.answers).collect();
        // That sorts what followed all candidates, for every query.
        let merging = tokio::task::spawn_blocking(move || merge(&rule, &queries, &answers));
        let merged = merging.await.map_err(|_| JobError::Merge(WorkError::Panicked.to_string()))?;
        let result = merged.map_err(|error| JobError::Merge(error.to_string()))?;
        let report = Report { outcome: &result, rule: &rule, colour: Colour::of_stdout() };
        let (summary, report) = (report.summary().to_string(), report.to_string());
        let json =
            serde_json::value::to_raw_value(&result).map_err(|error| JobError::Merge(error.to_string()))?;
        Ok(Done { agents, time: started.elapsed(), json, summary, report })
    }
}

/// Whether matches lie as far from their queries as is claimed: they are few, so each distance is computed again.
fn distances_are_right(
    find: &FindSimilar,
    parts: &[&SeriesPart],
    answer: &SimilarInPart,
) -> Result<(), Impossible> {
    let [part] = parts else { return Err(Impossible::because("it is about one part")) };
    let (points, band) = (usize::from(find.rule.length), Band::Points(find.rule.band.into()));
    for (query, found) in find.queries.iter().zip(&answer.queries) {
        let values = z_normalize(&query.values);
        for hit in &found.matches {
            let window = &part.closes()[hit.start as usize..][..points];
            let distance = dtw::distance_squared(&values, &z_normalize(window), band);
            let distance = compared(distance.map_err(Impossible::because)?, points);
            Impossible::unless(
                (hit.distance_squared - distance).abs() <= DISTANCE_TOLERANCE,
                format_args!(
                    "a squared distance of {:?} to {}, it is {distance:?}",
                    hit.distance_squared, query.symbol
                ),
            )?;
        }
    }
    Ok(())
}

impl Loaded for Library {
    fn run<'a>(
        self: Box<Self>,
        operator: &'a Operator,
        name: &'a str,
        terms: Terms,
        progress: &'a mut Progress,
    ) -> LocalBoxFuture<'a, Result<Done, JobError>> {
        self.search(operator, name, terms, progress).boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_kernels::Search;
    use swarm_protocols::similar_windows::{Day, QueryMatches, Windows};

    #[test]
    fn a6_distances_that_are_not_those_of_the_windows_are_refused() {
        let rule = WindowRule::DAILY;
        let days = (0..400).map(|day| Day::from_epoch_days(day).unwrap()).collect();
        let closes = (0..400_i32).map(|day| 500.0 + f64::from(day * day % 997)).collect();
        let part = SeriesPart::new("A".parse().unwrap(), days, closes).unwrap();
        let query = part.last_window(&rule).unwrap();
        let windows = Windows::of(&part, &rule);
        let admitted = |start: usize| windows.is_candidate(start, query.start);
        let search = Search::new(&query.values, 3).unwrap().top(5).apart(60).starts(&admitted);
        let found = search.run(part.closes()).unwrap().matches;
        let matches = found.iter().map(|found| windows.hit(found.start, found.distance_squared)).collect();
        let candidates = windows.before(query.start) as u32;
        let honest = windows.reply(vec![QueryMatches { candidates, matches }]);
        let find = FindSimilar { part: ContentHash::of(&part.encode()), rule, queries: vec![query] };
        assert_eq!(distances_are_right(&find, &[&part], &honest), Ok(()));
        for lie in [0.0, 1e-3, 240.0, 1e300] {
            let mut reply = honest.clone();
            reply.queries[0].matches[0].distance_squared = lie;
            let refused = distances_are_right(&find, &[&part], &reply).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("a squared distance of {lie:?} to A, it is ")), "{refused}");
        }
    }
}
