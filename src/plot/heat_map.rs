//! A symmetric matrix as colours.

use std::collections::BTreeMap;

use swarm_kernels::Symmetric;
use swarm_kernels::correlation::Dendrogram;

pub(crate) use super::palette::Palette;
use super::palette::{MISSING, MISSING_LINES, ink_on};
use super::scene::{Anchor, Colour, INK, MUTED, Point, Rect, Scene, Shape, Text, fitted};
use super::{axis, dendrogram, font};

/// The most series: each is at least a unit wide then.
pub(crate) const SERIES_MAX: usize = 1000;

/// What the matrix aims to be wide, and the widest cells.
const SIDE: f64 = 1200.0;
const CELL_MAX: f64 = 46.0;
/// From here on cells stand apart, and from here on their values stand in them.
const CELL_APART: f64 = 14.0;
const CELL_WITH_VALUE: f64 = 34.0;

const MARGIN: f64 = 24.0;
const TITLE_SIZE: f64 = 17.0;
const NOTE_SIZE: f64 = 11.5;
const LABEL_SIZE_MAX: f64 = 12.0;
const LABEL_SIZE_MIN: f64 = 7.5;
const LABEL_WIDTH_MAX: f64 = 170.0;
const TREE_WIDTH: f64 = 110.0;
const BAR_WIDTH: f64 = 14.0;
const BAR_HEIGHT_MAX: f64 = 320.0;

/// What is drawn.
pub(crate) struct HeatMap<'a> {
    pub(crate) title: &'a str,
    /// What stands small under the title.
    pub(crate) note: &'a str,
    /// What the values are, beside the colour bar.
    pub(crate) measure: &'a str,
    pub(crate) labels: &'a [String],
    /// A value for each pair of labels; NaN where there is none.
    pub(crate) matrix: &'a Symmetric<f64>,
    pub(crate) palette: Palette,
    /// The order of rows and columns, with what its distances are; that of the labels without one.
    pub(crate) tree: Option<(&'a Dendrogram, &'a str)>,
}

impl HeatMap<'_> {
    /// Draws it.
    ///
    /// # Panics
    /// When there are no labels, or not as many as rows.
    pub(crate) fn scene(&self) -> Scene {
        let order: Vec<usize> = match self.tree {
            Some((tree, _)) => tree.leaves().to_vec(),
            None => (0..self.labels.len()).collect(),
        };
        assert!(!order.is_empty() && order.len() == self.matrix.order(), "a label for each row");
        let layout = Layout::new(self.labels, &order);
        let mut scene = Scene::new(self.title);
        scene.text(Text::new(self.title, Point(MARGIN, MARGIN + TITLE_SIZE * 0.8), TITLE_SIZE));
        let note_at = Point(MARGIN, MARGIN + TITLE_SIZE + 1.3 * NOTE_SIZE);
        scene.text(Text::new(self.note, note_at, NOTE_SIZE).coloured(MUTED));
        let has_gaps = self.cells(&mut scene, &layout, &order);
        layout.draw_labels(&mut scene);
        let mut right = layout.matrix.x + layout.matrix.width;
        if let Some((tree, measure)) = self.tree {
            let area = Rect { x: right + 8.0, width: TREE_WIDTH, ..layout.matrix };
            dendrogram::draw(&mut scene, tree, area, measure);
            right += 8.0 + TREE_WIDTH;
        }
        let bar_right = self.colour_bar(&mut scene, Point(right + 34.0, layout.matrix.y), &layout, has_gaps);
        let titles = font::width(self.title, TITLE_SIZE).max(font::width(self.note, NOTE_SIZE));
        scene.width = (bar_right.max(MARGIN + titles) + MARGIN).ceil();
        let tree_axis = if self.tree.is_some() { 34.0 } else { 0.0 };
        let below = layout.matrix.y + layout.matrix.height + layout.labels_below.max(tree_axis);
        scene.height = (below.max(layout.matrix.y + 150.0) + MARGIN).ceil();
        scene
    }

    /// Whether any cell has no value.
    fn cells(&self, scene: &mut Scene, layout: &Layout, order: &[usize]) -> bool {
        let mut by_colour = BTreeMap::<Colour, Vec<Rect>>::new();
        let (mut hatches, mut values) = (Vec::new(), Vec::new());
        let (low, high) = self.palette.range();
        let decimals = if high - low < 0.2 { 3 } else { 2 };
        for (row, &i) in order.iter().enumerate() {
            for (column, &j) in order.iter().enumerate() {
                let (value, cell) = (self.matrix.get(i, j), layout.cell(row, column));
                let colour = if value.is_nan() { MISSING } else { self.palette.colour(value) };
                by_colour.entry(colour).or_default().push(cell);
                if value.is_nan() {
                    hatches.extend(hatch(cell));
                } else if layout.size >= CELL_WITH_VALUE {
                    let size = 10.5;
                    let at = Point(
                        cell.x + cell.width / 2.0,
                        cell.y + (cell.height + font::CAPITAL_HEIGHT * size) / 2.0,
                    );
                    let text = Text::new(format!("{value:.decimals$}").replace('-', "−"), at, size);
                    values.push(text.anchored(Anchor::Middle).coloured(ink_on(colour)));
                }
            }
        }
        let has_gaps = !hatches.is_empty();
        scene.shapes.extend(by_colour.into_iter().map(|(colour, cells)| Shape::Rects(colour, cells)));
        if has_gaps {
            scene.shapes.push(Shape::Lines(MISSING_LINES, 0.8, hatches));
        }
        scene.shapes.extend(values.into_iter().map(Shape::Text));
        has_gaps
    }

    /// Draws what the colours mean and says how far to the right that reaches.
    fn colour_bar(&self, scene: &mut Scene, at: Point, layout: &Layout, has_gaps: bool) -> f64 {
        let Point(x, top) = at;
        let height = layout.matrix.height.clamp(120.0, BAR_HEIGHT_MAX).round();
        let (low, high) = self.palette.range();
        let y_of = |value: f64| top + height * (high - value) / (high - low);
        for step in 0..height as usize {
            let y = top + step as f64;
            let value = high - (high - low) * (step as f64 + 0.5) / height;
            scene.rect(self.palette.colour(value), Rect { x, y, width: BAR_WIDTH, height: 1.0 });
        }
        let mut right: f64 = x + BAR_WIDTH;
        for (value, label) in axis::ticks(low, high, 4) {
            let y = y_of(value);
            scene.line(MUTED, 1.0, vec![Point(x + BAR_WIDTH, y), Point(x + BAR_WIDTH + 4.0, y)]);
            let size = 10.5;
            let text = Point(x + BAR_WIDTH + 8.0, y + font::CAPITAL_HEIGHT * size / 2.0);
            right = right.max(text.0 + font::width(&label, size));
            scene.text(Text::new(label, text, size).coloured(INK));
        }
        let title = Point(right + 6.0 + NOTE_SIZE, top + height / 2.0);
        scene.text(
            Text::new(self.measure, title, NOTE_SIZE).anchored(Anchor::Middle).coloured(MUTED).upright(),
        );
        right = title.0 + 0.3 * NOTE_SIZE;
        if has_gaps {
            let cell = Rect { x, y: top + height + 14.0, width: BAR_WIDTH, height: BAR_WIDTH };
            scene.rect(MISSING, cell);
            scene.shapes.push(Shape::Lines(MISSING_LINES, 0.8, hatch(cell)));
            let text = Point(x + BAR_WIDTH + 8.0, cell.y + 11.0);
            right = right.max(text.0 + font::width("undefined", 10.5));
            scene.text(Text::new("undefined", text, 10.5));
        }
        right
    }
}

/// Where everything stands.
struct Layout {
    /// How wide and high a cell is with the gap to the next.
    size: f64,
    matrix: Rect,
    labels: Vec<String>,
    label_size: f64,
    /// Every how many series there is a label.
    every: usize,
    /// Whether the labels of columns read from below.
    are_upright: bool,
    labels_below: f64,
}

impl Layout {
    fn new(labels: &[String], order: &[usize]) -> Self {
        let count = order.len() as f64;
        let size = (SIDE / count).floor().clamp(1.0, CELL_MAX);
        let label_size = (size * 0.86).clamp(LABEL_SIZE_MIN, LABEL_SIZE_MAX);
        let every = (label_size * 1.12 / size).ceil().max(1.0) as usize;
        let shown: Vec<String> =
            order.iter().map(|&i| fitted(&labels[i], label_size, LABEL_WIDTH_MAX)).collect();
        let widths = shown.iter().step_by(every).map(|label| font::width(label, label_size));
        let widest = widths.fold(0.0, f64::max);
        let are_upright = widest > size * every as f64 - 4.0;
        let labels_below = if are_upright { widest + 8.0 } else { label_size + 10.0 };
        let side = size * count;
        let top = MARGIN + TITLE_SIZE + NOTE_SIZE + 26.0;
        let matrix = Rect { x: (MARGIN + widest + 8.0).ceil(), y: top.ceil(), width: side, height: side };
        Self { size, matrix, labels: shown, label_size, every, are_upright, labels_below }
    }

    fn cell(&self, row: usize, column: usize) -> Rect {
        let side = if self.size >= CELL_APART { self.size - 1.0 } else { self.size };
        let (x, y) = (self.matrix.x + column as f64 * self.size, self.matrix.y + row as f64 * self.size);
        Rect { x, y, width: side, height: side }
    }

    fn draw_labels(&self, scene: &mut Scene) {
        let (size, half) = (self.label_size, font::CAPITAL_HEIGHT * self.label_size / 2.0);
        let below = self.matrix.y + self.matrix.height;
        for (place, label) in self.labels.iter().enumerate().step_by(self.every) {
            let middle = (place as f64 + 0.5) * self.size;
            let row = Point(self.matrix.x - 7.0, self.matrix.y + middle + half);
            scene.text(Text::new(label, row, size).anchored(Anchor::End));
            let x = self.matrix.x + middle;
            scene.text(if self.are_upright {
                Text::new(label, Point(x + half, below + 7.0), size).anchored(Anchor::End).upright()
            } else {
                Text::new(label, Point(x, below + 7.0 + 2.0 * half), size).anchored(Anchor::Middle)
            });
        }
    }
}

/// Lines across a cell, rising to the right.
fn hatch(cell: Rect) -> Vec<Vec<Point>> {
    let Rect { x, y, width, height } = cell;
    let (right, below) = (x + width, y + height);
    let mut lines = vec![vec![Point(x, below), Point(right, y)]];
    if width >= 10.0 {
        let (across, down) = (x + width / 2.0, y + height / 2.0);
        lines.push(vec![Point(x, down), Point(across, y)]);
        lines.push(vec![Point(across, below), Point(right, down)]);
    }
    lines
}
