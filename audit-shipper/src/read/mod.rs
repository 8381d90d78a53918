//! Reading a log: search, show, verify. Works beside a running gateway, up to what is durable.

mod calls;
mod erased;
mod export;
pub(crate) mod findings;
pub(crate) mod ids;
pub(crate) mod index;
mod judged;
mod notes;
mod proof;
mod query;
mod recorded;
pub(crate) mod records;
mod rows;
mod search;
mod show;
mod signed;
pub(crate) mod source;
mod spoken;
mod text;
mod tlog;
mod verify;
pub(crate) mod walk;

pub use export::{ExportFormat, export};
pub use index::{drop_index, keep_index, update_index};
pub use judged::{Judged, judged};
pub use notes::{Noted, notes};
pub use proof::{Proof, prove, root_of};
pub use query::Query;
pub use recorded::{Recorded, dsar, dsar_value, recorded, unsealed};
pub use search::{Follower, SearchOptions, search};
pub use show::show;
pub use source::Source;
pub use spoken::said_in;
pub use tlog::export_tlog;
pub use verify::{Progress, Verdict, verify, verify_with};
