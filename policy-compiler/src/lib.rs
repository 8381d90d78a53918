//! policy-compiler

pub mod detect;
pub mod json;
pub mod redact;
