//! The built-in schema: what a policy can see, by name and type (POLICY-LANGUAGE §2).
//!
//! Fields are dense enums so that the interpreter and the native code address the same slots.

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
}

impl StrField {
    /// Every text field with its name in the language, in slot order.
    pub const ALL: [(Self, &'static str); 11] = [
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
    ];
}

/// A field whose value is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IntField {
    /// `request.size`: bytes of the request body
    RequestSize,
    /// `time.hour`: 0–23
    Hour,
}

impl IntField {
    /// Every number field with its name in the language, in slot order.
    pub const ALL: [(Self, &'static str); 2] = [(Self::RequestSize, "request.size"), (Self::Hour, "time.hour")];
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
}

/// The built-in detectors, by the name that policies use: (name, label, what it finds).
pub const DETECTORS: [(&str, &str, &str); 4] = [
    ("credit_card", "CREDIT_CARD", "payment card number (IIN range and Luhn)"),
    ("email", "EMAIL", "e-mail address"),
    ("phone", "PHONE", "phone number in E.164 or North American form"),
    ("us_ssn", "US_SSN", "US social security number (SSA exclusions)"),
];
