//! Tables and wrapped text.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::output;

/// The width of text that adapts to a terminal, in characters.
const WIDTH: u16 = 80;

/// A table that is as wide as its content.
pub(in crate::cli) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

/// A table that breaks its cells into lines where it would be wider than [`WIDTH`].
pub(in crate::cli) fn narrow(header: &[&str]) -> Table {
    let mut table = new(header);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table
}

/// Keeps columns as wide as their content, so that only the others are broken.
pub(in crate::cli) fn keep_whole(table: &mut Table, columns: std::ops::RangeFrom<usize>) {
    for column in table.column_iter_mut().skip(columns.start) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Prints a table without blanks at the ends of its lines.
pub(in crate::cli) fn print(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().for_each(|text| output::line(text.trim_end()));
}

/// Prints a sentence, broken into lines that are indented after the first.
pub(in crate::cli) fn print_wrapped(text: &str) {
    for line in wrap(text) {
        output::line(&line);
    }
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let length = line.chars().count();
        if length > 2 && length + 1 + word.chars().count() > usize::from(WIDTH) {
            lines.push(std::mem::replace(&mut line, format!("   {word}")));
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_broken_between_words() {
        let text = "word ".repeat(40);
        let lines = wrap(text.trim_end());
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(WIDTH)), "{lines:?}");
        assert!(!lines[0].starts_with(' ') && lines[1].starts_with("   word"), "{lines:?}");
        assert_eq!(wrap("one line"), ["one line"]);
        assert_eq!(wrap(""), [""]);
    }
}
