//! The real binary from outside, over sockets and pipes. One test program, since each would link the whole gateway again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod alerts;
mod approvals;
mod call;
mod cli;
mod common;
mod crash;
mod deploy;
mod dialects;
mod evidence;
mod faults;
mod finding;
mod fleet;
mod identity;
mod issuer;
mod leak;
mod lifecycle;
mod limits;
mod mask;
mod notify;
mod overload;
mod planted;
mod policy_cli;
mod policy_docs;
mod policy_reload;
mod refusals;
mod response_rules;
mod retention;
mod substitutes;
mod telemetry;
mod tidy;
mod tls;
mod upstream_credentials;
mod wire_faults;
