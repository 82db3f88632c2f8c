//! Windows found in a long series: where they lie, and each over the query.

use super::scene::{Anchor, Colour, FAINT, INK, MUTED, Point, Rect, Scene, Shape, Text, fitted};
use super::{axis, count, font};

/// How many matches have a panel of their own.
const PANELS_MAX: usize = 24;
const COLUMNS_MAX: usize = 4;

const WIDTH: f64 = 1120.0;
const MARGIN: f64 = 24.0;
const LEFT: f64 = 78.0;
const TITLE_SIZE: f64 = 17.0;
const NOTE_SIZE: f64 = 11.5;
const TICK_SIZE: f64 = 10.0;
const SERIES_HEIGHT: f64 = 170.0;
const PANEL_HEIGHT: f64 = 120.0;
const PANEL_GAP: f64 = 26.0;
/// Above a panel, for its caption.
const CAPTION: f64 = 20.0;

const SERIES: Colour = Colour(118, 134, 156);
const QUERY: Colour = Colour(50, 56, 66);
const MATCH: Colour = Colour(213, 94, 0);
/// How wide the mark of a match is at least, so that it is seen.
const MARK_WIDTH_MIN: f64 = 2.0;

/// What is drawn.
pub(crate) struct Matches<'a> {
    pub(crate) title: &'a str,
    pub(crate) note: &'a str,
    pub(crate) series: &'a [f64],
    /// z-normalised.
    pub(crate) query: &'a [f64],
    /// Where the query lies in the series itself.
    pub(crate) query_start: Option<usize>,
    /// Best first.
    pub(crate) found: Vec<Match>,
}

/// A window as long as the query.
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) distance: f64,
    /// z-normalised.
    pub(crate) values: Vec<f64>,
}

impl Matches<'_> {
    pub(crate) fn scene(&self) -> Scene {
        let mut scene = Scene::new(self.title);
        scene.width = WIDTH;
        let room = WIDTH - 2.0 * MARGIN;
        let title = fitted(self.title, TITLE_SIZE, room);
        scene.text(Text::new(title, Point(MARGIN, MARGIN + TITLE_SIZE * 0.8), TITLE_SIZE));
        let note = Point(MARGIN, MARGIN + TITLE_SIZE + 1.3 * NOTE_SIZE);
        scene.text(Text::new(fitted(self.note, NOTE_SIZE, room), note, NOTE_SIZE).coloured(MUTED));
        let top = MARGIN + TITLE_SIZE + NOTE_SIZE + 40.0;
        let area = Rect { x: LEFT, y: top, width: WIDTH - LEFT - MARGIN, height: SERIES_HEIGHT };
        self.whole_series(&mut scene, area);
        scene.height = self.panels(&mut scene, top + SERIES_HEIGHT + 58.0) + MARGIN;
        scene
    }

    /// The series as a whole, with the places of the matches.
    fn whole_series(&self, scene: &mut Scene, area: Rect) {
        let (low, high) = spread(&[self.series]);
        let plane = Plane { area, columns: (0.0, (self.series.len() - 1).max(1) as f64), rows: (low, high) };
        plane.draw_rows(scene, axis::ticks(low, high, 4));
        for (row, label) in axis::ticks(0.0, (self.series.len() - 1) as f64, 8) {
            let (x, y) = (plane.x(row), area.y + area.height);
            scene.line(MUTED, 1.0, vec![Point(x, y), Point(x, y + 4.0)]);
            let at = Point(x, y + 7.0 + TICK_SIZE);
            scene.text(Text::new(label, at, TICK_SIZE).anchored(Anchor::Middle).coloured(MUTED));
        }
        // Of equal places the better match is drawn last, so it is on top.
        for found in self.found.iter().rev() {
            let mark = plane.mark(found.start, self.query.len());
            scene.shapes.push(Shape::Area(MATCH, 0.28, corners(mark)));
        }
        if let Some(start) = self.query_start {
            scene.shapes.push(Shape::Area(QUERY, 0.28, corners(plane.mark(start, self.query.len()))));
        }
        plane.draw_line(scene, SERIES, 1.0, self.series);
        self.draw_names(scene, &plane);
    }

    /// The ranks of matches above their places, where there is room; the better ones first.
    fn draw_names(&self, scene: &mut Scene, plane: &Plane) {
        let mut taken: Vec<(f64, f64)> = Vec::new();
        let query = self.query_start.map(|start| ("query".to_owned(), start, QUERY));
        let ranks = self.found.iter().enumerate().map(|(place, m)| ((place + 1).to_string(), m.start, MATCH));
        for (name, start, colour) in query.into_iter().chain(ranks) {
            let mark = plane.mark(start, self.query.len());
            let (middle, half) = (mark.x + mark.width / 2.0, font::width(&name, TICK_SIZE) / 2.0);
            let (from, to) = (middle - half - 3.0, middle + half + 3.0);
            if taken.iter().all(|&(start, end)| to < start || from > end) {
                taken.push((from, to));
                let at = Point(middle, plane.area.y - 5.0);
                scene.text(Text::new(name, at, TICK_SIZE).anchored(Anchor::Middle).coloured(colour));
            }
        }
    }

    /// Each match over the query, all in one scale. Says where they end.
    fn panels(&self, scene: &mut Scene, top: f64) -> f64 {
        let shown = &self.found[..self.found.len().min(PANELS_MAX)];
        if shown.is_empty() {
            return top;
        }
        self.draw_legend(scene, top - 18.0);
        let columns = shown.len().min(COLUMNS_MAX);
        let width = (WIDTH - LEFT - MARGIN - (columns - 1) as f64 * PANEL_GAP) / columns as f64;
        let all: Vec<&[f64]> = shown.iter().map(|m| m.values.as_slice()).chain([self.query]).collect();
        let (low, high) = spread(&all);
        for (place, found) in shown.iter().enumerate() {
            let (row, column) = (place / columns, place % columns);
            let x = LEFT + column as f64 * (width + PANEL_GAP);
            let y = top + CAPTION + row as f64 * (PANEL_HEIGHT + CAPTION + PANEL_GAP);
            let area = Rect { x, y, width, height: PANEL_HEIGHT };
            let last = (self.query.len() - 1).max(1) as f64;
            let plane = Plane { area, columns: (0.0, last), rows: (low, high) };
            let labels =
                |(value, label): (f64, String)| (value, if column == 0 { label } else { String::new() });
            plane.draw_rows(scene, axis::ticks(low, high, 4).into_iter().map(labels).collect());
            plane.draw_line(scene, QUERY, 1.4, self.query);
            plane.draw_line(scene, MATCH, 1.4, &found.values);
            let rank = format!("{}", place + 1);
            scene.text(Text::new(&rank, Point(x, y - 7.0), 11.5).coloured(MATCH));
            let caption = format!("row {}, distance {}", count(found.start), rounded(found.distance));
            let at = Point(x + font::width(&rank, 11.5) + 8.0, y - 7.0);
            scene.text(Text::new(fitted(&caption, 11.5, width - 24.0), at, 11.5));
        }
        let rows = shown.len().div_ceil(columns) as f64;
        top + rows * (PANEL_HEIGHT + CAPTION + PANEL_GAP) - PANEL_GAP
    }

    fn draw_legend(&self, scene: &mut Scene, y: f64) {
        let mut x = LEFT;
        for (name, colour) in [("query", QUERY), ("match", MATCH)] {
            scene.line(colour, 1.8, vec![Point(x, y - 4.0), Point(x + 18.0, y - 4.0)]);
            scene.text(Text::new(name, Point(x + 24.0, y), NOTE_SIZE).coloured(INK));
            x += 24.0 + font::width(name, NOTE_SIZE) + 18.0;
        }
        let left_out = match self.found.len().saturating_sub(PANELS_MAX) {
            0 => String::new(),
            more => format!("; {more} more matches are marked above only"),
        };
        let text = format!("z-normalised, point for point{left_out}");
        scene.text(Text::new(text, Point(x, y), NOTE_SIZE).coloured(MUTED));
    }
}

/// A rectangle in which columns and rows have values.
struct Plane {
    area: Rect,
    columns: (f64, f64),
    rows: (f64, f64),
}

impl Plane {
    fn x(&self, column: f64) -> f64 {
        let (first, last) = self.columns;
        self.area.x + self.area.width * ((column - first) / (last - first))
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.rows;
        // Halved first: the span of two extremes must not overflow.
        let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        self.area.y + self.area.height * (1.0 - share)
    }

    fn mark(&self, start: usize, length: usize) -> Rect {
        let (from, to) = (self.x(start as f64), self.x((start + length - 1) as f64));
        let width = (to - from).max(MARK_WIDTH_MIN);
        Rect { x: (from + to - width) / 2.0, width, ..self.area }
    }

    fn draw_rows(&self, scene: &mut Scene, ticks: Vec<(f64, String)>) {
        let Rect { x, width, .. } = self.area;
        for (value, label) in ticks {
            let y = self.y(value);
            scene.line(FAINT, 1.0, vec![Point(x, y), Point(x + width, y)]);
            if label.is_empty() {
                continue;
            }
            let at = Point(x - 7.0, y + font::CAPITAL_HEIGHT * TICK_SIZE / 2.0);
            scene.text(Text::new(label, at, TICK_SIZE).anchored(Anchor::End).coloured(MUTED));
        }
    }

    /// The values from the left edge to the right one. Where several fall on a pixel, the line runs through the first,
    /// the least, the greatest and the last of them, so no peak is lost.
    fn draw_line(&self, scene: &mut Scene, colour: Colour, width: f64, values: &[f64]) {
        let pixels = (self.area.width * 2.0) as usize;
        let mut points = Vec::new();
        let mut add = |place: usize| points.push(Point(self.x(place as f64), self.y(values[place])));
        if values.len() <= 2 * pixels {
            (0..values.len()).for_each(&mut add);
        } else {
            for pixel in 0..pixels {
                let of = |pixel: usize| (pixel as u128 * values.len() as u128 / pixels as u128) as usize;
                let places = of(pixel)..of(pixel + 1);
                let by_value = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
                let least = places.clone().min_by(by_value).unwrap_or(places.start);
                let greatest = places.clone().max_by(by_value).unwrap_or(places.start);
                let mut shown =
                    [places.start, least.min(greatest), least.max(greatest), places.end - 1].to_vec();
                shown.dedup();
                shown.into_iter().for_each(&mut add);
            }
        }
        scene.shapes.push(Shape::Lines(colour, width, vec![points]));
    }
}

/// The least and the greatest of all values; a little apart when they are equal.
fn spread(series: &[&[f64]]) -> (f64, f64) {
    let values = || series.iter().flat_map(|values| values.iter().copied());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low < high {
        return (low, high);
    }
    let room = low.abs().max(1.0) / 2.0;
    (low - room, high + room)
}

fn corners(Rect { x, y, width, height }: Rect) -> Vec<Point> {
    vec![Point(x, y), Point(x + width, y), Point(x + width, y + height), Point(x, y + height)]
}

/// A distance with three decimals; with fewer where the digits before them are enough, with more where they are not.
fn rounded(value: f64) -> String {
    let magnitude = if value > 0.0 { value.log10().floor() } else { 0.0 };
    let decimals = if magnitude < -1.0 { 2.0 - magnitude } else { 3.0 - magnitude.max(0.0) };
    if value < 1e7 {
        format!("{value:.*}", decimals.clamp(0.0, 9.0) as usize)
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64]) -> Vec<Point> {
        let mut scene = Scene::new("");
        let area = Rect { x: 0.0, y: 0.0, width: 50.0, height: 10.0 };
        let plane = Plane { area, columns: (0.0, (values.len() - 1) as f64), rows: spread(&[values]) };
        plane.draw_line(&mut scene, INK, 1.0, values);
        match scene.shapes.pop() {
            Some(Shape::Lines(_, _, mut lines)) => lines.remove(0),
            other => panic!("{other:?} is no line"),
        }
    }

    #[test]
    fn a_long_line_has_few_points_and_keeps_its_peaks() {
        let mut values: Vec<f64> = (0..1_000_000).map(|i| f64::from(i % 10)).collect();
        values[123_457] = 1000.0;
        values[900_001] = -1000.0;
        let drawn = points(&values);
        assert!(drawn.len() <= 400, "{}", drawn.len());
        assert!(drawn.iter().any(|point| point.1 == 0.0) && drawn.iter().any(|point| point.1 == 10.0));
        assert!(drawn.is_sorted_by(|a, b| a.0 <= b.0));
        assert_eq!(points(&[1.0, 2.0, 1.5]).len(), 3);
    }

    #[test]
    fn extremes_stay_in_the_picture() {
        for values in [[1e100, -1e100], [5.0, 5.0], [0.0, 0.0], [1e100, 1e100]] {
            assert!(points(&values).iter().all(|point| (0.0..=10.0).contains(&point.1)), "{values:?}");
        }
    }

    #[test]
    fn distances_have_the_digits_that_count() {
        let values = [1.15391, 0.87024, 0.0, 12.0, 123456.0, 0.00012345, 1.5e30];
        assert_eq!(
            values.map(rounded),
            ["1.154", "0.870", "0.000", "12.00", "123456", "0.000123", "1.500e30"]
        );
    }
}
