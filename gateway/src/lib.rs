//! Sallyport: a gateway in front of model servers. Every call is identified, judged by policy, masked, approved by a
//! person where the policy says so, and written down before it goes in and before its last byte comes out.
//!
//! # The rooms of this crate
//! * [`cli`]: the command line of the one binary; [`config`]: `sallyport.toml`.
//! * `data_plane`: the way of a call, one executor per core.
//! * `console`: what people see in a browser, as functions from what the admin API shows to HTML.
//! * `control`: one thread with everything that is not on the way of a call: admin API, keys of issuers, policy watcher.
//! * [`shared`]: what both planes see: [`policy_slot`], [`second_opinion`], [`limits`], [`identity`], [`approvals`], [`metrics`], [`lifecycle`].
//!
//! # What never happens
//! * The control plane is never on the path of a call, and no call waits for a lock that a disk or a network holds.
//! * Time is read in [`clock`] and nowhere else.
#![deny(unsafe_code)]

pub mod alerts;
pub mod approvals;
pub mod cli;
pub mod clock;
pub mod config;
mod console;
mod control;
pub mod credentials;
pub mod data_plane;
pub mod dev_issuer;
pub mod identity;
pub mod lifecycle;
pub mod limits;
pub mod live;
pub mod metrics;
mod notify;
pub mod policy_slot;
mod recorded_text;
pub mod second_opinion;
pub mod shared;
pub mod telemetry;
pub mod tls;
pub mod token_vault;
