//! A request as one policy sees it, whose paths are known: all of them are found in one walk.

use super::request::{Request, visit_nodes, visit_values};
use crate::json::{Duplicate, Paths, Selected};
use policy_lang::{BodyView, JsonPath, JsonValue, Unreadable};
use std::borrow::Cow;
use std::cell::OnceCell;

/// A request before a policy that reads the given paths: the first of them that is asked for finds them all.
#[derive(Debug)]
pub struct RequestBefore<'r, 'b> {
    request: &'r Request<'b>,
    paths: &'r Paths,
    selected: OnceCell<Selected>,
}

impl<'b> Request<'b> {
    /// The view of a policy that reads these paths.
    #[must_use]
    pub fn before<'r>(&'r self, paths: &'r Paths) -> RequestBefore<'r, 'b> {
        RequestBefore { request: self, paths, selected: OnceCell::new() }
    }
}

impl BodyView for RequestBefore<'_, '_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        self.request.texts()
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        let Some(document) = self.request.document() else { return Ok(()) };
        let selected = self.selected.get_or_init(|| self.paths.select(document));
        match self.paths.found(selected, path) {
            Some(nodes) => visit_nodes(document, nodes.map_err(|Duplicate| Unreadable)?, visit),
            None => visit_values(document, path, visit),
        }
    }
}
