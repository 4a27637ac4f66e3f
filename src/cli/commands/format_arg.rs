//! The values of `--format` for files with connections.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::transfer::Format;

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Jsonl => "One JSON object per line",
            Self::Json => "{cxnId: {…}}, as the file store of cxnapp has it",
            Self::Csv => "Comma-separated values with a header",
            Self::Tsv => "Tab-separated, as mysql -B prints cxnapp's tables of connections and poll statuses",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}
