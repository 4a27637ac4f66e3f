//! Options, durations, and credentials in URLs.

cases! {}
