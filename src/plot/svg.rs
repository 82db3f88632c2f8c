//! Pictures as SVG 1.1.

use std::fmt::{self, Write};

use super::font;
use super::scene::{Anchor, Colour, Point, Rect, Scene, Shape, Text};

pub(super) fn document(scene: &Scene) -> String {
    let mut text = String::new();
    write_document(&mut text, scene).expect("a String takes whatever is written");
    text
}

fn write_document(out: &mut String, scene: &Scene) -> fmt::Result {
    let (width, height) = (number(scene.width), number(scene.height));
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-family="{}">"#,
        font::FAMILIES
    )?;
    writeln!(out, "<title>{}</title>", escaped(&scene.title))?;
    writeln!(out, r##"<rect width="{width}" height="{height}" fill="#ffffff"/>"##)?;
    for shape in &scene.shapes {
        write_shape(out, shape)?;
    }
    writeln!(out, "</svg>")
}

fn write_shape(out: &mut String, shape: &Shape) -> fmt::Result {
    match shape {
        Shape::Rects(colour, rects) => {
            write!(out, r#"<path shape-rendering="crispEdges" fill="{}" d=""#, hex(*colour))?;
            for Rect { x, y, width, height } in rects {
                let [x, y, width, height] = [x, y, width, height].map(|length| number(*length));
                write!(out, "M{x} {y}h{width}v{height}h-{width}z")?;
            }
            writeln!(out, r#""/>"#)
        }
        Shape::Area(colour, opacity, points) => {
            let (fill, opacity) = (hex(*colour), number(*opacity));
            writeln!(out, r#"<path fill="{fill}" fill-opacity="{opacity}" d="{}z"/>"#, through(points))
        }
        Shape::Lines(colour, width, lines) => {
            let (stroke, width) = (hex(*colour), number(*width));
            write!(
                out,
                r#"<path fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round" d=""#
            )?;
            for points in lines {
                out.push_str(&through(points));
            }
            writeln!(out, r#""/>"#)
        }
        Shape::Text(text) => write_text(out, text),
    }
}

fn write_text(out: &mut String, text: &Text) -> fmt::Result {
    let Text { content, at: Point(x, y), size, anchor, colour, is_upright } = text;
    let (x, y) = (number(*x), number(*y));
    write!(out, r#"<text x="{x}" y="{y}" font-size="{}" fill="{}""#, number(*size), hex(*colour))?;
    match anchor {
        Anchor::Start => {}
        Anchor::Middle => out.push_str(r#" text-anchor="middle""#),
        Anchor::End => out.push_str(r#" text-anchor="end""#),
    }
    if *is_upright {
        write!(out, r#" transform="rotate(-90 {x} {y})""#)?;
    }
    writeln!(out, ">{}</text>", escaped(content))
}

fn through(points: &[Point]) -> String {
    let mut path = String::new();
    for (place, Point(x, y)) in points.iter().enumerate() {
        path.push(if place == 0 { 'M' } else { 'L' });
        path += &format!("{} {}", number(*x), number(*y));
    }
    path
}

/// A length with at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn hex(Colour(r, g, b): Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text without what XML reads as markup or does not allow at all.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other if other.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_text_is_escaped() {
        assert_eq!([1.0, 1.5, -0.001, 10.0, 2.34567].map(number), ["1", "1.5", "0", "10", "2.35"]);
        assert_eq!(escaped("<a&\"b\">\u{0}\u{ffff}é"), "&lt;a&amp;&quot;b&quot;&gt;\u{fffd}\u{fffd}é");
    }
}
