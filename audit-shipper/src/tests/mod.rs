//! Tests of the whole room: write, crash, tamper, read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod campaign;
mod committing;
mod erasing;
mod exporting;
mod guarding;
mod indexing;
mod keys;
mod reading;
mod records;
mod recovering;
mod simulation;
mod support;
mod tampering;
