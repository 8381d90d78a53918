//! What is told of a call when it is over, besides its record.

use audit_shipper::{EndedBy, Outcome, RecordId};
use policy_compiler::dialect::{ErrorKind, Operation};

use super::core::Core;
use super::error::CallError;
use super::exchange::Call;

use crate::recorded_text::masked;
use crate::telemetry::{Fault, Finished, Marks, Phase};

/// Bytes of a model's name that are told.
const MODEL_BYTES_MAX: usize = 128;

/// A call that the gateway answered itself, before its INTENT.
pub(super) fn refused(core: &Core, call: &Call, error: &CallError, request_id: &str) {
    let telemetry = &core.shared.telemetry;
    let duration_us = call.marks.so_far_us();
    telemetry.timings.refused(duration_us, &call.marks.all());
    if telemetry.wants_calls() {
        let mut told = about(call, request_id.to_owned());
        told.duration_us = duration_us;
        told.marks = call.marks.all();
        told.status = error.status;
        told.code = error.code;
        told.fault = match error.kind {
            _ if error.is_upstreams() => Fault::Upstream,
            _ if call.judged.is_some() && error.status < 500 => Fault::Policy,
            ErrorKind::Unavailable | ErrorKind::Internal => Fault::Gateway,
            _ => Fault::Caller,
        };
        telemetry.finished(told);
    }
}

/// What is known of a call when its INTENT is written; `None` where nobody wants to hear it.
pub(super) fn begun(core: &Core, call: &Call, id: RecordId) -> Option<Box<Finished>> {
    core.shared.telemetry.wants_calls().then(|| about(call, id.to_string()))
}

/// Its OUTCOME is on its way.
pub(super) fn over(core: &Core, marks: &Marks, told: Option<Box<Finished>>, outcome: &Outcome) {
    marks.reached(Phase::Answered);
    let telemetry = &core.shared.telemetry;
    let (duration_us, all) = (marks.so_far_us(), marks.all());
    match outcome.ended_by {
        EndedBy::Complete => telemetry.timings.completed(duration_us, &all),
        _ => telemetry.timings.failed(duration_us, &all),
    }
    let Some(mut told) = told else { return };
    told.duration_us = duration_us;
    told.marks = all;
    told.status = outcome.status;
    told.fault = match outcome.ended_by {
        EndedBy::Complete if outcome.status >= 500 => Fault::Upstream,
        EndedBy::Complete => Fault::Nobody,
        EndedBy::CallerLeft => Fault::Caller,
        EndedBy::UpstreamCut => Fault::Upstream,
        EndedBy::GatewayCut => Fault::Gateway,
    };
    told.server.clone_from(&outcome.endpoint);
    told.request_bytes = outcome.request_bytes;
    told.response_bytes = outcome.response_bytes;
    told.input_tokens = outcome.usage.input_tokens;
    told.output_tokens = outcome.usage.output_tokens;
    told.finish_reason = outcome.finish_reason.clone().unwrap_or_default();
    telemetry.finished(told);
}

fn about(call: &Call, request_id: String) -> Box<Finished> {
    let mut model = call.judged.as_ref().map(|judged| masked(&judged.model)).unwrap_or_default();
    model.truncate(model.floor_char_boundary(MODEL_BYTES_MAX));
    Box::new(Finished {
        request_id,
        began_unix_us: call.started.unix_us,
        duration_us: 0,
        marks: Default::default(),
        method: call.head.method.clone(),
        route: call.operation.map_or("", Operation::endpoint),
        api: call.operation.map_or("", Operation::dialect),
        model,
        upstream: call.route().map(|route| route.config.name.clone()).unwrap_or_default(),
        server: String::new(),
        status: 0,
        code: "",
        fault: Fault::Nobody,
        policy_generation: call.policy.generation,
        request_bytes: 0,
        response_bytes: 0,
        input_tokens: None,
        output_tokens: None,
        finish_reason: String::new(),
        spans: call.trace.spans(),
    })
}
