//! The places that a value of a job can come from.

/// Where a value of a job is from. An earlier origin has precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command line.
    Option,
    /// An environment variable.
    Variable,
    /// The table of the job in the configuration file.
    Job,
    /// A key of the configuration for all jobs.
    File,
    /// The program.
    Default,
}
