//! Splits Rust source into tokens, precisely enough to find imports, words and module boundaries.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or a keyword; raw identifiers come without `r#`.
    Ident,
    /// A string literal of any sort, without quotes and prefix.
    Text,
    /// A comment or doc comment, with its slashes.
    Comment,
    /// One character of punctuation.
    Punct,
    /// A number, a character or a lifetime.
    Other,
}

/// One token and the line that it starts on, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
}

impl Token {
    /// Whether this is the identifier or keyword `text`.
    pub fn is_word(&self, text: &str) -> bool {
        self.kind == Kind::Ident && self.text == text
    }

    /// Whether this is the punctuation character `c`.
    pub fn is_punct(&self, c: char) -> bool {
        self.kind == Kind::Punct && self.text.starts_with(c)
    }
}

/// Splits a file into its tokens.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1 };
    std::iter::from_fn(|| lexer.next_token()).collect()
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<Token> {
        self.take(self.prefix(char::is_whitespace));
        let first = self.rest.chars().next()?;
        let line = self.line;
        let (kind, text) = if self.rest.starts_with("//") {
            (Kind::Comment, self.take(self.rest.find('\n').unwrap_or(self.rest.len())))
        } else if self.rest.starts_with("/*") {
            (Kind::Comment, self.take(block_comment(self.rest)))
        } else if let Some((start, hashes)) = raw_string(self.rest) {
            self.take(start);
            let end = format!("\"{}", "#".repeat(hashes));
            let text = self.take(self.rest.find(&end).unwrap_or(self.rest.len()));
            self.take(end.len());
            (Kind::Text, text)
        } else if let Some(start) = ["\"", "b\"", "c\""].iter().find(|start| self.rest.starts_with(**start)) {
            self.take(start.len());
            let text = self.take(quoted(self.rest, '"'));
            self.take(1);
            (Kind::Text, text)
        } else if self.rest.starts_with('\'') || self.rest.starts_with("b'") {
            (Kind::Other, self.take(char_or_lifetime(self.rest)))
        } else if first.is_alphabetic() || first == '_' {
            if self.rest.starts_with("r#") {
                self.take(2);
            }
            (Kind::Ident, self.take(self.prefix(is_word_char)))
        } else if first.is_ascii_digit() {
            (Kind::Other, self.take(self.prefix(is_word_char)))
        } else {
            (Kind::Punct, self.take(first.len_utf8()))
        };
        Some(Token { kind, text, line })
    }

    /// The length of what starts `rest` and consists of such characters only.
    fn prefix(&self, is_part: impl Fn(char) -> bool) -> usize {
        self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len())
    }

    fn take(&mut self, length: usize) -> String {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken.to_owned()
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of the opening of a raw string and its number of hashes.
///
/// `None` means that no raw string starts here.
fn raw_string(text: &str) -> Option<(usize, usize)> {
    let prefix = ["br", "cr", "r"].iter().find(|prefix| text.starts_with(**prefix))?;
    let rest = &text[prefix.len()..];
    let hashes = rest.bytes().take_while(|b| *b == b'#').count();
    (rest.as_bytes().get(hashes) == Some(&b'"')).then_some((prefix.len() + hashes + 1, hashes))
}

/// The bytes before the closing quote, where a backslash protects the character after it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal, or of a lifetime's name.
fn char_or_lifetime(text: &str) -> usize {
    let start = text.find('\'').map_or(0, |at| at + 1);
    let mut chars = text[start..].chars();
    let (first, second) = (chars.next(), chars.next());
    if first == Some('\\') || second == Some('\'') {
        start + quoted(&text[start..], '\'') + 1
    } else {
        let rest = &text[start..];
        start + rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str, kind: Kind) -> Vec<String> {
        tokens(source).into_iter().filter(|token| token.kind == kind).map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_hold_no_identifiers() {
        let source = r##"let a = "b // c"; // d "e"
            /* f /* g */ "h" */ let i = r#"j "k" \"#; let l = b"m\"n"; "##;
        assert_eq!(texts(source, Kind::Ident), ["let", "a", "let", "i", "let", "l"]);
        assert_eq!(texts(source, Kind::Text), ["b // c", "j \"k\" \\", "m\\\"n"]);
        assert_eq!(texts(source, Kind::Comment), ["// d \"e\"", "/* f /* g */ \"h\" */"]);
    }

    #[test]
    fn characters_are_distinguished_from_lifetimes() {
        let source = r#"fn f<'a>(x: &'a str) { x != '"' && y == '\'' && z == b'\\' && 'b' != '}' && "c" }"#;
        assert_eq!(texts(source, Kind::Text), ["c"]);
        assert_eq!(texts(source, Kind::Ident), ["fn", "f", "x", "str", "x", "y", "z"]);
        assert_eq!(tokens(source).iter().filter(|token| token.is_punct('}')).count(), 1);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let source = "a\n\"b\nc\"\n/* d\n*/ e\n// f\ng 1_u8.h";
        let lines: Vec<_> = tokens(source).into_iter().map(|token| (token.text, token.line)).collect();
        let expected =
            [("a", 1), ("b\nc", 2), ("/* d\n*/", 4), ("e", 5), ("// f", 6), ("g", 7), ("1_u8", 7), (".", 7), ("h", 7)];
        assert_eq!(lines, expected.map(|(text, line)| (text.to_owned(), line)));
    }

    #[test]
    fn raw_identifiers_lose_their_prefix() {
        assert_eq!(texts("r#type r b", Kind::Ident), ["type", "r", "b"]);
    }
}
