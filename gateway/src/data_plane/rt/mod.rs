//! The only door to glommio: executors, sockets, deadlines. Everything else sees these types, so that the driver below can
//! be bettered or replaced without touching the way of a call.
//!
//! Traps that this module closes (each found by experiment):
//! * the executor may park while tasks are runnable, so every executor has a [heartbeat](Watchdog::run) of 10 ms;
//! * glommio's read time-outs misfire after an abandoned read, so no read is ever abandoned: a [`Deadline`] shuts the socket
//!   down from the heartbeat, and the pending read or write ends by itself;
//! * its sockets ask the ring anew for every read and peek with one more system call: ours are announced once to an epoll
//!   descriptor that the ring polls ([`Readiness`]);
//! * its default `io_memory` pins 30 MiB per executor; we register none.

#![allow(unsafe_code, reason = "sockets are shut down, waited for and inherited by their descriptors")]

mod executor;
mod inherited;
mod readiness;
mod socket;
mod watchdog;

pub(crate) use executor::{Executor, ExecutorError, sleep, spawn, spawn_executor};
pub(crate) use inherited::inherited_listeners;
pub(crate) use readiness::Readiness;
pub(crate) use socket::{Listener, Socket};
pub(crate) use watchdog::Watchdog;
