//! Conditions on fields, and the order of their values.

use std::cmp::Ordering;

use serde_json::Value;

use super::field::{Field, field, text};

/// Whether a condition holds, by how the value compares to that of the condition.
type Holds = fn(Ordering) -> bool;

/// The operators. One that begins as another comes first.
const OPERATORS: [(&str, Holds); 6] = [
    ("!=", Ordering::is_ne),
    ("<=", Ordering::is_le),
    (">=", Ordering::is_ge),
    ("=", Ordering::is_eq),
    ("<", Ordering::is_lt),
    (">", Ordering::is_gt),
];

/// A condition: `version<5.51`.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) field: Field,
    holds: Holds,
    value: String,
}

/// Parses a condition.
pub(super) fn condition(given: &str) -> Result<Condition, String> {
    let expected = || "expected FIELD=VALUE, or one of != < <= > >= in place of the =".to_owned();
    let start = given.find(['!', '=', '<', '>']).ok_or_else(expected)?;
    let found = OPERATORS.iter().find(|(operator, _)| given[start..].starts_with(operator));
    let (operator, holds) = found.ok_or_else(expected)?;
    let value = given[start + operator.len()..].trim().to_owned();
    Ok(Condition { field: field(&given[..start])?, holds: *holds, value })
}

impl Condition {
    /// Whether a value meets the condition. A missing value is an empty text, which is neither less nor greater.
    pub(super) fn holds(&self, actual: &Value) -> bool {
        let (text, wanted) = (text(actual), &*self.value);
        if text.is_empty() || wanted.is_empty() {
            let is_equal = text.is_empty() == wanted.is_empty();
            // Only `=` and `!=` answer differently than for both orders.
            return match ((self.holds)(Ordering::Less), (self.holds)(Ordering::Greater)) {
                (false, false) => is_equal,
                (true, true) => !is_equal,
                _ => false,
            };
        }
        let order = match (actual.as_f64(), wanted.parse::<f64>(), Version::of(&text), Version::of(wanted)) {
            (Some(actual), Ok(wanted), ..) => actual.total_cmp(&wanted),
            (_, _, Some(actual), Some(wanted)) => actual.cmp_as_far_as(&wanted),
            _ => (*text).cmp(wanted),
        };
        (self.holds)(order)
    }
}

/// What values are sorted by: numbers, then versions, then other text.
#[derive(Debug, PartialEq, PartialOrd)]
pub(super) enum SortKey {
    Number(f64),
    Version(Version),
    Text(String),
}

impl SortKey {
    /// The key of a value; `None` if there is none.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let text = text(value);
        match (value.as_f64(), Version::of(&text)) {
            _ if text.is_empty() => None,
            (Some(number), _) => Some(Self::Number(number)),
            (None, Some(version)) => Some(Self::Version(version)),
            (None, None) => Some(Self::Text(text)),
        }
    }
}

/// A text that begins with a digit, such as `5.50.1`, in its parts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(Vec<Part>);

/// A part. Text is before numbers: `5.51.beta1` comes before `5.51.0`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number(u128),
}

impl Version {
    /// `None` if the text is none.
    fn of(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let is_of_part = |c: char| c.is_alphanumeric() && c.is_ascii_digit() == first.is_ascii_digit();
            let end = rest.find(|c| !is_of_part(c)).unwrap_or(rest.len());
            let (part, behind) = rest.split_at(end.max(first.len_utf8()));
            rest = behind;
            if first.is_ascii_digit() {
                parts.push(Part::Number(part.parse().unwrap_or(u128::MAX)));
            } else if first.is_alphanumeric() {
                parts.push(Part::Text(part.to_lowercase()));
            }
        }
        Some(Self(parts))
    }

    /// Compares as many parts as the other has. So `5.50.1` is equal to `5.50`, and greater than `5.50.0`.
    fn cmp_as_far_as(&self, other: &Self) -> Ordering {
        let parts = self.0.iter().chain(std::iter::repeat(&Part::Number(0)));
        parts.take(other.0.len()).cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(given: &str, value: &Value) -> bool {
        condition(given).unwrap().holds(value)
    }

    #[test]
    fn versions_are_compared_as_far_as_the_condition_goes() {
        for (given, matching, others) in [
            (
                "version=5.50",
                &["5.50", "5.50.0", "5.50.3", "5.50.beta1", "v5.50.1"][..],
                &["5.5", "5.500", "5.51.0", "5"][..],
            ),
            ("version<5.51", &["5.50.3", "5.9.0", "4.7.31", "5"], &["5.51.0", "5.51.alpha1", "5.75.0", "6.0.0"]),
            ("version<=5.50", &["5.50.3", "5.50", "4.7"], &["5.51.0", "5.100.0"]),
            ("version > 5.50", &["5.51.0", "5.100.1", "6"], &["5.50.9", "5.9.9"]),
            ("version>=5.50.2", &["5.50.2", "5.50.10", "5.51"], &["5.50", "5.50.1"]),
            ("version<5.51.0", &["5.51.beta1", "5.50.9"], &["5.51", "5.51.0"]),
            ("version!=5.50", &["5.51.0", "", "unknown"], &["5.50.0"]),
            ("php<8.1.2", &["7.4.33-1ubuntu2"], &["8.1.2-1ubuntu2.14"]),
            ("version=5.51.BETA1", &["5.51.beta1", "5–51–Beta1"], &["5.51.beta2"]),
            ("version>5.9", &["5.999999999999999999999999999999999999999999"], &["5.8"]),
        ] {
            for text in matching.iter().chain(others) {
                assert_eq!(holds(given, &json!(text)), matching.contains(text), "{given}: {text}");
            }
        }
    }

    #[test]
    fn numbers_and_other_text_are_compared_as_such() {
        assert!(holds("result>9", &json!(42)) && holds("result<3.15", &json!(3.149)) && !holds("result=4", &json!(42)));
        assert!(holds("result>-2", &json!(-1.5)));
        assert!(holds("uf=Drupal8", &json!("Drupal8")) && !holds("uf=Drupal", &json!("Drupal8")));
        assert!(holds("dev=true", &json!(true)) && holds("name=a=b", &json!("a=b")));
    }

    #[test]
    fn a_missing_value_is_an_empty_text_and_in_no_order() {
        for missing in [Value::Null, json!("")] {
            assert!(holds("version=", &missing) && holds("version!=5.50", &missing));
            assert!(!holds("version!=", &missing) && !holds("version=5", &missing));
            assert!(["version<5", "version<=5", "version>=5", "version>="].iter().all(|given| !holds(given, &missing)));
        }
        assert!(holds("version!=", &json!("5")) && !holds("version=", &json!("5")));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for bad in ["version", "=5", "version!5", ""] {
            assert!(condition(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_sort_by_their_parts() {
        let sorted =
            [json!(-1.5), json!(3), json!(20), json!("5.9.0"), json!("5.50.beta1"), json!("5.50.0"), json!("a")];
        let keys: Vec<_> = sorted.iter().map(SortKey::of).collect();
        assert!(
            keys.is_sorted_by(|a, b| a < b) && keys[0].is_some() && SortKey::of(&Value::Null).is_none(),
            "{keys:?}"
        );
    }
}
