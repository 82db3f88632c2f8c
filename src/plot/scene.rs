//! What a picture consists of. Lengths are in units of which a PNG has two pixels; y grows downwards.

use super::font;
use swarm_protocols::{unstacked, visible};

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

pub(super) const WHITE: Colour = Colour(255, 255, 255);
/// Titles and values.
pub(super) const INK: Colour = Colour(31, 36, 43);
/// What explains: labels of axes, ticks.
pub(super) const MUTED: Colour = Colour(96, 104, 115);
/// Frames and grids.
pub(super) const FAINT: Colour = Colour(222, 226, 231);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point(pub(super) f64, pub(super) f64);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Rectangles of one colour, filled to the pixel.
    Rects(Colour, Vec<Rect>),
    /// An area of some opacity, 0 to 1.
    Area(Colour, f64, Vec<Point>),
    /// Lines of some width, each through its points.
    Lines(Colour, f64, Vec<Vec<Point>>),
    Text(Text),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) content: String,
    /// On the baseline.
    pub(super) at: Point,
    pub(super) size: f64,
    pub(super) anchor: Anchor,
    pub(super) colour: Colour,
    /// Whether it reads from below to above.
    pub(super) is_upright: bool,
}

impl Text {
    pub(super) fn new(content: impl Into<String>, at: Point, size: f64) -> Self {
        let content = content.into();
        Self { content, at, size, anchor: Anchor::Start, colour: INK, is_upright: false }
    }

    pub(super) fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(super) fn coloured(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }

    pub(super) fn upright(self) -> Self {
        Self { is_upright: true, ..self }
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    pub(super) width: f64,
    pub(super) height: f64,
    /// What a reader hears who does not see it.
    pub(super) title: String,
    pub(super) shapes: Vec<Shape>,
}

impl Scene {
    pub(super) fn new(title: &str) -> Self {
        Self { width: 0.0, height: 0.0, title: title.to_owned(), shapes: Vec::new() }
    }

    pub(super) fn text(&mut self, text: Text) {
        self.shapes.push(Shape::Text(text));
    }

    pub(super) fn rect(&mut self, colour: Colour, rect: Rect) {
        self.shapes.push(Shape::Rects(colour, vec![rect]));
    }

    pub(super) fn line(&mut self, colour: Colour, width: f64, points: Vec<Point>) {
        self.shapes.push(Shape::Lines(colour, width, vec![points]));
    }
}

/// A label so short that it takes at most `width`, and legible.
pub(super) fn fitted(label: &str, size: f64, width: f64) -> String {
    let end = font::fitting(label, size, width);
    if end == label.len() {
        return legible(label);
    }
    let end = font::fitting(label, size, width - font::width("…", size));
    legible(&label[..end]) + "…"
}

/// A text of a user without what would change more than its own place: control characters, and those that turn round
/// the direction of what follows.
pub(crate) fn legible(text: &str) -> String {
    unstacked(text.chars().map(visible)).collect()
}
