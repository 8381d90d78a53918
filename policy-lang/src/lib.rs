//! The policy language.

pub mod decision;
pub mod facts;
pub mod program;
pub mod schema;
