//! `cxnpoll event`: the event that a listener program gets.

use clap::Args;

use crate::batch::Batch;
use crate::cli::context::{Clock, Context};
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::cli::values;
use crate::exit;
use crate::listener::{PollEvent, RunEvent};
use crate::model::{AppId, JobName};

/// Print the event that a listener program gets
///
/// The event is one line of JSON. Pipe it into a program to try that program.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cxnpoll event org.civicrm.myapp --cxn cxn:0123… | ./listener.py\n\nWithout --cxn, it is the event before the first poll of a run."
)]
pub(in crate::cli) struct Event {
    /// App, such as org.civicrm.myapp
    #[arg(value_name = "APP", value_parser = values::app)]
    app: AppId,
    /// Job name
    #[arg(long, value_name = "J", default_value = "default", value_parser = values::job)]
    name: JobName,
    /// Connection of the poll
    #[arg(long, value_name = "ID")]
    cxn: Option<CxnArg>,
    #[command(flatten)]
    clock: Clock,
}

impl Event {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let app = context.app(&store, &self.app)?;
        let now = self.clock.now(context);
        let event = match &self.cxn {
            None => RunEvent::new(&app, &self.name, Batch::default(), now, 0, None).to_json(),
            Some(name) => {
                let cxn = name.load(&store)?;
                if cxn.app_id != app.app_id {
                    let (cxn_id, app_id) = (cxn.cxn_id, cxn.app_id);
                    return Err(Error::OtherApp { cxn_id, app_id, expected: app.app_id });
                }
                PollEvent::new(&app, &self.name, &cxn, now, None, false).to_json()
            }
        };
        output::json_line(&event);
        Ok(exit::OK)
    }
}
