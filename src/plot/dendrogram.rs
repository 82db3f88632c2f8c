//! A hierarchy of clusters beside the rows that it orders.

use swarm_kernels::correlation::Dendrogram;

use super::axis;
use super::scene::{Anchor, FAINT, MUTED, Point, Rect, Scene, Text};

/// How much room its axis takes below.
const TICK_SIZE: f64 = 9.0;

/// Draws a tree into a rectangle, leaves at its left edge in rows of one height, distances growing to the right.
pub(super) fn draw(scene: &mut Scene, tree: &Dendrogram, area: Rect, measure: &str) {
    let row = area.height / tree.members().max(1) as f64;
    let furthest = tree.joins().last().map_or(0.0, |join| join.distance);
    let furthest = if furthest > 0.0 { furthest } else { 1.0 };
    let x_of = |distance: f64| area.x + area.width * (distance / furthest).clamp(0.0, 1.0);

    let below = area.y + area.height;
    for (distance, label) in axis::ticks(0.0, furthest, 4) {
        let x = x_of(distance);
        scene.line(FAINT, 1.0, vec![Point(x, area.y), Point(x, below + 3.0)]);
        let at = Point(x, below + 5.0 + TICK_SIZE);
        scene.text(Text::new(label, at, TICK_SIZE).anchored(Anchor::Middle).coloured(MUTED));
    }
    let at = Point(area.x + area.width / 2.0, below + 8.0 + 2.2 * TICK_SIZE);
    scene.text(Text::new(measure, at, TICK_SIZE).anchored(Anchor::Middle).coloured(MUTED));

    // Where the line of each cluster begins: its distance, and the middle between those of its two parts.
    let mut ends = vec![Point(area.x, area.y); tree.members()];
    for (place, &leaf) in tree.leaves().iter().enumerate() {
        ends[leaf] = Point(area.x, area.y + (place as f64 + 0.5) * row);
    }
    let mut lines = Vec::new();
    for join in tree.joins() {
        let (Point(x1, y1), Point(x2, y2)) = (ends[join.first], ends[join.second]);
        let x = x_of(join.distance);
        lines.push(vec![Point(x1, y1), Point(x, y1), Point(x, y2), Point(x2, y2)]);
        ends.push(Point(x, (y1 + y2) / 2.0));
    }
    let width = if row >= 8.0 { 1.2 } else { 0.8 };
    scene.shapes.push(super::scene::Shape::Lines(MUTED, width, lines));
}
