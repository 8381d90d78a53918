//! Runs the tests of policies for real: dialects read the bodies, the redactor masks them (DECISIONS 3).

use crate::dialect::{Answer, BodyForm, Request, method_of, model_in_path, normalised_path, route};
use crate::redact::{MaskPlan, Substitutes, TokenMap, redact_answer, redact_request};
use crate::text_engine::{BuiltInDetectors, PolicyTextEngine, TextEngineError};
use policy_lang::testing::{Head, Host, MaskJob, RequestView, ResponseView};
use policy_lang::{Nothing, Program, Side, TextEngine, Unread};
use std::rc::Rc;
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
        Ok(Self { engine: PolicyTextEngine::new(program, Arc::new(BuiltInDetectors))? })
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
        if operation.has_body() {
            let request = Request::parse(operation, &BodyForm::Json, body).map_err(|error| error.to_string())?;
            view.model = request.model().to_owned();
            view.stream = Some(request.stream());
            view.tokens_requested = request.tokens_requested();
            view.image_count = Some(request.image_count());
            view.body = Box::new(request);
        }
        if let Some(model) = model_in_path(operation, head.path) {
            view.model = model;
        }
        Ok(view)
    }

    fn view_response<'b>(&self, head: &Head<'_>, body: &'b [u8]) -> ResponseView<'b> {
        let nothing = |body| ResponseView { finish_reason: String::new(), tokens: None, body };
        match route(head.method, head.path) {
            None => nothing(Box::new(Unread)),
            Some(_) if body.is_empty() => nothing(Box::new(Nothing)),
            Some(operation) => match Answer::parse(operation, body) {
                Ok(answer) => ResponseView {
                    finish_reason: answer.info().finish_reason.clone().unwrap_or_default(),
                    tokens: answer.info().usage.and_then(|usage| i64::try_from(usage.completion).ok()),
                    body: Box::new(answer),
                },
                Err(_) => nothing(Box::new(Unread)),
            },
        }
    }

    fn mask(&self, job: &MaskJob<'_>) -> Result<Option<Vec<u8>>, String> {
        let masks = job.masks.iter().copied();
        let plan = match job.recorded {
            true => MaskPlan::recorded(job.side, masks),
            false => MaskPlan::new(job.side, masks),
        };
        // Tests have one tenant and one session, whose keys are known, so that what is expected can be written down.
        let substitutes = Rc::new(Substitutes::new([0; 32], TokenMap::new(&[0; 32])));
        let plan = plan.map_err(|error| error.to_string())?.keyed(substitutes);
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
