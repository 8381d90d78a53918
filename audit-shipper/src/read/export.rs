//! The log in other people's formats: JSON Lines, OCSF 1.x API Activity, ECS, CEF, HAR.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::calls::{Call, Keys, for_each_call};
use super::query::Query;
use super::source::Source;
use super::text::line;
use crate::error::EvidenceError;

/// Formats of [`export`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object per line: the exact leaves, what their encrypted parts say, and the payload.
    JsonLines,
    /// OCSF API Activity (class 6003), one event per line.
    Ocsf,
    /// Elastic Common Schema, one document per line.
    Ecs,
    /// ArcSight Common Event Format, one event per line.
    Cef,
    /// HTTP Archive 1.2, one document; calls only.
    Har,
}

/// Writes what matches; returns how many calls, refusals and notes that were. Streams: memory is bounded by the calls that were
/// open at once. What the index tells to be little is found by it, and comes in the order in which it began; else the log is read,
/// from where the query's time begins, and it comes in the order in which it ended. Without the keystore, what is encrypted is left out.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read or the output not be written.
pub fn export(source: &Source, query: &Query, format: ExportFormat, out: &mut dyn Write) -> Result<u64, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log).unwrap_or_else(|_| Keys::default());
    let with_payload = matches!(format, ExportFormat::JsonLines | ExportFormat::Har);
    let mut written = 0;
    if format == ExportFormat::Har {
        let creator = json!({"name": "sallyport", "version": env!("CARGO_PKG_VERSION")});
        line(out, &format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":["))?;
    }
    for_each_call(source, &log, &keys, query, with_payload, &mut |call| {
        let text = match format {
            ExportFormat::JsonLines => whole(call).to_string(),
            ExportFormat::Ocsf => ocsf(call, &log.origin).to_string(),
            ExportFormat::Ecs => ecs(call, &log.origin).to_string(),
            ExportFormat::Cef => cef(call),
            ExportFormat::Har if call.row.kind != "call" => return Ok(()),
            ExportFormat::Har if written > 0 => format!(",{}", har(call)),
            ExportFormat::Har => har(call).to_string(),
        };
        written += 1;
        line(out, &text)
    })?;
    if format == ExportFormat::Har {
        line(out, "]}}")?;
    }
    Ok(written)
}

/// Everything there is about a call.
pub(super) fn whole(call: &Call) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    };
    put("record", json!({"index": call.first.index, "leaf": call.first.leaf}));
    put("envelope", call.envelope.clone());
    if let Some((end, envelope)) = &call.end {
        put("end", json!({"index": end.index, "leaf": end.leaf}));
        put("end_envelope", envelope.clone());
    }
    for (name, payload) in [("request", &call.request), ("response", &call.response)] {
        if !payload.frames.is_empty() {
            let events: Vec<Value> = payload
                .frames
                .iter()
                .map(|frame| json!([frame.dt_us, String::from_utf8_lossy(&frame.bytes)]))
                .collect();
            put(name, json!({"media_type": payload.media_type, "events": events}));
        }
        if let Some(error) = &payload.unreadable {
            put(&format!("{name}_unreadable"), json!(error.to_string()));
        }
    }
    Value::Object(object)
}

/// Whether it went through: OCSF's and ECS's word for it.
fn outcome(call: &Call) -> &'static str {
    match (call.row.kind.as_str(), call.row.status) {
        ("refusal", _) => "failure",
        (_, Some(400..)) => "failure",
        ("call", None) => "unknown",
        _ => "success",
    }
}

fn text<'c>(call: &'c Call, field: &str) -> &'c str {
    call.envelope.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn end_number(call: &Call, field: &str) -> Option<u64> {
    call.end.as_ref().and_then(|(end, _)| end.number(field))
}

fn unix_ms(call: &Call) -> i64 {
    call.row.time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond)
}

/// <https://schema.ocsf.io/1.3.0/classes/api_activity>
fn ocsf(call: &Call, origin: &str) -> Value {
    const API_ACTIVITY: u64 = 6003;
    const OTHER: u64 = 99;
    let (status_id, severity_id) = match outcome(call) {
        "success" => (1, 1),
        "failure" => (2, 3),
        _ => (0, 1),
    };
    let operation = if call.row.operation.is_empty() { &call.row.kind } else { &call.row.operation };
    json!({
        "activity_id": OTHER,
        "activity_name": call.row.kind,
        "category_uid": 6,
        "class_uid": API_ACTIVITY,
        "type_uid": API_ACTIVITY * 100 + OTHER,
        "time": unix_ms(call),
        "severity_id": severity_id,
        "status_id": status_id,
        "status": outcome(call),
        "status_code": call.row.status.map(|status| status.to_string()),
        "duration": end_number(call, "duration_us").map(|us| us / 1000),
        "metadata": {
            "version": "1.3.0",
            "uid": call.row.id,
            "log_name": origin,
            "sequence": call.row.index,
            "correlation_uid": call.row.trace,
            "product": {"name": "Sallyport", "vendor_name": "Sallyport", "version": env!("CARGO_PKG_VERSION")},
        },
        "actor": {"user": {
            "uid": call.row.subject,
            "name": call.row.subject,
            "org": {"uid": call.row.tenant},
            "groups": groups(call),
        }, "app_uid": text(call, "client")},
        "api": {
            "operation": operation,
            "service": {"name": call.first.text("upstream")},
            "response": {"code": call.row.status},
        },
        "http_request": {
            "http_method": text(call, "method"),
            "url": {"hostname": text(call, "host"), "path": text(call, "path")},
        },
        "src_endpoint": {"ip": text(call, "address")},
        "unmapped": unmapped(call),
    })
}

fn groups(call: &Call) -> Vec<Value> {
    let groups = call.envelope.get("groups").and_then(Value::as_array);
    groups.into_iter().flatten().map(|group| json!({"name": group})).collect()
}

fn unmapped(call: &Call) -> Value {
    json!({
        "decision": call.row.decision,
        "model": call.row.model,
        "rules": call.row.rules,
        "masked": call.row.masks,
        "mask_count": call.row.mask_count,
        "ended_by": call.row.ended_by,
    })
}

/// <https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html>
fn ecs(call: &Call, origin: &str) -> Value {
    let types = match call.row.decision.as_str() {
        "allow" | "approved" => json!(["access", "allowed"]),
        "deny" | "reject" => json!(["access", "denied"]),
        _ => json!(["info"]),
    };
    json!({
        "@timestamp": call.row.time,
        "ecs": {"version": "8.11.0"},
        "event": {
            "id": call.row.id,
            "kind": "event",
            "category": ["api"],
            "type": types,
            "action": call.row.kind,
            "outcome": outcome(call),
            "sequence": call.row.index,
            "dataset": "sallyport.evidence",
            "duration": end_number(call, "duration_us").map(|us| us * 1000),
        },
        "user": {"id": call.row.subject, "domain": call.row.tenant},
        "group": {"name": groups(call).iter().filter_map(|group| group.get("name").cloned()).collect::<Vec<_>>()},
        "client": {"ip": text(call, "address")},
        "http": {
            "request": {"method": text(call, "method"), "body": {"bytes": end_number(call, "bytes_in")}},
            "response": {"status_code": call.row.status, "body": {"bytes": end_number(call, "bytes_out")}},
        },
        "url": {"domain": text(call, "host"), "path": text(call, "path")},
        "trace": {"id": call.row.trace},
        "observer": {"name": origin, "product": "Sallyport", "version": env!("CARGO_PKG_VERSION")},
        "sallyport": unmapped(call),
    })
}

/// CEF:0 with the extension's keys of the ArcSight dictionary.
fn cef(call: &Call) -> String {
    let head = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ");
    let value = |text: &str| text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r");
    let severity = if outcome(call) == "failure" { 6 } else { 3 };
    let code = if call.first.text("code").is_empty() { &call.row.decision } else { call.first.text("code") };
    let mut extension = String::new();
    let status = call.row.status.map(|status| status.to_string()).unwrap_or_default();
    for (key, text) in [
        ("rt", unix_ms(call).to_string().as_str()),
        ("externalId", &call.row.id),
        ("suser", &call.row.subject),
        ("src", text(call, "address")),
        ("requestMethod", text(call, "method")),
        ("request", text(call, "path")),
        ("dhost", text(call, "host")),
        ("act", &call.row.decision),
        ("outcome", outcome(call)),
        ("reason", text(call, "reason")),
        ("cs1Label", "model"),
        ("cs1", &call.row.model),
        ("cs2Label", "rules"),
        ("cs2", &call.row.rules.join(",")),
        ("cs3Label", "masked"),
        ("cs3", &call.row.masks.join(",")),
        ("cn1Label", "status"),
        ("cn1", &status),
    ] {
        if !text.is_empty() {
            extension.push_str(&format!("{}{key}={}", if extension.is_empty() { "" } else { " " }, value(text)));
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "CEF:0|Sallyport|Sallyport|{version}|{}|{}|{severity}|{extension}",
        head(&call.row.kind),
        head(&format!("{} {code}", call.row.kind))
    )
}

/// <http://www.softwareishard.com/blog/har-12-spec/>
fn har(call: &Call) -> Value {
    let ms = |us: Option<u64>| us.map_or(-1.0, |us| us as f64 / 1000.0);
    let (total, first) = (end_number(call, "duration_us"), end_number(call, "ttfb_us"));
    let response_text = call.response.text();
    let body_size = |field: &str| end_number(call, field).map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(-1));
    let request_type = if call.request.media_type.is_empty() { "application/json" } else { &call.request.media_type };
    json!({
        "startedDateTime": call.row.time,
        "time": ms(total).max(0.0),
        "comment": format!("{} by {}", call.row.id, call.row.subject),
        "request": {
            "method": text(call, "method"),
            "url": format!("https://{}{}", text(call, "host"), text(call, "path")),
            "httpVersion": "HTTP/1.1", "cookies": [], "headers": [], "queryString": [],
            "postData": {"mimeType": request_type, "text": call.request.text()},
            "headersSize": -1, "bodySize": body_size("bytes_in"),
        },
        "response": {
            "status": call.row.status.unwrap_or(0), "statusText": "", "httpVersion": "HTTP/1.1", "cookies": [], "headers": [],
            "content": {"size": response_text.len(), "mimeType": call.response.media_type, "text": response_text},
            "redirectURL": "", "headersSize": -1, "bodySize": body_size("bytes_out"),
        },
        "cache": {},
        "timings": {
            "send": 0,
            "wait": ms(first).max(0.0),
            "receive": ms(total.map(|total| total.saturating_sub(first.unwrap_or(0)))).max(0.0),
        },
    })
}
