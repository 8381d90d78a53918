//! Never trust the compiler blindly: native code is compared with the interpreter before it judges a call.

use super::NativeError;
use super::boundary::Boundary;
use policy_lang::{Facts, Phase, Program, Truth, trace};

/// Boundary requests per program.
const REQUESTS_MAX: usize = 2_000;
/// Rules judged in all requests together; it bounds the time for very large sets (a few tens of milliseconds).
const RULES_JUDGED_MAX: usize = 4_000_000;

/// Runs boundary requests through the interpreter and through `judge`, which fills in one truth per rule.
///
/// # Errors
/// [`NativeError::Divergence`] at the first request on which they differ.
pub(super) fn replay(program: &Program, judge: impl Fn(&Facts<'_>, &mut Vec<Truth>)) -> Result<(), NativeError> {
    let boundary = Boundary::new(program);
    let affordable = RULES_JUDGED_MAX / program.rules.len().max(1);
    let mut native = Vec::new();
    for (number, request) in boundary.requests(affordable.min(REQUESTS_MAX)).enumerate() {
        request.with_facts(|facts| {
            let interpreted = trace(program, facts, Phase::Request).truths;
            judge(facts, &mut native);
            first_difference(program, number, &interpreted, &native)
        })?;
    }
    Ok(())
}

fn first_difference(
    program: &Program,
    request: usize,
    interpreted: &[Truth],
    native: &[Truth],
) -> Result<(), NativeError> {
    if interpreted == native {
        return Ok(());
    }
    for (index, rule) in program.rules.iter().enumerate() {
        // A missing truth counts as an error, as in `conclude`.
        let of = |truths: &[Truth]| truths.get(index).copied().unwrap_or(Truth::Error);
        if of(interpreted) != of(native) {
            return Err(NativeError::Divergence {
                rule: rule.name.clone(),
                interpreted: of(interpreted),
                native: of(native),
                request,
            });
        }
    }
    Ok(())
}
