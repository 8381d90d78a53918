//! The subcommands: arguments in, exit code out. The work is done in the library.

pub(crate) mod agent;
pub(crate) mod capacity;
pub(crate) mod leak_test;
mod live;
pub(crate) mod mock_model;
mod output;
pub(crate) mod report;
mod requests;
pub(crate) mod run;

use std::fmt::Display;
use std::process::ExitCode;

/// The thing checked is bad.
pub(crate) const BAD: u8 = 1;

/// The command was used wrongly.
pub(crate) const USAGE: u8 = 2;

/// There is no telling.
pub(crate) const CANNOT_TELL: u8 = 3;

/// Says what went wrong on standard error.
pub(crate) fn fail(code: u8, message: impl Display) -> ExitCode {
    eprintln!("sallyport-load: {message}");
    ExitCode::from(code)
}
