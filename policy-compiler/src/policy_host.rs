//! Runs the tests of policies for real: dialects read the bodies, the redactor masks them (DECISIONS 3).

use crate::detect;
use crate::dialect::{ChatRequest, Operation, answer_slots, method_of, normalised_path, route};
use crate::json::{Document, Duplicate, Kind};
use crate::redact::{MaskPlan, redact_answer, redact_request};
use crate::text_engine::{DetectorScan, PolicyTextEngine, TextEngineError};
use policy_lang::testing::{Head, Host, MaskJob, RequestView, ResponseView, Unread};
use policy_lang::{BodyView, JsonPath, JsonValue, Nothing, PathSegment, Program, Side, TextEngine, Unreadable};
use std::borrow::Cow;
use std::sync::Arc;

/// What `policy test` and `policy explain` judge with: the same parts as the gateway's.
#[derive(Debug)]
pub struct PolicyHost {
    engine: PolicyTextEngine,
}

impl PolicyHost {
    /// Prepares the text tests of a program.
    ///
    /// # Errors
    /// [`TextEngineError`] for the first regex that does not compile.
    pub fn new(program: &Program) -> Result<Self, TextEngineError> {
        Ok(Self { engine: PolicyTextEngine::new(program, Arc::new(BuiltIn))? })
    }
}

/// The built-in detectors.
struct BuiltIn;

impl DetectorScan for BuiltIn {
    fn finds(&self, detector: &str, text: &str) -> Option<bool> {
        detect::finds(detector, text)
    }
}

impl Host for PolicyHost {
    fn text_engine(&self) -> &dyn TextEngine {
        &self.engine
    }

    fn usual_method(&self, path: &str) -> &'static str {
        method_of(path).unwrap_or("POST")
    }

    fn view_request<'b>(&self, head: &Head<'_>, body: &'b [u8]) -> Result<RequestView<'b>, String> {
        let path = normalised_path(head.path)
            .ok_or_else(|| format!("the path {} could mean something else to the server behind", head.path))?;
        let Some(operation) = route(head.method, head.path) else {
            return Ok(RequestView {
                endpoint: path,
                dialect: "opaque".to_owned(),
                model: String::new(),
                stream: None,
                tokens_requested: None,
                image_count: None,
                body: Box::new(Unread),
            });
        };
        let mut view = RequestView {
            endpoint: operation.endpoint().to_owned(),
            dialect: operation.dialect().to_owned(),
            model: String::new(),
            stream: Some(false),
            tokens_requested: None,
            image_count: None,
            body: Box::new(Nothing),
        };
        if operation == Operation::ChatCompletions {
            let request = ChatRequest::parse(body).map_err(|error| error.to_string())?;
            view.model = request.model().to_owned();
            view.stream = Some(request.stream());
            view.tokens_requested = number_at(&request, "max_completion_tokens").or(number_at(&request, "max_tokens"));
            view.image_count = Some(images(&request));
            view.body = Box::new(request);
        }
        Ok(view)
    }

    fn view_response<'b>(&self, head: &Head<'_>, body: &'b [u8]) -> ResponseView<'b> {
        let nothing = |body| ResponseView { finish_reason: String::new(), tokens: None, body };
        match route(head.method, head.path) {
            None => nothing(Box::new(Unread)),
            Some(_) if body.is_empty() => nothing(Box::new(Nothing)),
            Some(operation) => read_answer(operation, body).unwrap_or_else(|| nothing(Box::new(Unread))),
        }
    }

    fn mask(&self, job: &MaskJob<'_>) -> Result<Option<Vec<u8>>, String> {
        let masks = job.masks.iter().copied();
        let plan = match job.recorded {
            true => MaskPlan::recorded(job.side, masks),
            false => MaskPlan::new(job.side, masks),
        };
        let plan = plan.map_err(|error| error.to_string())?;
        let Some(operation) = route(job.head.method, job.head.path) else {
            return match (job.recorded, plan.is_empty()) {
                // What is not understood is not kept.
                (true, _) => Ok(None),
                (false, true) => Ok(Some(job.body.to_vec())),
                (false, false) => Err(format!("no dialect knows {} {}", job.head.method, job.head.path)),
            };
        };
        let masked = match job.side {
            Side::Request => redact_request(operation, &plan, job.body).map(|masked| masked.body),
            Side::Response => redact_answer(operation, &plan, job.body).map(|(masked, _)| masked.body),
        };
        Ok(Some(masked.map_err(|error| error.to_string())?.into_owned()))
    }
}

/// The answer, unless it is no JSON or says something twice.
fn read_answer(operation: Operation, body: &[u8]) -> Option<ResponseView<'_>> {
    let document = Document::parse(body).ok()?;
    let (_, info) = redact_answer(operation, &MaskPlan::empty(Side::Response), body).ok()?;
    let slots = answer_slots(&document).ok()?;
    let texts = slots.texts.iter().filter_map(|slot| document.string(slot.node)).collect();
    Some(ResponseView {
        finish_reason: info.finish_reason.unwrap_or_default(),
        tokens: info.usage.and_then(|usage| i64::try_from(usage.completion).ok()),
        body: Box::new(Answer { document, texts }),
    })
}

/// A whole answer.
struct Answer<'b> {
    document: Document<'b>,
    texts: Vec<Cow<'b, str>>,
}

impl BodyView for Answer<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Ok(&self.texts)
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        for node in self.document.select(path).map_err(|Duplicate| Unreadable)? {
            let value = match self.document.kind(node) {
                Kind::String => JsonValue::Str(self.document.string(node).unwrap_or_default()),
                Kind::Number => JsonValue::Number(self.document.number(node).ok_or(Unreadable)?),
                Kind::True => JsonValue::Bool(true),
                Kind::False => JsonValue::Bool(false),
                Kind::Null => JsonValue::Null,
                Kind::Object | Kind::Array => JsonValue::Composite,
            };
            if !visit(value) {
                break;
            }
        }
        Ok(())
    }
}

fn number_at(request: &ChatRequest<'_>, name: &str) -> Option<i64> {
    let document = request.document();
    let node = document.get(document.root(), name).ok()??;
    std::str::from_utf8(document.raw(node)).ok()?.parse().ok()
}

/// Parts of messages that are images.
fn images(request: &ChatRequest<'_>) -> i64 {
    let key = |name: &str| PathSegment::Key(name.to_owned());
    let segments = vec![key("messages"), PathSegment::Wildcard, key("content"), PathSegment::Wildcard, key("type")];
    let mut count = 0;
    let read = request.values(&JsonPath { segments }, &mut |value| {
        if let JsonValue::Str(kind) = value {
            count += i64::from(kind == "image_url" || kind == "input_image");
        }
        true
    });
    read.map_or(0, |()| count)
}
