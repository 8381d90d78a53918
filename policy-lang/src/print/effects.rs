//! Effects as clauses.

use super::ClaimNames;
use super::atoms::{int_name, int_value, str_name};
use super::values::{duration, grouped, quoted, regex};
use crate::program::{
    ApprovalRequirement, Effect, GrantRequirement, LimitKey, LimitKind, Mask, Matcher, PurposeRequirement, RateLimit,
    RecordBound, RecordLevel, Selector, Severity, SourceKind, Transform,
};
use std::fmt;

/// What a denial says when nothing else is written.
const DENY_STATUS_DEFAULT: u16 = 403;

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_effect(f, self, &ClaimNames::new())
    }
}

pub(super) fn write_effect(f: &mut fmt::Formatter<'_>, effect: &Effect, claims: &ClaimNames) -> fmt::Result {
    match effect {
        Effect::Allow => f.write_str("allow"),
        Effect::Deny { text, status, hold } => {
            write!(f, "deny {}", quoted(text))?;
            if *status != DENY_STATUS_DEFAULT {
                write!(f, " status {status}")?;
            }
            f.write_str(if *hold { " hold" } else { "" })
        }
        Effect::RequireApproval(requirement) => write!(f, "{requirement}"),
        Effect::RequirePurpose(requirement) => write!(f, "{requirement}"),
        Effect::RequireGrant(requirement) => write!(f, "{requirement}"),
        Effect::Purpose { purpose, basis } => {
            write!(f, "purpose {}", quoted(purpose))?;
            match basis {
                Some(basis) => write!(f, " basis {}", quoted(basis)),
                None => Ok(()),
            }
        }
        Effect::Risk { points, why } => {
            write!(f, "risk {points}")?;
            match why.is_empty() {
                true => Ok(()),
                false => write!(f, " {}", quoted(why)),
            }
        }
        Effect::Mask(mask) => write!(f, "{mask}"),
        Effect::LimitRate(limit) => write_rate(f, limit, claims),
        Effect::LimitField { field, max } => write!(f, "limit {} to {}", int_name(*field), int_value(*field, *max)),
        Effect::Record { bound, level } => write!(f, "record {bound} {level}"),
        Effect::Retain { bound, time } => write!(f, "retain {bound} {}", duration(*time)),
        Effect::Seal(side) => write!(f, "seal {side}"),
        Effect::Alert { name, severity } => {
            write!(f, "alert {}", quoted(name))?;
            match *severity == Severity::default() {
                true => Ok(()),
                false => write!(f, " severity {severity}"),
            }
        }
    }
}

impl fmt::Display for ApprovalRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "require approval from {}", groups(&self.groups))?;
        if self.by != 1 {
            write!(f, " by {}", self.by)?;
        }
        write!(f, " within {} valid {}", duration(self.within), duration(self.valid))
    }
}

impl fmt::Display for GrantRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (within, lasting) = (duration(self.within), duration(self.lasting));
        write!(f, "require grant from {} within {within} for {lasting}", groups(&self.groups))
    }
}

impl fmt::Display for PurposeRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "require purpose in {}", self.purposes)?;
        if let Some(bases) = &self.bases {
            write!(f, " with basis in {bases}")?;
        }
        let from: Vec<String> = self.from.iter().map(SourceKind::to_string).collect();
        match self.from == [SourceKind::Claim, SourceKind::Policy] {
            true => Ok(()),
            false => write!(f, " from {}", from.join(" or ")),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.transform == Transform::Drop { "drop" } else { "mask" };
        write!(f, "{verb} {}{} {}", if self.record_only { "record " } else { "" }, self.side, self.selector)?;
        write_matchers(f, &self.matchers)?;
        match &self.transform {
            Transform::Drop => Ok(()),
            transform => write!(f, " as {transform}"),
        }
    }
}

/// Neighbours that a `detect(…)` would keep in this order share one.
fn write_matchers(f: &mut fmt::Formatter<'_>, matchers: &[Matcher]) -> fmt::Result {
    let mut before: Option<(bool, &str)> = None;
    for (index, matcher) in matchers.iter().enumerate() {
        let detector = match matcher {
            Matcher::Detector(name) => Some((false, name.as_str())),
            Matcher::Custom(detector) => Some((true, detector.name.as_str())),
            Matcher::Regex(_) => None,
        };
        let joins = before.is_some() && detector > before;
        if before.is_some() && !joins {
            f.write_str(")")?;
        }
        f.write_str(match (index, joins) {
            (0, _) => " with ",
            _ => ", ",
        })?;
        match (detector, joins, matcher) {
            (Some((_, name)), true, _) => f.write_str(name)?,
            (Some((_, name)), false, _) => write!(f, "detect({name}")?,
            (None, _, Matcher::Regex(source)) => f.write_str(&regex(source))?,
            (None, ..) => {}
        }
        before = detector;
    }
    f.write_str(if before.is_some() { ")" } else { "" })
}

fn write_rate(f: &mut fmt::Formatter<'_>, limit: &RateLimit, claims: &ClaimNames) -> fmt::Result {
    let amount = grouped(i64::try_from(limit.amount).unwrap_or(i64::MAX));
    let period = match limit.period.as_secs() {
        1 => "s",
        60 => "m",
        3_600 => "h",
        _ => "d",
    };
    write!(f, "limit {} {amount}/{period}", limit.kind)?;
    for (index, key) in limit.keys.iter().enumerate() {
        f.write_str(if index == 0 { " per " } else { ", " })?;
        match key {
            LimitKey::Str(field) => f.write_str(str_name(*field))?,
            LimitKey::Ip => f.write_str("request.ip")?,
            LimitKey::Header(name) => write!(f, "request.header({})", quoted(name))?,
            LimitKey::Claim(key) => write!(f, "identity.{}", claims.get(key).unwrap_or(key))?,
        }
    }
    match limit.burst {
        Some(burst) => write!(f, " burst {}", grouped(i64::try_from(burst).unwrap_or(i64::MAX))),
        None => Ok(()),
    }
}

fn groups(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("group({})", names.join(", "))
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rate(f, self, &ClaimNames::new())
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Path(path) => write!(f, "{path}"),
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label => f.write_str("label"),
            Self::Last4 => f.write_str("last4"),
            Self::Hash => f.write_str("hash"),
            Self::Token => f.write_str("token"),
            Self::Literal(text) => f.write_str(&quoted(text)),
            Self::Drop => f.write_str("drop"),
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim => "claim",
            Self::Policy => "policy",
            Self::Header => "header",
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl fmt::Display for RecordBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeast => "at least",
            Self::AtMost => "at most",
        })
    }
}

impl fmt::Display for RecordLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata",
            Self::Full => "full",
        })
    }
}
