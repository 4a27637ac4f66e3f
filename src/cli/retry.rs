//! `cxnpoll retry`: the timeline of a retry expression.

use clap::Args;
use serde_json::{Value, json};

use super::{Context, output};
use crate::error::Result;
use crate::exit;
use crate::retry::{Policy, Timeline, Times, warnings};

/// Show when a site that fails from the start is polled, and when it is given up
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll retry '20min (x6); 1hour (x24); 1day (x30)'")]
pub(super) struct Retry {
    /// The expression
    #[arg(value_name = "EXPR")]
    retry: Policy,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Retry {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let timeline = Timeline::new(&self.retry, context.started);
        if self.json {
            output::json(&self.to_json(&timeline))?;
        } else {
            self.print(&timeline)?;
        }
        Ok(exit::OK)
    }

    fn to_json(&self, timeline: &Timeline) -> Value {
        let steps = timeline.steps.iter().zip(self.retry.levels());
        let level = |(step, rule): (&crate::retry::Step, &crate::retry::Level)| {
            json!({
                "level": step.level,
                "period": rule.period.to_string(),
                "times": match step.attempts { Times::Count(times) => Some(times), Times::Forever => None },
                "first": step.first,
                "last": step.last,
            })
        };
        json!({
            "retry": self.retry.to_string(),
            "levels": steps.map(level).collect::<Value>(),
            "givesUpAfter": timeline.gives_up_after,
            "warnings": warnings(&self.retry),
        })
    }

    fn print(&self, timeline: &Timeline) -> Result<()> {
        output::line(&format!("{}\n", self.retry))?;
        let mut table = output::table(&["LEVEL", "EVERY", "FAILURES", "FIRST AFTER", "LAST AFTER"]);
        for (step, rule) in timeline.steps.iter().zip(self.retry.levels()) {
            let failures = match step.attempts {
                Times::Count(times) => times.to_string(),
                Times::Forever => "no end".to_owned(),
            };
            table.add_row([
                step.level.to_string(),
                rule.period.to_string(),
                failures,
                output::duration(step.first),
                step.last.map_or_else(|| "-".to_owned(), output::duration),
            ]);
        }
        output::print_table(&mut table)?;
        output::line("")?;
        let first = self.retry.levels().first().map(|level| level.period.to_string()).unwrap_or_default();
        output::line(&format!("A healthy site is polled every {first}."))?;
        output::line(&match timeline.gives_up_after {
            Some(seconds) => {
                format!("A site that fails is given up {} after its first failure.", output::duration(seconds))
            }
            None => "A site that fails is never given up.".to_owned(),
        })?;
        warnings(&self.retry).iter().try_for_each(|warning| output::line(&format!("Warning: {warning}.")))
    }
}
