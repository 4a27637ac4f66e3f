//! The content of a case file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// A case, with its placeholders replaced.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Case {
    pub about: String,
    #[serde(default, rename = "seconds")]
    _seconds: IgnoredAny,
    #[serde(default)]
    pub needs: Vec<Need>,
    pub user: Option<u32>,
    /// `None` if the case begins without a store.
    pub store: Option<BTreeMap<String, SiteSpec>>,
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    #[serde(default)]
    pub latin1_files: BTreeMap<String, String>,
    pub config: Option<String>,
    pub config_only: Option<String>,
    pub step: Vec<Step>,
    #[serde(default)]
    pub after: After,
}

/// What the machine must allow.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A mount namespace.
    Mount,
}

/// A connection that is in the store before the first step.
#[derive(Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteSpec {
    pub app: Option<String>,
    pub behaviour: Option<String>,
    pub site_url: Option<String>,
    pub via_port: Option<String>,
    pub batch_code: Option<u16>,
    pub perm: Option<Value>,
    pub poll_status: Option<Value>,
    pub job: Option<String>,
    pub level: Option<u32>,
    pub count: Option<u32>,
    /// A number of Unix seconds, or a time.
    pub last_run: Option<Value>,
}

/// A command, and what it must do.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    pub run: Option<Vec<String>>,
    pub shell: Option<String>,
    pub stdin: Option<String>,
    pub env: BTreeMap<String, Variable>,
    pub umask: Option<String>,
    pub cwd: Option<String>,
    pub user: Option<u32>,
    /// The width of the terminal; `None` if there is no terminal.
    pub columns: Option<u32>,
    pub types: Option<String>,
    pub exit: Exit,
    pub within: Option<f64>,
    pub quiet: bool,
    pub json: BTreeMap<String, Value>,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    pub output: Vec<String>,
    pub stdout_lacks: Vec<String>,
    pub stderr_lacks: Vec<String>,
    pub output_lacks: Vec<String>,
}

/// A variable of the environment.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Variable {
    Set(String),
    /// `false` removes the variable.
    Switch(bool),
}

/// The exit codes that are right.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Exit {
    Code(i32),
    Codes(Vec<i32>),
    /// `any`
    Any(String),
}

impl Default for Exit {
    fn default() -> Self {
        Self::Code(0)
    }
}

impl Exit {
    /// Returns whether an exit code is right.
    pub fn allows(&self, code: i32) -> bool {
        match self {
            Self::Code(expected) => code == *expected,
            Self::Codes(expected) => expected.contains(&code),
            Self::Any(word) => word == "any",
        }
    }
}

/// What must hold after the last step.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct After {
    pub connections: Option<String>,
    pub no_store: bool,
    pub requests: BTreeMap<String, u64>,
    pub authorization: BTreeMap<String, String>,
    pub export: BTreeMap<String, Map<String, Value>>,
    pub explain: BTreeMap<String, Map<String, Value>>,
}
