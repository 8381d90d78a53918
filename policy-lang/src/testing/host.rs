//! What running a test needs from the rooms above: how APIs write their bodies, and how masks are carried out (DECISIONS 3).

use crate::facts::{BodyView, TextEngine};
use crate::program::{Mask, Side};

/// Knows the dialects, runs text tests and masks for real. Made for one program; implemented by the policy compiler.
pub trait Host {
    /// Runs the regexes and detectors of the program.
    fn text_engine(&self) -> &dyn TextEngine;

    /// The method that a path takes when a test names none.
    fn usual_method(&self, path: &str) -> &'static str;

    /// The request as the gateway sees it.
    ///
    /// # Errors
    /// Why the gateway would refuse the request before any rule is judged.
    fn view_request<'b>(&self, head: &Head<'_>, body: &'b [u8]) -> Result<RequestView<'b>, String>;

    /// The answer to such a request as the gateway sees it; with the body [`crate::Unread`] when it is not one of this operation.
    fn view_response<'b>(&self, head: &Head<'_>, body: &'b [u8]) -> ResponseView<'b>;

    /// The body with its masks carried out; none where nothing is kept because no dialect knows the operation.
    ///
    /// # Errors
    /// Why they cannot be; such a call is denied.
    fn mask(&self, job: &MaskJob<'_>) -> Result<Option<Vec<u8>>, String>;
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// `POST`
    pub method: &'a str,
    /// As sent.
    pub path: &'a str,
    /// `content-type`, or empty.
    pub content_type: &'a str,
}

/// A request in the words of its dialect.
pub struct RequestView<'b> {
    /// The normalised operation path.
    pub endpoint: String,
    /// The dialect's name.
    pub dialect: String,
    /// The model asked for, or empty.
    pub model: String,
    /// Whether a stream is asked for; `None` where the operation does not say.
    pub stream: Option<bool>,
    /// The caller's own bound on the answer.
    pub tokens_requested: Option<i64>,
    /// How many images it carries.
    pub image_count: Option<i64>,
    /// Its texts and values.
    pub body: Box<dyn BodyView + 'b>,
}

/// An answer in the words of its dialect.
pub struct ResponseView<'b> {
    /// Why the model stopped, or empty.
    pub finish_reason: String,
    /// Tokens of the answer, by the server's own count.
    pub tokens: Option<i64>,
    /// Its texts and values.
    pub body: Box<dyn BodyView + 'b>,
}

/// What is to be masked.
#[derive(Clone, Copy, Debug)]
pub struct MaskJob<'a> {
    /// Of which call.
    pub head: Head<'a>,
    /// Which of its bodies.
    pub side: Side,
    /// The recorded copy, which every built-in detector looks at besides, instead of what goes on.
    pub recorded: bool,
    /// The masks that the call owes, of both sides, each with its rule.
    pub masks: &'a [(&'a str, &'a Mask)],
    /// The body.
    pub body: &'a [u8],
}
