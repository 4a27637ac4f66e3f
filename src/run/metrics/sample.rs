//! The lines of a metrics file, as far as this program writes them.

use std::collections::BTreeMap;

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// The metric.
    pub(super) name: String,
    /// Its labels.
    pub(super) labels: BTreeMap<String, String>,
    /// The value, which is finite and not negative.
    pub(super) value: f64,
}

/// The largest number up to which a value counts without gaps.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

fn is_count(value: f64) -> bool {
    value.fract() == 0.0 && value < MAX_COUNT
}

/// The samples of a former file.
#[derive(Debug, Default)]
pub(super) struct Former(pub(super) Vec<Sample>);

impl Former {
    /// The value of a metric; if it has a label of its own, for this value of it.
    pub(super) fn get(&self, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
        let has_label = |sample: &Sample| match label {
            Some((key, value)) => sample.labels.get(key).is_some_and(|found| found == value),
            None => true,
        };
        self.0.iter().find(|sample| sample.name == name && has_label(sample)).map(|sample| sample.value)
    }

    /// The value of a counter; 0 if there is none.
    pub(super) fn count(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        self.get(name, label).filter(|value| is_count(*value)).unwrap_or(0.0)
    }

    /// The value of a counter; `None` if there is none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^53")]
    pub(super) fn integer(&self, name: &str, label: Option<(&str, &str)>) -> Option<u64> {
        self.get(name, label).filter(|value| is_count(*value)).map(|value| value as u64)
    }

    /// The values of a metric's label.
    pub(super) fn labels<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
        let samples = self.0.iter().filter(move |sample| sample.name == name);
        samples.filter_map(move |sample| sample.labels.get(label)).map(String::as_str)
    }
}

/// Reads the samples of a text. What is cut, damaged or of another program is left out.
pub(super) fn parse(text: &str) -> Vec<Sample> {
    // A line without an end may have been cut.
    text.split_inclusive('\n').filter_map(|line| sample(line.strip_suffix('\n')?)).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (name, mut rest) = line.split_once('{')?;
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (label, value) = rest.split_once("=\"")?;
        let (value, behind) = unescape(value)?;
        labels.insert(label.to_owned(), value);
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    let value = rest.strip_prefix("} ")?.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| Sample { name: name.to_owned(), labels, value })
}

/// The value of a label up to its closing quote, and what follows.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            (_, plain) => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_unescaped() {
        let samples = parse("# HELP a b\na_total{app=\"x\",job=\"q\\\"u\\\\o\\nte}, \"} 12\nb{} 0.5\n");
        assert_eq!((samples[0].name.as_str(), samples[0].value), ("a_total", 12.0));
        assert_eq!((samples[0].labels["app"].as_str(), samples[0].labels["job"].as_str()), ("x", "q\"u\\o\nte}, "));
        assert_eq!((samples[1].name.as_str(), samples[1].labels.len(), samples[1].value), ("b", 0, 0.5));
    }

    #[test]
    fn damaged_lines_are_left_out() {
        for line in
            ["a 1", "a{ 1", "a{} ", "a{} x", "a{} NaN", "a{} +Inf", "a{} -1", "a{b=\"c} 1", "a{b=\"c\"}1", "{} 1"]
        {
            assert_eq!(parse(&format!("{line}\n")), [], "{line}");
        }
        assert_eq!(parse("a{} 12"), [], "cut from 1234");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(a[{]|b=\"|[\\\\]|\"|,|[}]| 1|\n|é){0,40}") {
            parse(&text);
        }
    }
}
