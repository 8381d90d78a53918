//! Bounds on what a policy set may ask of this crate, each with its unit. Every one has an error of its own.

/// Bytes of one file.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;
/// Bytes of all files of a set.
pub(crate) const SET_BYTES_MAX: usize = 16 << 20;
/// Files of a set.
pub(crate) const FILES_MAX: usize = 4_096;
/// Directories below one another.
pub(crate) const DIRECTORY_DEPTH_MAX: usize = 16;
/// Directory entries looked at while searching for policy files.
pub(crate) const DIRECTORY_ENTRIES_MAX: usize = 100_000;
/// Brackets within brackets, and operators within operators once every `let` is put in its place.
pub(crate) const NESTING_MAX: usize = 64;
/// Rules of a set.
pub(crate) const RULES_MAX: usize = 10_000;
/// Entries of all `{ … }` of a set as written.
pub(crate) const SET_ENTRIES_MAX: usize = 100_000;
/// Entries of all sets once every reference is put in its place.
pub(crate) const SET_ENTRIES_EXPANDED_MAX: usize = 1_000_000;
/// Operators and leaves of one condition once every `let` is put in its place.
pub(crate) const CONDITION_NODES_MAX: usize = 10_000;
/// The same for all conditions of a set.
pub(crate) const CONDITION_NODES_TOTAL_MAX: usize = 1_000_000;
/// Bytes of one regular expression as written.
pub(crate) const REGEX_BYTES_MAX: usize = 4_096;
/// Bytes of the automaton of one regular expression.
pub(crate) const REGEX_AUTOMATON_BYTES_MAX: usize = 1 << 20;
/// Groups within groups of one regular expression.
pub(crate) const REGEX_NESTING_MAX: u32 = 64;
/// Regular expressions of a set.
pub(crate) const REGEXES_MAX: usize = 1_000;
/// Effects of one rule.
pub(crate) const EFFECTS_MAX: usize = 100;
/// Bytes of one string.
pub(crate) const STRING_BYTES_MAX: usize = 4_096;
/// Steps of a JSON path.
pub(crate) const PATH_SEGMENTS_MAX: usize = 32;
/// People that one approval may ask for.
pub(crate) const APPROVERS_MAX: u64 = 100;
/// Seconds that a call may wait for approval, and that an approval may be used: 30 days.
pub(crate) const APPROVAL_SECONDS_MAX: u64 = 30 * 24 * 3_600;
/// Errors reported of one set; the rest would only hide the first.
pub(crate) const ERRORS_MAX: usize = 100;
/// Points that one rule may add to `request.risk`.
pub(crate) const RISK_MAX: u64 = 1_000;
/// Seconds that a payload may be demanded to be kept: 100 years.
pub(crate) const RETAIN_SECONDS_MAX: u64 = 100 * 365 * 24 * 3_600;
/// What a rate limit may let through in its period.
pub(crate) const LIMIT_AMOUNT_MAX: u64 = 1_000_000_000_000;
/// Fields that one rate limit may count by.
pub(crate) const LIMIT_KEYS_MAX: usize = 4;
/// Tests of a set.
pub(crate) const TESTS_MAX: usize = 10_000;
