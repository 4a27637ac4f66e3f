//! What starts runs on this machine: crontabs and systemd timers.

pub(super) mod calendar;
pub(super) mod cron;
mod crontab;
pub(super) mod entry;
pub(super) mod files;
pub(super) mod rules;
mod sandbox;
mod script;
mod shell;
pub(super) mod sources;
pub(super) mod systemd;
mod unit;
