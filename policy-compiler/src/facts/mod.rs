//! From facts to small numbers: what a program compares with is known when it is compiled, so a call's texts and addresses become
//! dense ids of *classes* once per call, and no rule compares a text again.
//!
//! Two values of a field that no condition of the program can tell apart are in one class. A text is classed by whole literal,
//! else by the longest prefix glob (`llama-*`) and the longest suffix glob (`*-instruct`) that it fits; what remains are globs with
//! `?` or an inner `*`, which are asked for one by one. Addresses are classed by the intervals that the program's networks cut.

mod addresses;
mod constants;
mod texts;

pub(crate) use addresses::AddressClasses;
pub(crate) use constants::Constants;
pub(crate) use texts::{ClassSet, TextClasses};
