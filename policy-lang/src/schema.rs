//! The built-in schema: what a policy can see, by name and type (POLICY-LANGUAGE §2).
//!
//! Fields are dense enums so that the interpreter and the native code address the same slots.

use crate::catalogue;

/// A field whose value is text. Absent values read as the empty string, which is in no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StrField {
    /// `identity.subject`
    Subject,
    /// `identity.issuer`
    Issuer,
    /// `identity.client_id`
    ClientId,
    /// `identity.kind`: `user` or `service`
    Kind,
    /// `request.method`
    Method,
    /// `request.path`: the path as sent, without the query
    Path,
    /// `request.endpoint`: the dialect's normalised operation path
    Endpoint,
    /// `request.host`
    Host,
    /// `model`
    Model,
    /// `dialect`
    Dialect,
    /// `upstream`
    Upstream,
    /// `purpose`: as declared by claim or header
    Purpose,
    /// `basis`: as declared by claim or header
    Basis,
    /// `time.weekday`: `mon` to `sun`
    Weekday,
    /// `response.finish_reason`
    FinishReason,
}

impl StrField {
    /// Every text field with its name in the language, in slot order.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Subject, "identity.subject"),
        (Self::Issuer, "identity.issuer"),
        (Self::ClientId, "identity.client_id"),
        (Self::Kind, "identity.kind"),
        (Self::Method, "request.method"),
        (Self::Path, "request.path"),
        (Self::Endpoint, "request.endpoint"),
        (Self::Host, "request.host"),
        (Self::Model, "model"),
        (Self::Dialect, "dialect"),
        (Self::Upstream, "upstream"),
        (Self::Purpose, "purpose"),
        (Self::Basis, "basis"),
        (Self::Weekday, "time.weekday"),
        (Self::FinishReason, "response.finish_reason"),
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is known only when the answer is there.
    #[must_use]
    pub fn is_response(self) -> bool {
        self == Self::FinishReason
    }
}

/// A field whose value is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IntField {
    /// `request.size`: bytes of the request body
    RequestSize,
    /// `time.hour`: 0–23
    Hour,
    /// `time.date`: days since 1970-01-01
    Date,
    /// `request.tokens_requested`: the caller's own bound on the answer
    TokensRequested,
    /// `request.image_count`
    ImageCount,
    /// `request.risk`: the sum of the risk rules that hold; computed by [`crate::risk`], not given
    Risk,
    /// `response.status`
    ResponseStatus,
    /// `response.size`: bytes of the body
    ResponseSize,
    /// `response.tokens`: of the answer, by the server's own count
    ResponseTokens,
}

impl IntField {
    /// Every number field with its name in the language, in slot order.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::RequestSize, "request.size"),
        (Self::Hour, "time.hour"),
        (Self::Date, "time.date"),
        (Self::TokensRequested, "request.tokens_requested"),
        (Self::ImageCount, "request.image_count"),
        (Self::Risk, "request.risk"),
        (Self::ResponseStatus, "response.status"),
        (Self::ResponseSize, "response.size"),
        (Self::ResponseTokens, "response.tokens"),
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is known only when the answer is there.
    #[must_use]
    pub fn is_response(self) -> bool {
        matches!(self, Self::ResponseStatus | Self::ResponseSize | Self::ResponseTokens)
    }
}

/// A field whose value is true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum BoolField {
    /// `request.stream`
    Stream,
}

impl BoolField {
    /// Every boolean field with its name in the language, in slot order.
    pub const ALL: [(Self, &'static str); 1] = [(Self::Stream, "request.stream")];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// Names of all built-in detectors.
pub fn detector_names() -> impl Iterator<Item = &'static str> {
    catalogue::detectors().iter().map(|detector| detector.id)
}

/// Whether a header field carries credentials. They are not facts: a policy that compared them would have them in its source.
#[must_use]
pub fn is_credential_header(name: &str) -> bool {
    ["authorization", "x-api-key", "api-key", "cookie"].iter().any(|credential| name.eq_ignore_ascii_case(credential))
}
