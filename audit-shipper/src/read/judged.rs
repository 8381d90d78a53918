//! Recorded calls as somebody needs them who judges them again by another policy. Nothing here knows what a policy is.

use serde_json::Value;

use super::calls::{Call, for_each_call};
use super::query::Query;
use super::source::Source;
use crate::error::EvidenceError;
use crate::id::RecordId;

/// A call or a refusal, as far as it was recorded and the keys open it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its id.
    pub id: RecordId,
    /// When, in ms since 1970.
    pub unix_ms: u64,
    /// What was decided: `allow`, `approved`, `pending`, `deny`, `reject`.
    pub decision: String,
    /// Name of the upstream; empty for a refusal.
    pub upstream: String,
    /// Normalised path of the operation, as the leaf has it.
    pub operation: String,
    /// Name of the dialect.
    pub dialect: String,
    /// `user`, `service` or `anonymous`.
    pub caller: String,
    /// What was encrypted: `subject`, `issuer`, `client`, `groups`, `address`, `method`, `host`, `path`, `model`, `purpose`, `basis`;
    /// null if it cannot be opened.
    pub envelope: Value,
    /// Detectors that masked something in the request, each once.
    pub detectors: Vec<String>,
    /// Body of the request, masked; empty if it was not recorded.
    pub request: Vec<u8>,
    /// Its `content-type`.
    pub request_type: String,
    /// Bytes of the request as it came.
    pub request_bytes: Option<u64>,
    /// Why the request's body cannot be read, if it was recorded and cannot.
    pub unreadable: Option<String>,
}

impl Judged {
    fn of(call: &Call) -> Option<Self> {
        let hits = call.first.leaf.get("masks").or(call.envelope.get("masks")).and_then(Value::as_array);
        let mut detectors: Vec<String> =
            hits.into_iter().flatten().filter_map(|hit| Some(hit.get("detector")?.as_str()?.to_owned())).collect();
        detectors.sort_unstable();
        detectors.dedup();
        let id: RecordId = call.first.id().parse().ok()?;
        let time = call.row.time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        Some(Self {
            id,
            unix_ms: u64::try_from(time).unwrap_or(0),
            decision: call.row.decision.clone(),
            upstream: call.first.text("upstream").to_owned(),
            operation: call.row.operation.clone(),
            dialect: call.first.text("dialect").to_owned(),
            caller: call.first.text("caller").to_owned(),
            envelope: call.envelope.clone(),
            detectors,
            request: call.request.bytes(),
            request_type: call.request.media_type.clone(),
            request_bytes: call.end.as_ref().and_then(|(end, _)| end.number("bytes_in")),
            unreadable: call.request.unreadable.as_ref().map(ToString::to_string),
        })
    }

    /// A text of the encrypted part; empty if it has none of this name.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.envelope.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Calls `each` for every call and every refusal that matches, in the order of [`super::export`].
///
/// # Errors
/// [`EvidenceError`] if the log or the keystore cannot be read, and those of `each`.
pub fn judged(
    source: &Source,
    query: &Query,
    each: &mut dyn FnMut(Judged) -> Result<(), EvidenceError>,
) -> Result<(), EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log)?;
    for_each_call(source, &log, &keys, query, true, &mut |call| {
        let is_one = matches!(call.row.kind.as_str(), "call" | "refusal");
        Judged::of(call).filter(|_| is_one).map_or(Ok(()), &mut *each)
    })
    .map(drop)
}
