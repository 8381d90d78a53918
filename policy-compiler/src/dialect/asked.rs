//! Numbers of a request that policies bound: how many tokens it asks for, how many images it brings.

use super::request::Request;
use crate::json::{Document, Kind, NodeId};

/// Members of the request that bound the length of its answer, as the APIs name them.
const TOKEN_MEMBERS: [&str; 4] = ["max_completion_tokens", "max_output_tokens", "max_tokens", "max_tokens_to_sample"];
/// TGI's, within `parameters`.
const TGI_TOKEN_MEMBER: &str = "max_new_tokens";
/// `type` of a part that is an image.
const IMAGE_TYPES: [&str; 3] = ["image_url", "input_image", "image"];

impl Request<'_> {
    /// The caller's own bound on the answer, in tokens. Of several the largest: a server may go by any of them.
    #[must_use]
    pub fn tokens_requested(&self) -> Option<i64> {
        let document = self.document()?;
        let root = document.root();
        let of_root = TOKEN_MEMBERS.iter().filter_map(|name| document.get(root, name).ok()?);
        let parameters = document.get(root, "parameters").ok().flatten();
        let of_parameters = parameters.and_then(|node| document.get(node, TGI_TOKEN_MEMBER).ok()?);
        of_root.chain(of_parameters).filter_map(|node| whole_number(document, node)).max()
    }

    /// Parts that are images, wherever they stand.
    #[must_use]
    pub fn image_count(&self) -> i64 {
        let Some(document) = self.document() else { return 0 };
        let is_image = |node: &NodeId| {
            document.kind(*node) == Kind::String
                && document.key(*node).is_some_and(|key| key == "type")
                && document.string(*node).is_some_and(|kind| IMAGE_TYPES.contains(&&*kind))
        };
        let images = document.subtree(document.root()).filter(is_image).count();
        i64::try_from(images).unwrap_or(i64::MAX)
    }
}

fn whole_number(document: &Document<'_>, node: NodeId) -> Option<i64> {
    std::str::from_utf8(document.raw(node)).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::dialect::{BodyForm, Operation};

    fn of(operation: Operation, body: &str) -> (Option<i64>, i64) {
        let request = Request::parse(operation, &BodyForm::Json, body.as_bytes()).unwrap();
        (request.tokens_requested(), request.image_count())
    }

    #[test]
    fn numbers_of_requests() {
        let chat = r#"{"model":"m","max_tokens":10,"max_completion_tokens":20,"messages":[{"role":"user","content":[
            {"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#;
        assert_eq!(of(Operation::ChatCompletions, chat), (Some(20), 1));
        let tgi = r#"{"inputs":"x","parameters":{"max_new_tokens":7}}"#;
        assert_eq!(of(Operation::TgiGenerate, tgi), (Some(7), 0));
        let open = r#"{"model":"m","messages":[],"max_tokens":null}"#;
        assert_eq!(of(Operation::ChatCompletions, open), (None, 0));
    }
}
