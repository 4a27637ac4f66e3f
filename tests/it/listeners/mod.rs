//! Listeners: the logic of jobs.

mod events;
mod examples;
mod programs;

use std::fs;

use serde_json::Value;

use crate::testkit::{World, json_lines};

/// Replaces the listeners of the configuration.
pub(crate) fn configure(world: &World, listeners: &str) {
    let text = world.config().split("[[listeners]]").next().unwrap().to_owned();
    world.set_config(&(text + listeners));
}

/// Returns the configuration of a listener with a program.
fn program(event: &str, command: &[&str], more: &str) -> String {
    format!("[[listeners]]\nevent = \"{event}\"\nprogram = {command:?}\n{more}\n")
}

/// Makes a shell script the listener of every poll.
fn script(world: &World, script: &str, more: &str) {
    fs::write(world.path("listener.sh"), script).unwrap();
    configure(world, &program("civi_cxn.poll", &["sh", "listener.sh"], more));
}

/// Returns the newest result of each site.
pub(crate) fn latest(world: &World) -> Vec<Value> {
    json_lines(&world.text(&["results", "--latest", "--json"]))
}
