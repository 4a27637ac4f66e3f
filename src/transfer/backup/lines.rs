//! The lines of a backup that are not connections.

use serde::{Deserialize, Serialize};

use crate::model::{AppId, JobName, UnixTime};
use crate::store::{RunOutage, RunRecord};

/// The version of the format that is written.
///
/// Earlier ones are read too: version 1 has no sequence numbers, and both 1 and 2 have no history.
pub const VERSION: u32 = 3;
/// The first version that has history.
pub const FIRST_WITH_HISTORY: u32 = 3;

/// A line that is not a connection.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Line {
    /// The first line. The sequence number is higher than those of all earlier backups.
    Backup { version: u32, at: UnixTime, program: String, sequence: Option<u64> },
    /// A job.
    Job(Box<JobEntry>),
    /// A part of a file of history, in base64. The parts of a file follow each other in their order.
    History { file: String, data: String },
    /// The last line. The checksum is in hexadecimal digits.
    ///
    /// `lacks` is how many entries could not be read. Former builds refuse a backup that has it.
    End {
        cxns: u64,
        sha256: String,
        #[serde(default, skip_serializing_if = "is_zero")]
        lacks: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A job of an app.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobEntry {
    pub app_id: AppId,
    pub job_name: JobName,
    /// The retry expression of its last run.
    pub retry: Option<String>,
    pub last_run: Option<RunRecord>,
    pub outage_since: Option<UnixTime>,
    /// The last runs that ended in an outage. Former builds have none.
    #[serde(default)]
    pub outages: Vec<RunOutage>,
}

impl JobEntry {
    /// The entry as JSON.
    pub fn to_json(&self) -> String {
        // Its keys are text, and its numbers are whole.
        serde_json::to_string(self).expect("an entry is JSON")
    }
}

impl Line {
    /// The text of the line, without its end.
    pub fn to_json(&self) -> String {
        // Serializing fails only for maps whose keys are not text, and there are none.
        serde_json::to_string(self).expect("a line is JSON")
    }
}
