//! Parses retry expressions.

use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use winnow::ModalResult;
use winnow::ascii::digit1;
use winnow::combinator::{alt, cut_err, eof, separated, terminated};
use winnow::error::{ContextError, ErrMode};
use winnow::prelude::*;
use winnow::stream::ContainsToken;
use winnow::token::{one_of, take_while};

use super::{Level, Period, Policy, Times, Unit};

/// Text that is not a retry expression.
///
/// It displays as three lines: what was expected, the expression, and carets below the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid retry expression: expected {expected}\n  {}\n  {}", on_one_line(.text), carets(.text, .span))]
pub struct InvalidRetry {
    /// The expression, unchanged.
    pub text: String,
    /// The bytes of `text` that are wrong, whole characters. Empty where something is missing.
    pub span: Range<usize>,
    /// What was expected there.
    pub expected: &'static str,
}

impl FromStr for Policy {
    type Err = InvalidRetry;

    /// Parses levels separated by `;`, each `<number> <unit> (x<times>)`.
    ///
    /// Units are sec, min, hour, day, week, month and year, their plurals, and second and minute. The last level may be
    /// `(x*)`. Case and ASCII blanks are ignored, and so are empty levels at either end.
    fn from_str(text: &str) -> Result<Self, InvalidRetry> {
        let empty = |c: char| c == ';' || c.is_ascii_whitespace();
        let start = text.len() - text.trim_start_matches(empty).len();
        expression.parse(text[start..].trim_end_matches(empty)).map_err(|error| InvalidRetry {
            text: text.to_owned(),
            span: token_at(text, start + error.offset()),
            // The innermost context comes first. Each parser below that can fail has one.
            expected: error.inner().context().next().copied().unwrap_or_default(),
        })
    }
}

/// An error whose contexts name what was expected.
type Expected = ContextError<&'static str>;
type Parsed<T> = ModalResult<T, Expected>;

fn expression(input: &mut &str) -> Parsed<Policy> {
    let levels = separated(1.., cut_err(level), token(';'));
    terminated(levels, eof.context("';' or the end")).map(|levels| Policy { levels }).parse_next(input)
}

fn level(input: &mut &str) -> Parsed<Level> {
    let period = period.parse_next(input)?;
    token('(').context("a count, as in (x6)").parse_next(input)?;
    token(['x', 'X']).context("'x' and a number, as in (x6)").parse_next(input)?;
    let times = times.parse_next(input)?;
    token(')').context("')'").parse_next(input)?;
    if times == Times::Forever {
        eof.context("the end, since a level of (x*) is never left").parse_next(input)?;
    }
    Ok(Level { period, times })
}

fn period(input: &mut &str) -> Parsed<Period> {
    let number = number.context("a number from 1 to 4294967295, as in 20 min (x6)");
    let unit = terminated(take_while(1.., char::is_alphabetic).verify_map(Unit::from_word), blanks)
        .context("a unit: sec, min, hour, day, week, month or year");
    (number, unit)
        .verify_map(|(number, unit)| Period::new(number, unit))
        .context("a period of at most 10000 years")
        .parse_next(input)
}

fn times(input: &mut &str) -> Parsed<Times> {
    alt((number.map(Times::Count), token('*').value(Times::Forever)))
        .context("a number from 1 to 4294967295, or '*' for no limit")
        .parse_next(input)
}

fn number(input: &mut &str) -> Parsed<NonZeroU32> {
    terminated(digit1.parse_to(), blanks).parse_next(input)
}

/// Parses one character and the blanks after it.
///
/// Blanks are always consumed after a token, so that errors point at the next token.
fn token<'i>(character: impl ContainsToken<char>) -> impl Parser<&'i str, char, ErrMode<Expected>> {
    terminated(one_of(character), blanks)
}

fn blanks(input: &mut &str) -> Parsed<()> {
    take_while(0.., |c: char| c.is_ascii_whitespace()).void().parse_next(input)
}

/// The bytes of the word, number or character at `start`; an empty range at a blank or at the end.
fn token_at(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    let Some(first) = rest.chars().next().filter(|c| !c.is_ascii_whitespace()) else {
        return start..start;
    };
    let same_kind: fn(char) -> bool = match first {
        '0'..='9' => |c| c.is_ascii_digit(),
        _ if first.is_alphabetic() => char::is_alphabetic,
        _ => return start..start + first.len_utf8(),
    };
    start..start + rest.find(|c| !same_kind(c)).unwrap_or(rest.len())
}

/// The text on one line, with one column per character.
fn on_one_line(text: &str) -> String {
    let visible = |c: char| match c {
        _ if c.is_whitespace() => ' ',
        _ if c.is_control() => char::REPLACEMENT_CHARACTER,
        _ => c,
    };
    text.chars().map(visible).collect()
}

fn carets(text: &str, span: &Range<usize>) -> String {
    let indent = text[..span.start].chars().count();
    let width = text[span.clone()].chars().count().max(1);
    format!("{}{}", " ".repeat(indent), "^".repeat(width))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retry::policy::tests::any_policy;

    #[test]
    fn spellings_of_one_expression() {
        for text in [
            "20 min (x6); 1 hour (x24); 1 day (x*)",
            "20min(x6);1hour(x24);1day(x*)",
            " ; ;\t20 MINUTES ( X 6 ) ;\r\n 1 Hours (x024)\u{c};01 day (x *) ",
            "20 mins (x6); 1 hours (x24); 1 days (x*);;",
        ] {
            assert_eq!(
                text.parse::<Policy>().unwrap().to_string(),
                "20 min (x6); 1 hour (x24); 1 day (x*)",
                "{text:?}"
            );
        }
        let units = "1 sec (x1); 1 secs (x1); 1 second (x1); 1 seconds (x1); 1 week (x1); 1 months (x1); 1 year (x1)";
        assert_eq!(
            units.parse::<Policy>().unwrap().to_string(),
            "1 sec (x1); 1 sec (x1); 1 sec (x1); 1 sec (x1); 1 week (x1); 1 month (x1); 1 year (x1)"
        );
    }

    #[test]
    fn errors_point_at_the_wrong_place() {
        let number = "a number from 1 to 4294967295, as in 20 min (x6)";
        let unit = "a unit: sec, min, hour, day, week, month or year";
        let count = "a count, as in (x6)";
        let times = "a number from 1 to 4294967295, or '*' for no limit";
        for (text, expected, expression, carets) in [
            ("", number, "", "^"),
            (" ;; ", number, " ;; ", "    ^"),
            ("week (2x)", number, "week (2x)", "^^^^"),
            ("2xweek", unit, "2xweek", " ^^^^^"),
            ("5 fortnight (x2)", unit, "5 fortnight (x2)", "  ^^^^^^^^^"),
            ("1 s (x2)", unit, "1 s (x2)", "  ^"),
            ("1 (x2)", unit, "1 (x2)", "  ^"),
            ("1.5 hour (x2)", unit, "1.5 hour (x2)", " ^"),
            ("1 día (x2); 1 day", unit, "1 día (x2); 1 day", "  ^^^"),
            ("0 min (x6)", number, "0 min (x6)", "^"),
            ("-1 min (x6)", number, "-1 min (x6)", "^"),
            ("4294967296 sec (x6)", number, "4294967296 sec (x6)", "^^^^^^^^^^"),
            ("10001 year (x6)", "a period of at most 10000 years", "10001 year (x6)", "^^^^^"),
            ("1min", count, "1min", "    ^"),
            ("1 min ; 1 day (x2)", count, "1 min ; 1 day (x2)", "      ^"),
            ("1 min x6", count, "1 min x6", "      ^"),
            ("1 min (6)", "'x' and a number, as in (x6)", "1 min (6)", "       ^"),
            ("1 min (x)", times, "1 min (x)", "        ^"),
            ("1 min (x0)", times, "1 min (x0)", "        ^"),
            ("1 min (x99999999999)", times, "1 min (x99999999999)", "        ^^^^^^^^^^^"),
            ("1 min (x6;", "')'", "1 min (x6;", "         ^"),
            ("1 min (x6  ", "')'", "1 min (x6  ", "         ^"),
            ("1 min (x6) 1 day (x2)", "';' or the end", "1 min (x6) 1 day (x2)", "           ^"),
            ("1 min (x6), 1 day (x2)", "';' or the end", "1 min (x6), 1 day (x2)", "          ^"),
            ("1 min (x6);; 1 day (x2)", number, "1 min (x6);; 1 day (x2)", "           ^"),
            (
                "1 min (x*); 1 day (x2)",
                "the end, since a level of (x*) is never left",
                "1 min (x*); 1 day (x2)",
                "          ^",
            ),
            ("1\tmin\n(x6)\u{1b}[2J", "';' or the end", "1 min (x6)\u{fffd}[2J", "          ^"),
            ("1 ämin (xß)", unit, "1 ämin (xß)", "  ^^^^"),
        ] {
            assert_eq!(
                text.parse::<Policy>().unwrap_err().to_string(),
                format!("invalid retry expression: expected {expected}\n  {expression}\n  {carets}")
            );
        }
    }

    #[test]
    fn the_span_of_an_error_covers_one_token() {
        for (text, span) in [
            ("1min", 4..4),
            ("1 min x6", 6..7),
            ("-1 min (x6)", 0..1),
            ("1 min (x6)、", 10..13),
            ("1 día (x2)", 2..6),
            ("4294967296 sec (x6)", 0..10),
        ] {
            assert_eq!(text.parse::<Policy>().unwrap_err().span, span, "{text}");
        }
    }

    /// Texts that resemble expressions.
    fn almost() -> impl Strategy<Value = String> {
        let parts = [
            "1",
            "20",
            "0",
            "99999999999",
            "min",
            "Hours",
            "month",
            "ß",
            "(",
            "x",
            "X",
            ")",
            ";",
            "*",
            " ",
            "\t",
            "\u{0}",
        ];
        prop_oneof![
            ".*",
            prop::collection::vec(prop::sample::select(parts.to_vec()), 0..20).prop_map(|parts| parts.concat())
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_at_a_place(text in almost()) {
            match text.parse::<Policy>() {
                Ok(policy) => prop_assert_eq!(policy.to_string().parse::<Policy>(), Ok(policy)),
                Err(error) => {
                    prop_assert!(text.get(error.span.clone()).is_some());
                    prop_assert!(!error.expected.is_empty());
                    let message = error.to_string();
                    let lines: Vec<_> = message.lines().collect();
                    prop_assert_eq!(lines.len(), 3);
                    prop_assert!(lines[2].ends_with('^'));
                }
            }
        }

        #[test]
        fn a_printed_expression_is_read_back(policy in any_policy()) {
            prop_assert_eq!(policy.to_string().parse::<Policy>(), Ok(policy));
        }
    }
}
