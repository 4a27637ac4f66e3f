//! Batches: equal shares of the batch codes, so that several runs can divide the sites among them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::model::BatchCode;
use crate::util::text::parse_digits;

/// One batch, `id/count`: the share `id`, counted from 0, of `count` equal shares of the batch codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The index of the share, 0 to `count - 1`.
    id: u16,
    /// The number of shares, 1 to 10000.
    count: u16,
}

/// Text that is not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid batch {text:?}: expected ID/COUNT, a count from 1 to 10000 and an id from 0 to one less, such as 0/4")]
pub struct InvalidBatch {
    /// The text.
    pub text: String,
}

impl Batch {
    /// The batch codes of this batch.
    ///
    /// With `size = 10000 / count`, batch `id` covers `[id*size, (id+1)*size - 1]`. The last batch ends at 10000.
    #[must_use]
    pub fn range(self) -> RangeInclusive<BatchCode> {
        let size = BatchCode::MAX.get() / self.count;
        // (id + 1) * size <= count * size <= 10000, so neither code is out of range.
        let code = |number| BatchCode::try_from(number).expect("at most 10000");
        let last = if self.id + 1 == self.count { BatchCode::MAX } else { code((self.id + 1) * size - 1) };
        code(self.id * size)..=last
    }
}

impl Default for Batch {
    /// `0/1`: all sites.
    fn default() -> Self {
        Self { id: 0, count: 1 }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.count)
    }
}

impl FromStr for Batch {
    type Err = InvalidBatch;

    fn from_str(text: &str) -> Result<Self, InvalidBatch> {
        text.split_once('/')
            .and_then(|(id, count)| Some(Self { id: parse_digits(id)?, count: parse_digits(count)? }))
            .filter(|batch| batch.id < batch.count && batch.count <= BatchCode::MAX.get())
            .ok_or_else(|| InvalidBatch { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn codes(batch: Batch) -> (u16, u16) {
        let range = batch.range();
        (range.start().get(), range.end().get())
    }

    #[test]
    fn reference_ranges() {
        let cases: Value = serde_json::from_str(include_str!("../fixtures/reference-cases.json")).unwrap();
        for (text, first, last) in
            serde_json::from_value::<Vec<(String, u16, u16)>>(cases["batchRanges"].clone()).unwrap()
        {
            let batch: Batch = text.parse().unwrap();
            assert_eq!(codes(batch), (first, last), "{text}");
            assert_eq!(batch.to_string(), text);
        }
    }

    #[test]
    fn default_is_everything() {
        assert_eq!(Batch::default(), "0/1".parse().unwrap());
        assert_eq!(codes(Batch::default()), (0, 10_000));
    }

    #[test]
    fn id_and_count_are_those_of_the_text() {
        let batch: Batch = "3/7".parse().unwrap();
        assert_eq!((batch.id, batch.count), (3, 7));
    }

    #[test]
    fn what_is_not_a_batch() {
        for text in [
            "",
            "/",
            "1",
            "0/",
            "/1",
            "0/0",
            "1/1",
            "4/3",
            "0/10001",
            "-1/3",
            "+1/3",
            "0/+3",
            "0/3/1",
            " 0/3",
            "0 / 3",
            "0/3\n",
            "0x0/3",
            "0.5/3",
            "a/b",
            "٠/٣",
            "0/65537",
            "65536/3",
            "0/99999999999999999999",
        ] {
            assert!(text.parse::<Batch>().is_err(), "{text:?}");
        }
        assert_eq!(
            "3/3".parse::<Batch>().unwrap_err().to_string(),
            "invalid batch \"3/3\": expected ID/COUNT, a count from 1 to 10000 and an id from 0 to one less, such as 0/4"
        );
    }

    proptest! {
        #[test]
        fn batches_of_a_count_cover_each_code_once(count in 1_u16..=10_000) {
            let mut next = 0;
            for id in 0..count {
                let (first, last) = codes(Batch { id, count });
                prop_assert_eq!(first, next);
                prop_assert!(first <= last);
                next = last + 1;
            }
            prop_assert_eq!(next, 10_001);
        }
    }
}
