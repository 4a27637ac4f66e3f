//! `cxnpoll retry`: the timeline of a retry expression.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::Result;
use crate::cli::ui::table::Table;
use crate::cli::ui::{output, time};
use crate::exit;
use crate::retry::{Policy, Timeline, Times, warnings};

/// Show the timeline of a retry expression
///
/// The timeline shows when a site that always fails is polled, and when it is given up.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll retry '20min (x6); 1hour (x24); 1day (x30)'")]
pub(in crate::cli) struct Retry {
    /// Retry expression
    #[arg(value_name = "EXPR")]
    retry: Policy,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The width of the drawing, in cells.
const WIDTH: usize = 72;
/// The most polls of one level that are drawn.
const SAMPLE: u32 = 10_000;

impl Retry {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let timeline = Timeline::new(&self.retry, context.started);
        if self.json {
            output::json(&self.to_json(&timeline));
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
                "times": match step.times { Times::Count(times) => Some(times), Times::Forever => None },
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

    /// Draws when a failing site is polled, on a logarithmic scale.
    ///
    /// Each poll is the number of its level, and `×` is where the site is given up. Below are the starts of the levels.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a drawing of 70 cells"
    )]
    fn draw(&self, timeline: &Timeline) {
        let Some(unit) = self.retry.levels().first().map(|level| level.period.mean_seconds() as f64) else {
            return;
        };
        let last_first = timeline.steps.last().map_or(0, |step| step.first);
        let end = timeline.gives_up_after.unwrap_or(last_first.saturating_mul(4)).max(1) as f64;
        let cell = |at: i64| ((at as f64 / unit).ln_1p() / (end / unit).ln_1p() * (WIDTH - 2) as f64) as usize;
        let mut cells = vec![' '; WIDTH];
        let mut labels = String::new();
        for (step, rule) in timeline.steps.iter().zip(self.retry.levels()) {
            let digit = char::from_digit(step.level.min(9), 10).unwrap_or('9');
            // No more polls than fit in the drawing; of very many, a sample.
            let room = (((end - step.first as f64) / rule.period.mean_seconds() as f64) as u32).saturating_add(1);
            let attempts = match step.times {
                Times::Count(times) => times.get().min(room),
                Times::Forever => room,
            };
            for number in (0..attempts).step_by(attempts.div_ceil(SAMPLE) as usize) {
                let position = cell(rule.period.after_times(step.first, number));
                cells[position.min(WIDTH - 2)] = digit;
            }
            let label = if step.first == 0 { "0".to_owned() } else { time::duration(step.first) };
            let position = cell(step.first).min(WIDTH);
            if labels.is_empty() || labels.chars().count() + 1 < position {
                labels.extend(std::iter::repeat_n(' ', position.saturating_sub(labels.chars().count())));
                labels.push_str(&label);
            }
        }
        cells[WIDTH - 1] = if timeline.gives_up_after.is_some() { '×' } else { '…' };
        if let Some(seconds) = timeline.gives_up_after {
            let label = time::duration(seconds);
            let position = WIDTH.saturating_sub(label.chars().count());
            if labels.chars().count() + 1 < position {
                labels.extend(std::iter::repeat_n(' ', position - labels.chars().count()));
                labels.push_str(&label);
            }
        }
        output::line(&cells.into_iter().collect::<String>());
        output::line(&labels);
    }

    fn print(&self, timeline: &Timeline) -> Result<()> {
        output::line(&format!("{}\n", self.retry));
        let mut table = Table::new(["LEVEL", "EVERY", "FAILURES", "FIRST AFTER", "LAST AFTER"]);
        for (step, rule) in timeline.steps.iter().zip(self.retry.levels()) {
            let failures = match step.times {
                Times::Count(times) => times.to_string(),
                Times::Forever => "no end".to_owned(),
            };
            table.add(&[
                step.level.to_string(),
                rule.period.to_string(),
                failures,
                time::duration(step.first),
                step.last.map_or_else(|| "-".to_owned(), time::duration),
            ]);
        }
        table.print()?;
        output::line("");
        self.draw(timeline);
        output::line("");
        let first = self.retry.levels().first().map(|level| level.period.to_string()).unwrap_or_default();
        output::line(&format!("A healthy site is polled every {first}."));
        output::line(&match timeline.gives_up_after {
            Some(seconds) => {
                format!("A site that fails is given up {} after its first failure.", time::duration(seconds))
            }
            None => "A site that fails is never given up.".to_owned(),
        });
        for warning in warnings(&self.retry) {
            output::line(&format!("Warning: {warning}."));
        }
        Ok(())
    }
}
