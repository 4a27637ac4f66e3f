//! What the demo prints.

use std::path::Path;

use super::sites::Group;
use crate::cli::error::Result;
use crate::cli::simulation::Simulation;
use crate::cli::ui::table::Table;
use crate::cli::ui::{output, terminal, time, wrap};
use crate::model::{CxnId, UnixTime};
use crate::retry::{Policy, State};
use crate::run::Summary;
use crate::store::RunRecord;
use crate::util::text::{count, shell_quoted};

/// What the demo reports about.
pub(super) struct Report<'a> {
    pub(super) groups: &'a [Group],
    pub(super) simulation: &'a Simulation,
    pub(super) policy: &'a Policy,
    /// The time of the last run.
    pub(super) now: UnixTime,
}

impl Report<'_> {
    /// Prints what is simulated, and the header of the lines of runs.
    pub(super) fn begin(&self) {
        let sites: u32 = self.groups.iter().map(|group| group.count).sum();
        let (sites, addr) = (count(sites.into(), "simulated site"), self.simulation.server().addr());
        print(&format!("Serving {sites} on {addr}."));
        print("Polling them as cron would, every 20 minutes of a simulated clock,");
        print(&format!("with --retry '{}':", self.policy));
        output::line("\nRUN AT    DUE     OK  FAILED    TOOK");
        output::flush();
    }

    /// Prints what became of the sites. The first of each group stands for all.
    pub(super) fn end(&self, keeps: bool) -> Result<()> {
        let mut table = Table::new(["SITES THAT", "SITES", "POLLS", "STATE", "NEXT POLL", "FAILURE"]);
        for group in self.groups {
            let status = self.simulation.status(group.first)?;
            let polls: u64 = group.numbers().map(|site| self.simulation.server().polls(site)).sum();
            let next = self.policy.next_due_of_status(&status);
            table.add(&[
                group.label.to_owned(),
                group.count.to_string(),
                polls.to_string(),
                self.policy.state(&status, false, self.now).name().to_owned(),
                next.map_or_else(|| "never".to_owned(), |due| time::relative(due.max(self.now), self.now)),
                status.last_failure.map_or_else(String::new, |(_, failure)| failure.class.to_string()),
            ]);
        }
        output::line("");
        table.print()?;
        if !keeps {
            output::line("");
            print("Nothing was kept. To look around in the store afterwards: cxnpoll demo --keep");
        }
        Ok(())
    }

    /// Returns a connection that is worth a look: of a site that fails, if there is one.
    pub(super) fn example(&self) -> Result<Option<&CxnId>> {
        for group in self.groups {
            let status = self.simulation.status(group.first)?;
            if self.policy.state(&status, false, self.now) == State::Retrying {
                return Ok(self.simulation.cxn_id(group.first));
            }
        }
        Ok(self.simulation.cxn_id(0))
    }
}

/// Prints a sentence, broken between words if the terminal is too narrow for it.
fn print(text: &str) {
    wrap::print(text, terminal::width().unwrap_or(usize::MAX));
}

/// Prints the figures of a run.
pub(super) fn run(summary: &Summary) {
    let RunRecord { now, due, ok, failed, elapsed_ms, .. } = &summary.run;
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let seconds = *elapsed_ms as f64 / 1e3;
    // Hours and minutes in UTC.
    let time = now.rem_euclid(86_400) / 60;
    output::line(&format!("{:02}:{:02}Z  {due:>5}  {ok:>5}  {failed:>6}  {seconds:>4.1} s", time / 60, time % 60));
    output::flush();
}

/// Prints where the store was kept, and what can be done with it.
pub(super) fn kept(path: &Path, example: Option<&CxnId>) {
    let path = shell_quoted(path);
    output::line("\nThe store was kept. Look around in it:\n");
    output::line(&format!("  cxnpoll --store {path} status"));
    output::line(&format!("  cxnpoll --store {path} get --state retrying"));
    if let Some(cxn_id) = example {
        output::line(&format!("  cxnpoll --store {path} explain {cxn_id}"));
    }
    output::line(&format!("  rm -r {path}"));
}
