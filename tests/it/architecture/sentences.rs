//! The first sentence of each doc comment is short.

use super::rules::Breach;
use super::scan::{Kind, tokens};

/// The longest first sentence, in characters as they are displayed.
pub const MAX_CHARS: usize = 100;

/// The first sentences of a file that are too long.
pub fn too_long(file: &str, text: &str) -> Vec<Breach> {
    let breach = |(line, comment): (usize, String)| {
        let length = displayed(first_sentence(&comment)).chars().count();
        let message =
            || format!("the first sentence has {length} characters, more than {MAX_CHARS}; put details after it");
        (length > MAX_CHARS).then(|| Breach { file: file.to_owned(), line, message: message() })
    };
    first_paragraphs(text).into_iter().filter_map(breach).collect()
}

/// The first paragraph of each doc comment of lines, with the number of its first line.
fn first_paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    // The marker and the number of the last line of a doc comment, and whether its first paragraph goes on.
    let mut last = ("", 0, false);
    for token in tokens(text) {
        let doc = (token.kind == Kind::Comment).then(|| doc_line(&token.text)).flatten();
        let Some((marker, line)) = doc else { continue };
        let continues = last.0 == marker && last.1 + 1 == token.line;
        let in_paragraph = !line.is_empty() && (!continues || last.2);
        if !continues {
            paragraphs.push((token.line, line.to_owned()));
        } else if in_paragraph && let Some((_, paragraph)) = paragraphs.last_mut() {
            paragraph.push(' ');
            paragraph.push_str(line);
        }
        last = (marker, token.line, in_paragraph);
    }
    paragraphs
}

/// The marker of a line of a doc comment and the text after it; `None` for other comments.
fn doc_line(comment: &str) -> Option<(&'static str, &str)> {
    let marker = ["///", "//!"].into_iter().find(|marker| comment.starts_with(marker))?;
    let text = &comment[marker.len()..];
    (!text.starts_with('/')).then(|| (marker, text.trim()))
}

/// The text up to the first end of a sentence.
fn first_sentence(text: &str) -> &str {
    // Clap appends defaults to the help of an option.
    let text = text.split(" [default: ").next().unwrap_or(text);
    let end = text.match_indices(['.', '!', '?']).find(|(at, _)| text[at + 1..].starts_with(' '));
    end.map_or(text, |(at, _)| &text[..=at])
}

/// The text without the targets of its links.
fn displayed(sentence: &str) -> String {
    let mut parts = sentence.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "]" + part.split_once(')').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        too_long("a.rs", text).into_iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn one_hundred_characters_are_the_limit() {
        let sentence = |length: usize| "é".repeat(length - 1) + ".";
        let text = format!("//! {}\n\n/// {}\nfn f() {{}}\n// {}", sentence(100), sentence(101), sentence(200));
        assert_eq!(lines(&text), [3]);
    }

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        let half = "x".repeat(60);
        assert_eq!(lines(&format!("/// {half}\n/// {half}")), [1]);
        assert_eq!(lines(&format!("/// {half}\n///\n/// {half}")), [0; 0]);
        assert_eq!(lines(&format!("/// {half}.\n/// {half} {half}")), [0; 0]);
        assert_eq!(lines(&format!("/// {half}\na: u8,\n/// {half}")), [0; 0]);
        assert_eq!(lines(&format!("//! {half}\n/// {half}")), [0; 0]);
    }

    #[test]
    fn targets_of_links_and_defaults_of_options_are_not_counted() {
        let long = "x".repeat(80);
        assert_eq!(lines(&format!("/// See [`A`](crate::{long}).")), [0; 0]);
        assert_eq!(lines(&format!("/// Directory [default: {long}]")), [0; 0]);
        assert_eq!(lines(&format!("/// See [`A`](crate::{long}) {long}.")), [0; 0]);
        assert_eq!(lines(&format!("/// See [`{long}`](A) {long}.")), [1]);
    }
}
