//! Pictures as PNG.

use std::io;

use tiny_skia::{Color, FillRule, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};

use super::font;
use super::scene::{Anchor, Colour, Point, Rect, Scene, Shape, Text};

/// Pixels in a unit: sharp on dense screens and in print.
const PIXELS: f64 = 2.0;

pub(super) fn png(scene: &Scene) -> io::Result<Vec<u8>> {
    let side = |units: f64| (units * PIXELS).ceil() as u32;
    let mut pixels = Pixmap::new(side(scene.width), side(scene.height))
        .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "the picture is too large"))?;
    pixels.fill(Color::WHITE);
    for shape in &scene.shapes {
        draw(&mut pixels, shape);
    }
    pixels.encode_png().map_err(io::Error::other)
}

/// A letter that the font does not have, in whose place stands a box.
pub(super) fn lacking(scene: &Scene) -> Option<char> {
    let letters = scene.shapes.iter().flat_map(|shape| match shape {
        Shape::Text(text) => text.content.chars(),
        _ => "".chars(),
    });
    letters.into_iter().find(|letter| !font::has(*letter))
}

fn draw(pixels: &mut Pixmap, shape: &Shape) {
    let scale = Transform::from_scale(PIXELS as f32, PIXELS as f32);
    match shape {
        Shape::Rects(colour, rects) => {
            let paint = Paint { anti_alias: false, ..paint(*colour, 1.0) };
            for Rect { x, y, width, height } in rects {
                let [x, y, width, height] = [x, y, width, height].map(|length| *length as f32);
                if let Some(rect) = tiny_skia::Rect::from_xywh(x, y, width, height) {
                    pixels.fill_rect(rect, &paint, scale, None);
                }
            }
        }
        Shape::Area(colour, opacity, points) => {
            if let Some(path) = path(std::slice::from_ref(points)) {
                pixels.fill_path(&path, &paint(*colour, *opacity), FillRule::Winding, scale, None);
            }
        }
        Shape::Lines(colour, width, lines) => {
            if let Some(path) = path(lines) {
                let stroke = Stroke { width: *width as f32, line_join: LineJoin::Round, ..Stroke::default() };
                pixels.stroke_path(&path, &paint(*colour, 1.0), &stroke, scale, None);
            }
        }
        Shape::Text(text) => draw_text(pixels, text, scale),
    }
}

fn draw_text(pixels: &mut Pixmap, text: &Text, scale: Transform) {
    let Text { content, at: Point(x, y), size, anchor, colour, is_upright } = text;
    let Some(outlines) = font::outlines(content, *size) else { return };
    let before = match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => 0.5,
        Anchor::End => 1.0,
    };
    let place = scale
        .pre_translate(*x as f32, *y as f32)
        .pre_concat(Transform::from_rotate(if *is_upright { -90.0 } else { 0.0 }))
        .pre_translate((-before * font::width(content, *size)) as f32, 0.0);
    pixels.fill_path(&outlines, &paint(*colour, 1.0), FillRule::Winding, place, None);
}

fn paint(Colour(r, g, b): Colour, opacity: f64) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, (opacity * 255.0).round() as u8);
    paint
}

fn path(lines: &[Vec<Point>]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for points in lines {
        for (place, Point(x, y)) in points.iter().enumerate() {
            let (x, y) = (*x as f32, *y as f32);
            if place == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
        }
    }
    path.finish()
}
