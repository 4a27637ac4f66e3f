//! Whole runs over real sockets: which failures are charged to the sites, and which are our own.
//!
//! Each scenario has a network, a name server and servers of its own, in a namespace that no packet leaves.

mod charged;
mod for_a_day;
mod front;
mod more_not_ours;
mod more_ours;
mod not_ours;
mod ours;
mod outage;
mod partly;
mod scene;
