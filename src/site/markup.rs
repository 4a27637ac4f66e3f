//! What a person reads of a page: its title, or its text without tags.

use html_escape::decode_html_entities;

/// Tags that do not separate words.
const INLINE: [&str; 10] = ["a", "abbr", "b", "code", "em", "font", "i", "span", "strong", "u"];

/// Elements whose content is not text.
const HIDDEN: [&str; 2] = ["script", "style"];

/// A piece of a page.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// A tag without its angle brackets, a comment, or a declaration.
    Tag(&'a str),
}

/// Splits a page, which may be cut off anywhere, into pieces. The content of scripts and styles is left out.
fn pieces(mut page: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let starts_tag = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        let is_tag = |at: usize| starts_tag(&page[at + 1..]);
        let end = match page.match_indices('<').map(|(at, _)| at).find(|at| is_tag(*at)) {
            None if page.is_empty() => return None,
            None => page.len(),
            Some(at) => at,
        };
        if end > 0 {
            let (text, rest) = page.split_at(end);
            page = rest;
            return Some(Piece::Text(text));
        }
        let close = if page.starts_with("<!--") { "-->" } else { ">" };
        let (tag, rest) = page[1..].split_once(close).unwrap_or((&page[1..], ""));
        let hidden = HIDDEN.into_iter().find(|name| is_named(tag, name));
        page = hidden.map_or(rest, |name| &rest[end_tag(rest, name).unwrap_or(rest.len())..]);
        Some(Piece::Tag(tag))
    })
}

/// Whether a tag has this name in any case, with or without attributes. The name of an end tag begins with a slash.
fn is_named(tag: &str, name: &str) -> bool {
    let (Some(start), Some(rest)) = (tag.get(..name.len()), tag.get(name.len()..)) else { return false };
    start.eq_ignore_ascii_case(name) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
}

/// Where the end tag of this name begins.
fn end_tag(page: &str, name: &str) -> Option<usize> {
    page.match_indices("</").map(|(at, _)| at).find(|at| is_named(&page[at + 2..], name))
}

/// The title of a page, of which the end may be missing; `None` if it has none, or an empty one.
pub(super) fn title(page: &str) -> Option<String> {
    let mut pieces = pieces(page);
    pieces.find(|piece| matches!(piece, Piece::Tag(tag) if is_named(tag, "title")))?;
    let title = pieces.map_while(|piece| match piece {
        Piece::Tag(tag) if is_named(tag, "/title") => None,
        Piece::Tag(_) => Some(""),
        Piece::Text(text) => Some(text),
    });
    let title = decoded(&title.collect::<String>());
    (!title.trim().is_empty()).then_some(title)
}

/// The text of a page without its tags.
pub(super) fn text(page: &str) -> String {
    let text = pieces(page).map(|piece| match piece {
        Piece::Text(text) => text,
        Piece::Tag(tag) if INLINE.iter().any(|name| is_named(tag.trim_start_matches('/'), name)) => "",
        Piece::Tag(_) => " ",
    });
    decoded(&text.collect::<String>())
}

fn decoded(text: &str) -> String {
    decode_html_entities(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_title_is_found_however_it_is_written() {
        for (page, expected) in [
            ("<html><head><title>Log In</title></head>", Some("Log In")),
            ("<HTML><TITLE data-rh=\"true\">\nMembers area\nclosed\n</TITLE>", Some("\nMembers area\nclosed\n")),
            ("<title\n>a</title\n>b", Some("a")),
            ("<title>Fatal error", Some("Fatal error")),
            ("<title>a &amp; b &lt;c&gt; &#8211; &#x27;d&#39; &nope; &", Some("a & b <c> – 'd' &nope; &")),
            ("<title>1 < 2</title>", Some("1 < 2")),
            ("<!-- <title>old</title> --><title>new</title>", Some("new")),
            ("<script>'<title>x</title>'</script><title>y</title>", Some("y")),
            ("<?xml version=\"1.0\"?><rss><title>Blog</title>", Some("Blog")),
            ("<titles>a</titles><title-x>b</title-x>", None),
            ("<title>\n </title>", None),
            ("<title/>", None),
            ("<h1>no</h1>", None),
            ("", None),
        ] {
            assert_eq!(title(page).as_deref(), expected, "{page}");
        }
    }

    #[test]
    fn the_text_of_a_page_has_no_tags_scripts_styles_and_comments() {
        for (page, expected) in [
            ("<br />\n<b>Warning</b>:  Undefined key in <b>/x.php</b>", " \nWarning:  Undefined key in /x.php"),
            ("<h1>Error</h1><p>Sorry", " Error  Sorry"),
            ("<style>b{}</style >a<SCRIPT src=x>b</SCRIPT>c<script>d", "  a  c "),
            ("<!DOCTYPE html><!-- a > b -->c<!-- d", "  c "),
            ("a < b <3 &lt;b&gt; <", "a < b <3 <b> <"),
            ("<a href=", ""),
        ] {
            assert_eq!(text(page), expected, "{page}");
        }
    }

    proptest! {
        #[test]
        fn any_page_is_read_without_a_panic(page in "(</?(title|script|b)[ >]|<!--|-->|[a&;<>é\u{1F600}]){0,30}") {
            let _ = (title(&page), text(&page));
        }
    }
}
