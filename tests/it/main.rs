//! The tests of the whole program: one module per command or promise, in one binary.

#[path = "../power/mod.rs"]
mod power;
#[path = "../testkit/mod.rs"]
mod testkit;

mod admin;
mod architecture;
mod backup;
mod blame;
mod call;
mod cases;
mod check;
mod concurrency;
mod config;
mod crash;
mod credentials;
mod cxnapp;
mod docs;
mod durability;
mod egress;
mod explain;
mod export;
mod faults;
mod formats;
mod former_builds;
mod get;
mod heartbeat;
mod help;
mod hostile;
mod idle;
mod import;
mod limits;
mod listeners;
mod local;
mod log;
mod metrics;
mod names;
mod network;
mod outage;
mod output;
mod per_host;
mod poll;
mod recording;
mod recovery;
mod results;
mod retry;
mod schedule;
mod selection;
mod status;
mod stopping;
mod store;
mod store_lock;
mod terminal;
mod tls;
mod unreadable;
mod usage;
