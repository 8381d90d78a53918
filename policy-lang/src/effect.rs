//! What a rule does when its condition holds.

use crate::program::{CustomDetector, JsonPath, StrSet};
use crate::schema::{IntField, StrField};
use std::time::Duration;

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Lets the call pass unless something restricts it.
    Allow,
    /// Refuses with a text for the caller.
    Deny {
        /// For callers; must not leak.
        text: String,
        /// 4xx.
        status: u16,
        /// Of a response-phase rule on a stream: nothing is delivered before the rule was judged.
        hold: bool,
    },
    /// Parks the call until people agree.
    RequireApproval(ApprovalRequirement),
    /// Demands a purpose of the call.
    RequirePurpose(PurposeRequirement),
    /// Demands that a person was given access for a time (DECISIONS 13).
    RequireGrant(GrantRequirement),
    /// Gives the call a purpose (DECISIONS 14).
    Purpose {
        /// Its name.
        purpose: String,
        /// The lawful basis.
        basis: Option<String>,
    },
    /// Adds to `request.risk` (DECISIONS 13).
    Risk {
        /// How much.
        points: u32,
        /// For staff.
        why: String,
    },
    /// Masks or drops text.
    Mask(Mask),
    /// At most so many in a time.
    LimitRate(RateLimit),
    /// A number of the call has an upper bound (DECISIONS 16).
    LimitField {
        /// Which number.
        field: IntField,
        /// The largest value that passes.
        max: i64,
    },
    /// Bounds what is kept of the payload.
    Record {
        /// `at least` or `at most`.
        bound: RecordBound,
        /// Of what.
        level: RecordLevel,
    },
    /// Bounds how long the payload is kept.
    Retain {
        /// `at least` or `at most`.
        bound: RecordBound,
        /// How long.
        time: Duration,
    },
    /// Keeps the original of a body sealed to the auditors' key.
    Seal(Side),
    /// Tells people.
    Alert {
        /// What of.
        name: String,
        /// How urgent it is.
        severity: Severity,
    },
}

/// `require approval from group("g") by N within T valid T`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalRequirement {
    /// Members of one of these may approve; sorted.
    pub groups: Vec<String>,
    /// How many distinct people.
    pub by: u32,
    /// How long the request may wait.
    pub within: Duration,
    /// How long an approval may be used.
    pub valid: Duration,
}

/// `require purpose in S with basis in B from …`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PurposeRequirement {
    /// Purposes that fit.
    pub purposes: StrSet,
    /// Lawful bases that fit; any, also none, where absent.
    pub bases: Option<StrSet>,
    /// Who may have declared it; sorted.
    pub from: Vec<SourceKind>,
}

/// Who declared a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// The issuer, in the token.
    Claim,
    /// A rule.
    Policy,
    /// The caller, in a header field.
    Header,
}

/// `require grant from group("g") within T for T`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantRequirement {
    /// Members of one of these may grant; sorted.
    pub groups: Vec<String>,
    /// How long the request for it may wait.
    pub within: Duration,
    /// How long the access lasts.
    pub lasting: Duration,
}

/// `limit requests 5/s per identity.subject burst 10`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// What is counted.
    pub kind: LimitKind,
    /// How many …
    pub amount: u64,
    /// … in this time.
    pub period: Duration,
    /// Each combination of values has an account of its own; none is one account for all.
    pub keys: Vec<LimitKey>,
    /// How many may come at once; the amount itself where absent.
    pub burst: Option<u64>,
}

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Calls.
    Requests,
    /// Tokens, prompt and answer.
    Tokens,
}

/// By what a rate limit tells accounts apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// A text field.
    Str(StrField),
    /// The caller's address.
    Ip,
    /// A header field, lower case.
    Header(String),
    /// A claim, by its key in the token.
    Claim(String),
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// For the next report.
    Low,
    /// For the working day.
    #[default]
    Medium,
    /// For now.
    High,
    /// Wakes people.
    Critical,
}

/// One mask effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Request or answer.
    pub side: Side,
    /// `mask record …`: the recorded copy only.
    pub record_only: bool,
    /// Where.
    pub selector: Selector,
    /// What; empty masks the whole value.
    pub matchers: Vec<Matcher>,
    /// With what it is replaced.
    pub transform: Transform,
}

/// Which way a text travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// To the model.
    Request,
    /// To the caller.
    Response,
}

/// Which texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every text channel that the dialect knows.
    Text,
    /// The values at a path of the non-streamed form (DECISIONS 9).
    Path(JsonPath),
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// A built-in detector.
    Detector(String),
    /// A detector of the policy.
    Custom(CustomDetector),
    /// A regex (source, checked by `policy_lang::regex`).
    Regex(String),
}

/// What stands in the place of a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// `[US_SSN]`; for a regex or a whole value `[MASKED]`.
    Label,
    /// Letters and digits but the last four become `*`.
    Last4,
    /// A short keyed digest: equal texts stay equal.
    Hash,
    /// A placeholder that is put back in the answer.
    Token,
    /// A fixed text.
    Literal(String),
    /// Nothing: the member or element itself is taken out. Whole values only.
    Drop,
}

/// A bound on what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordBound {
    /// Not less.
    AtLeast,
    /// Not more.
    AtMost,
}

/// How much of the payload is kept; leaves are always written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordLevel {
    /// No payload.
    Metadata,
    /// The masked payload.
    Full,
}
