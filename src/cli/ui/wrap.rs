//! Text that is broken between words.

use std::fmt::Write;
use std::mem;

use clap::builder::styling::Style;
use unicode_width::UnicodeWidthStr;

use super::output;

/// A part of a text with its style.
///
/// It stays in one line, unless it is wider than that.
pub(in crate::cli) type Piece = (Style, String);

/// The words of a text without style, as pieces that may be separated.
pub(in crate::cli) fn words(text: &str) -> impl Iterator<Item = Piece> {
    text.split(' ').map(|word| (Style::new(), word.to_owned()))
}

/// Prints a text, broken into lines. Those after the first are indented by two more characters than the first.
pub(in crate::cli) fn print(text: &str, width: usize) {
    let indent = text.len() - text.trim_start_matches(' ').len() + 2;
    for line in lines(words(text), width, indent) {
        output::line(&line);
    }
}

/// Puts pieces with a blank between them into lines of at most `width` characters.
///
/// A line is wider if a word is. The lines after the first start with `indent` blanks.
pub(in crate::cli) fn lines(pieces: impl IntoIterator<Item = Piece>, width: usize, indent: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    // How wide the line is, and whether that is more than its indent.
    let (mut used, mut has_words) = (0, false);
    for (style, text) in pieces {
        let is_whole = text.width() <= width.saturating_sub(indent);
        for word in if is_whole { vec![&*text] } else { text.split(' ').collect() } {
            let mut gap = usize::from(has_words);
            if has_words && used + gap + word.width() > width {
                lines.push(mem::replace(&mut line, " ".repeat(indent)));
                (used, gap, has_words) = (indent, 0, false);
            }
            // A string takes everything.
            let _ = write!(line, "{:gap$}{style}{word}{style:#}", "");
            used += gap + word.width();
            has_words |= lines.is_empty() || !word.is_empty();
        }
    }
    lines.push(line);
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use clap::builder::styling::AnsiColor;

    use super::*;

    #[test]
    fn a_text_is_broken_between_words_at_any_width() {
        let text =
            "  2026-01-31 12:00:00Z  every 1 day, 30 times (level 2), https://a-long-word.example.org/ at its end";
        for width in 1..120 {
            let lines = lines(words(text), width, 4);
            assert!(
                lines.iter().all(|line| line.width() <= width || line.trim().split(' ').count() == 1),
                "{lines:#?}"
            );
            assert!(
                lines[1..].iter().all(|line| line.starts_with("    ") && !line[4..].starts_with(' ')),
                "{lines:#?}"
            );
            assert_eq!(
                lines.join(" ").split_whitespace().collect::<Vec<_>>(),
                text.split_whitespace().collect::<Vec<_>>()
            );
        }
        assert_eq!(lines(words(text), 120, 4), [text]);
        assert_eq!(lines(words(""), 80, 2), [""]);
    }

    #[test]
    fn a_piece_stays_in_one_line_and_its_style_takes_no_room() {
        let bold = Style::new().bold();
        let pieces = [(bold, "12 new,"), (AnsiColor::Red.on_default(), "3 given up"), (bold, "漢字 4")];
        let lines = |width| lines(pieces.map(|(style, text)| (style, text.to_owned())), width, 1);
        assert_eq!(lines(18), ["\u{1b}[1m12 new,\u{1b}[0m \u{1b}[31m3 given up\u{1b}[0m", " \u{1b}[1m漢字 4\u{1b}[0m"]);
        let plain = |width| lines(width).into_iter().map(|line| line.replace("\u{1b}[1m", "").replace("\u{1b}[0m", ""));
        assert_eq!(plain(17).next().as_deref(), Some("12 new,"));
        assert_eq!(plain(6).take(2).collect::<Vec<_>>(), ["12", " new,"]);
    }
}
