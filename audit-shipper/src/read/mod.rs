//! Reading a log: search, show, verify. Works beside a running gateway, up to what is durable.

mod calls;
mod erased;
mod export;
pub(crate) mod findings;
mod history;
mod ids;
mod index;
mod proof;
mod query;
mod recorded;
mod records;
mod rows;
mod search;
mod show;
mod signed;
mod source;
mod story;
mod text;
mod tlog;
mod verify;
mod walk;

pub use export::{ExportFormat, export};
pub use history::{Past, PastNote, history};
pub use index::{drop_index, update_index};
pub use proof::{Proof, prove};
pub use query::Query;
pub use recorded::{Recorded, dsar, recorded, unsealed};
pub use search::{Follower, SearchOptions, search};
pub use show::show;
pub use source::Source;
pub use story::story;
pub use tlog::export_tlog;
pub use verify::{Progress, Verdict, verify, verify_with};
