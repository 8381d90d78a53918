//! Runs the tests that are written in policies, for real: both phases of the decision, and the masks over both bodies.
//!
//! This crate knows no dialects and masks nothing; a [`Host`] does (DECISIONS 3).

mod call;
mod coverage;
mod host;
mod judge;
mod report;
mod run;
pub(crate) mod value;
mod view;
pub(crate) mod words;

pub use call::{Call, CallError};
pub use coverage::{Coverage, RuleCoverage, Seen, percent};
pub use host::{Head, Host, MaskJob, RequestView, ResponseView};
pub use judge::{Bodies, Outcome, judge};
pub use report::{junit, to_json, to_text};
pub use run::{TestReport, TestResult, run_tests};
pub use view::CallView;
