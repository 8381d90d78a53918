//! Sallyport's policy compiler: what turns a checked [`Program`](policy_lang::Program) into fast decisions.
//!
//! * [`compile`] makes a [`CompiledPolicy`]: native code where the machine allows it, the reference interpreter where it does
//!   not; the meaning is the interpreter's either way, and every compiled set is compared with it before it is used.
//! * [`PolicyTextEngine`] runs the text tests of a program: its regexes compiled once, detectors behind [`DetectorScan`].
//!
//! * [`detect`] finds personal data in text, [`redact`] masks it in whole bodies and in streams, [`json`] finds the texts.
//!
//! What this crate never does: sockets, clocks, files.

pub mod bench;
pub mod detect;
pub mod dialect;
mod facts;
mod index;
pub mod json;
mod native;
mod planted;
mod policy_host;
pub mod redact;
mod text_engine;
mod text_scan;

pub use native::{CompileOptions, CompiledPolicy, Divergence, Engine, IdentityFacts, Layout, compile, compile_with};
pub use policy_host::PolicyHost;
pub use text_engine::{BuiltInDetectors, DetectorScan, NoDetectors, PolicyTextEngine, SoFar, TextEngineError};
pub use text_scan::TextsOfCall;
