//! policy-compiler

pub mod detect;
pub mod dialect;
pub mod json;
pub mod redact;
