//! The letters of pictures: DejaVu Sans, reduced to Latin, Greek and Cyrillic; its licence is beside it.

use std::sync::LazyLock;

use tiny_skia::{Path, PathBuilder, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

static FACE: LazyLock<Face<'static>> = LazyLock::new(|| {
    Face::parse(include_bytes!("font/DejaVuSans-subset.ttf"), 0).expect("the font in the program is whole")
});

/// What programs that read an SVG should look for.
pub(super) const FAMILIES: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// How high capital letters are, for a font of size 1.
pub(super) const CAPITAL_HEIGHT: f64 = 0.729;

/// Whether it has a letter.
pub(super) fn has(letter: char) -> bool {
    FACE.glyph_index(letter).is_some()
}

/// How wide a text is at a size.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let advances: u32 = text.chars().map(|letter| u32::from(advance(glyph(letter)))).sum();
    f64::from(advances) * size / units()
}

/// Where the longest part of a text ends that begins with it and is at most so wide.
pub(super) fn fitting(text: &str, size: f64, width: f64) -> usize {
    let mut left = width * units() / size;
    let beyond = text.char_indices().find(|&(_, letter)| {
        left -= f64::from(advance(glyph(letter)));
        left < 0.0
    });
    beyond.map_or(text.len(), |(end, _)| end)
}

/// The outlines of a text that starts at the origin, its baseline the x axis, y downwards.
pub(super) fn outlines(text: &str, size: f64) -> Option<Path> {
    let mut outlines = Outlines(PathBuilder::new(), 0.0);
    for letter in text.chars() {
        let glyph = glyph(letter);
        // A space has no outline.
        let _bounds = FACE.outline_glyph(glyph, &mut outlines);
        outlines.1 += f32::from(advance(glyph));
    }
    let scale = (size / units()) as f32;
    outlines.0.finish()?.transform(Transform::from_scale(scale, -scale))
}

fn units() -> f64 {
    f64::from(FACE.units_per_em())
}

/// The glyph of a letter; the first one stands for those that the font does not have.
fn glyph(letter: char) -> GlyphId {
    FACE.glyph_index(letter).or_else(|| FACE.glyph_index('\u{fffd}')).unwrap_or(GlyphId(0))
}

fn advance(glyph: GlyphId) -> u16 {
    FACE.glyph_hor_advance(glyph).unwrap_or(0)
}

/// A path, and how far to the right the next glyph stands.
struct Outlines(PathBuilder, f32);

impl OutlineBuilder for Outlines {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x + self.1, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x + self.1, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1 + self.1, y1, x + self.1, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1 + self.1, y1, x2 + self.1, y2, x + self.1, y);
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_add_up_and_unknown_letters_have_one() {
        assert_eq!(width("", 10.0), 0.0);
        assert!((width("AB", 10.0) - width("A", 10.0) - width("B", 10.0)).abs() < 1e-9);
        assert!(width("i", 10.0) < width("W", 10.0));
        assert_eq!(fitting("éAé", 10.0, width("éA", 10.0) + 0.01), "éA".len());
        assert_eq!((fitting("éA", 10.0, 0.0), fitting("éA", 10.0, 100.0)), (0, 3));
        assert!(width("漢", 10.0) > 0.0 && outlines("漢", 10.0).is_some());
        assert!(outlines(" ", 10.0).is_none());
        for letter in ['é', 'Ω', 'ж', '−', '…', '²', '€'] {
            assert!(FACE.glyph_index(letter).is_some(), "{letter}");
        }
    }
}
