//! Traces in OTLP's JSON encoding (OpenTelemetry Protocol 1.x, `POST /v1/traces`), with the names of the semantic conventions for HTTP
//! and for generative AI; the latter are still in development, so that all of them stand here.
//!
//! Two spans tell of a call: ours, and its part at the model server. The encoding is a small, stable JSON; the crates for it bring a
//! second HTTP client and a runtime of their own.

use super::finished::{Finished, Spans};
use super::marks::Phase;
use serde_json::{Value, json};

/// `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT` of OTLP.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR` of OTLP.
const ERROR: u8 = 2;

/// The request body for so many calls; those that are not traced are left out. `None` when none is.
pub(super) fn request(calls: &[Finished]) -> Option<Value> {
    let traced = calls.iter().filter_map(|call| Some((call, call.spans?)));
    let spans: Vec<Value> =
        traced.flat_map(|(call, spans)| [Some(server(call, spans)), client(call, spans)]).flatten().collect();
    if spans.is_empty() {
        return None;
    }
    Some(json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", "sallyport"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ]},
        "scopeSpans": [{ "scope": { "name": "sallyport" }, "spans": spans }],
    }]}))
}

fn server(call: &Finished, spans: Spans) -> Value {
    let mut attributes = vec![
        attribute("http.request.method", &call.method),
        attribute("http.route", call.route),
        number("http.response.status_code", call.status.into()),
        attribute("sallyport.request_id", &call.request_id),
        number("sallyport.policy_generation", call.policy_generation),
    ];
    attributes.extend(error_type(call));
    let events: Vec<Value> = Phase::ALL
        .iter()
        .zip(call.marks)
        .filter_map(|((_, name), at_us)| Some(json!({ "name": *name, "timeUnixNano": nanos(call, at_us?) })))
        .collect();
    json!({
        "traceId": hex::encode(spans.trace),
        "spanId": hex::encode(spans.server),
        "parentSpanId": spans.parent.map(hex::encode).unwrap_or_default(),
        "name": format!("{} {}", call.method, call.route),
        "kind": SERVER,
        "startTimeUnixNano": nanos(call, 0),
        "endTimeUnixNano": nanos(call, call.duration_us),
        "attributes": attributes,
        "events": events,
        "status": status(call, call.status >= 500),
    })
}

/// From when a connection to the model server was there.
fn client(call: &Finished, spans: Spans) -> Option<Value> {
    let connected_us = call.marks.get(Phase::Connected as usize).copied().flatten()?;
    let operation = operation_name(call.route);
    let mut attributes = vec![
        attribute("gen_ai.operation.name", operation),
        attribute("gen_ai.provider.name", call.api),
        attribute("gen_ai.request.model", &call.model),
        attribute("server.address", call.server.rsplit_once(':').map_or(call.server.as_str(), |(host, _)| host)),
        attribute("sallyport.upstream", &call.upstream),
    ];
    if let Some(port) = call.server.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) {
        attributes.push(number("server.port", port));
    }
    attributes.extend(call.input_tokens.map(|tokens| number("gen_ai.usage.input_tokens", tokens)));
    attributes.extend(call.output_tokens.map(|tokens| number("gen_ai.usage.output_tokens", tokens)));
    if !call.finish_reason.is_empty() {
        let reasons = json!({ "arrayValue": { "values": [{ "stringValue": call.finish_reason }] } });
        attributes.push(json!({ "key": "gen_ai.response.finish_reasons", "value": reasons }));
    }
    attributes.extend(error_type(call));
    Some(json!({
        "traceId": hex::encode(spans.trace),
        "spanId": hex::encode(spans.client),
        "parentSpanId": hex::encode(spans.server),
        "name": format!("{operation} {}", call.model),
        "kind": CLIENT,
        "startTimeUnixNano": nanos(call, connected_us),
        "endTimeUnixNano": nanos(call, call.duration_us),
        "attributes": attributes,
        "status": status(call, call.status >= 400),
    }))
}

/// `gen_ai.operation.name`: the well-known values, else what the path ends in.
fn operation_name(route: &'static str) -> &'static str {
    match route.rsplit('/').next().unwrap_or_default() {
        "messages" | "responses" => "chat",
        "completions" if route.ends_with("chat/completions") => "chat",
        "completions" | "generate" | "generate_stream" => "text_completion",
        "" => "inference",
        last => last,
    }
}

fn status(call: &Finished, failed: bool) -> Value {
    if failed { json!({ "code": ERROR, "message": call.code }) } else { json!({}) }
}

fn error_type(call: &Finished) -> Option<Value> {
    (!call.code.is_empty()).then(|| attribute("error.type", call.code))
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit integers are strings in OTLP's JSON.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanos(call: &Finished, at_us: u32) -> String {
    ((call.began_unix_us + u64::from(at_us)) * 1_000).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::access_log::tests::call;
    use super::*;

    #[test]
    fn two_spans_tell_of_a_call() {
        let mut call = call();
        call.marks[Phase::Connected as usize] = Some(100);
        let body = request(&[call]).unwrap();
        let text = serde_json::to_string_pretty(&body).unwrap();
        insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "[version]"));
    }

    #[test]
    fn calls_that_are_not_traced_are_left_out() {
        let mut call = call();
        call.spans = None;
        assert_eq!(request(&[call]), None);
    }
}
