//! The cases as the file describes them.

use serde::Deserialize;

/// One poll of one site.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Groups the cases of one cause.
    pub kind: String,
    /// Says in one sentence what happens.
    pub about: String,
    /// What the site sends on each connection; the last one is for all further connections too.
    pub replies: Vec<String>,
    #[serde(default = "default_site")]
    pub site: String,
    #[serde(default)]
    pub when: When,
    #[serde(default)]
    pub then: Then,
    /// The minimum size of the request's body; 0 is any size.
    #[serde(default)]
    pub request_bytes: usize,
    /// Whether the site listens in TLS too.
    #[serde(default)]
    pub tls: bool,
    #[serde(default = "default_retry")]
    pub retry: String,
    pub expect: Expect,
}

fn default_site() -> String {
    "{base}/civicrm/cxn/api".to_owned()
}

fn default_retry() -> String {
    "1 sec (x1000)".to_owned()
}

/// How much of the request the site reads before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    #[default]
    Request,
    Head,
    Accept,
}

/// What the site does after its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    #[default]
    Close,
    Reset,
    Hold,
    Cut,
}

/// What the program must make of the replies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// `ok`, or classes of failure.
    pub outcome: Vec<String>,
    /// Of each list one text must be in the message, in upper or lower case.
    #[serde(default)]
    pub message_contains: Vec<Vec<String>>,
    #[serde(default)]
    pub message_lacks: Vec<String>,
    /// The number of connections that the site accepts.
    pub requests: Option<usize>,
    pub paths: Option<Vec<String>>,
    /// The seconds from the start of the run to the next poll of a deferred site.
    pub deferral_s: Option<i64>,
    pub counted: Option<bool>,
    /// The new siteUrl that `explain` suggests; an empty text is none.
    pub suggests: Option<String>,
}

/// Reads all cases.
pub fn all() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Case>,
    }
    serde_json::from_str::<File>(include_str!("../../../fixtures/network.json")).unwrap().cases
}
