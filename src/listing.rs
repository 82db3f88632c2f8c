//! Tables for people.

use comfy_table::{CellAlignment, Table, presets};

pub(crate) use comfy_table::CellAlignment::{Left, Right};

use crate::plot::legible;
use crate::swarm::report::{Colour, DIM};

/// Lines of columns as wide as their widest cells, under a head that says what they are and to which side they are
/// aligned. Cells may be words of peers: what would steer a terminal is replaced.
pub(crate) fn listing<R: IntoIterator<Item = String>>(
    colour: Colour,
    columns: &[(&str, CellAlignment)],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let cells = |row: R| row.into_iter().map(|cell| legible(&cell)).collect::<Vec<_>>();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(head, _)| legible(head)));
    table.add_rows(rows.into_iter().map(cells));
    for (column, (_, side)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2)).set_cell_alignment(*side);
    }
    let mut text = String::new();
    for (place, line) in table.lines().enumerate() {
        let line = line.trim_end().to_owned();
        text += &if place == 0 { colour.paint(DIM, line) } else { line };
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_content_and_steer_no_terminal() {
        let rows = [["a-name-longer-than-most", "7", ""], ["漢字", "12345", "\u{1b}[2J\n\u{202e}x"]];
        let text = listing(
            Colour::Plain,
            &[("name", Left), ("pid", Right), ("note", Left)],
            rows.map(|row| row.map(str::to_owned)),
        );
        let expected = "\
name                       pid  note
a-name-longer-than-most      7
漢字                     12345  \u{fffd}[2J\u{fffd}\u{fffd}x
";
        assert_eq!(text, expected);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_head_is_dimmed_where_there_are_colours() {
        let text = listing(Colour::Ansi, &[("name", Left)], [["hub".to_owned()]]);
        assert_eq!(text, "\u{1b}[2mname\u{1b}[0m\nhub\n");
    }
}
