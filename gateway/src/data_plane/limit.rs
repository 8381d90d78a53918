//! Charges a call to the rate limits that it is under, and says in the API's shape when one has no room for it.

use std::cell::Cell;

use policy_compiler::dialect::ErrorKind;
use policy_lang::schema::is_credential_header;
use policy_lang::{ClaimValue, ClaimView as _, Effect, LimitKey, LimitKind, RateLimit, Requirements, RuleId, Verdict};

use super::approval;
use super::core::Core;
use super::error::CallError;
use super::exchange::Call;
use super::judge::{self, Question};
use crate::limits::{Charged, Due, Exceeded, Size, WaitingCall};

/// What a call was charged, until the call is written down as let in.
pub(super) type Charge = Cell<Option<Charged>>;

/// Bytes of text that count as a token until the model server has counted (DECISIONS 16).
const BYTES_PER_TOKEN: u64 = 4;

/// Charges every limit of the decision, or none.
///
/// # Errors
/// 429 with `Retry-After`.
pub(super) fn charge(core: &Core, call: &mut Call, body: Option<&[u8]>) -> Result<Charge, CallError> {
    let exceeded = {
        let Some(question) = call.question(core, body) else { return Ok(Charge::default()) };
        let Some(judged) = call.judged.as_ref() else { return Ok(Charge::default()) };
        let limits = limits_of(call);
        if limits.is_empty() {
            return Ok(Charge::default());
        }
        let strings = judge::strings(&question, &judged.model);
        let dues: Vec<Due<'_>> = limits
            .iter()
            .map(|(_, rule, limit)| Due {
                rule,
                limit,
                values: limit.keys.iter().map(|key| value(&question, &strings, key)).collect(),
            })
            .collect();
        let weight = &judged.weight;
        let answer = weight.answers_unsaid.saturating_mul(core.shared.config.limits.answer_tokens);
        let size = Size {
            requests: weight.requests,
            tokens: (weight.text_bytes / BYTES_PER_TOKEN).saturating_add(weight.answer_tokens).saturating_add(answer),
        };
        let waiting = match &judged.decision.verdict {
            Verdict::Pending(requirements) => {
                Some(waiting(approval::binding(core, call, question.caller, body), requirements))
            }
            _ => None,
        };
        match core.shared.limits.charge(&dues, size, waiting) {
            Ok(charged) => return Ok(Cell::new(Some(charged))),
            Err(exceeded) => limits
                .get(exceeded.due)
                .map(|(id, rule, limit)| (*id, refused(&exceeded, rule, limit)))
                .ok_or_else(|| CallError::new(ErrorKind::Internal, "internal", "A limit has no rule."))?,
        }
    };
    let (rule, error) = exceeded;
    if let Some(judged) = &mut call.judged {
        judged.limited = Some(rule);
    }
    Err(error)
}

/// Whether the call is under a limit of tokens, so that its answer's own count is wanted.
pub(super) fn counts_tokens(call: &Call) -> bool {
    limits_of(call).iter().any(|(_, _, limit)| limit.kind == LimitKind::Tokens)
}

/// The rate limits that the call owes. What is written twice counts once.
fn limits_of(call: &Call) -> Vec<(RuleId, &str, &RateLimit)> {
    let Some(judged) = &call.judged else { return Vec::new() };
    let rules = &call.policy.compiled.program().rules;
    let mut limits: Vec<(RuleId, &str, &RateLimit)> = Vec::new();
    for (id, effect) in &judged.decision.obligations.limits {
        if let Some(rule) = rules.get(id.0 as usize)
            && let Some(Effect::LimitRate(limit)) = rule.effects.get(*effect as usize)
            && !limits.iter().any(|(other, _, same)| other == id && *same == limit)
        {
            limits.push((*id, &rule.name, limit));
        }
    }
    limits
}

fn value(question: &Question<'_>, strings: &[&str], key: &LimitKey) -> String {
    match key {
        LimitKey::Str(field) => strings.get(*field as usize).copied().unwrap_or_default().to_owned(),
        LimitKey::Ip => question.peer.to_canonical().to_string(),
        LimitKey::Header(name) if is_credential_header(name) => String::new(),
        LimitKey::Header(name) => question.head.fields.text(name).unwrap_or_default().to_owned(),
        LimitKey::Claim(key) => match question.caller.claims.claim(key) {
            Ok(None) => String::new(),
            Ok(Some(ClaimValue::Str(text))) => text,
            Ok(Some(other)) => format!("{other:?}"),
            // Of a type that policies do not know: all of them together.
            Err(_) => "unreadable".to_owned(),
        },
    }
}

/// While people are asked, the call that they are asked about is the same call.
fn waiting(digest: [u8; 32], requirements: &Requirements) -> WaitingCall {
    let approvals = requirements.approvals.iter().map(|asked| asked.within + asked.valid);
    let grants = requirements.grants.iter().map(|asked| asked.within + asked.lasting);
    let longest = approvals.chain(grants).max().unwrap_or_default();
    WaitingCall { digest, for_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX) }
}

fn refused(exceeded: &Exceeded, rule: &str, limit: &RateLimit) -> CallError {
    let code = match limit.kind {
        _ if exceeded.no_room => "limits_full",
        LimitKind::Requests => "rate_limit_exceeded",
        LimitKind::Tokens => "token_limit_exceeded",
    };
    CallError::new(ErrorKind::RateLimited, code, exceeded.message(limit))
        .field("retry-after", exceeded.retry_after_s.to_string())
        .because(format!("rule {rule}"))
}
