//! The keys behind `as hash` and `as token` of one call: the tenant's for hashes, the caller's session for tokens.

use std::rc::Rc;

use policy_compiler::redact::{Substitutes, TokenMap};

use super::core::Core;
use super::exchange::Call;
use super::plans::Plans;
use crate::token_vault::Session;

/// The plans with the keys that they need; as they are where they need none.
pub(super) fn keyed(core: &Core, call: &Call, plans: Rc<Plans>) -> Rc<Plans> {
    if !plans.needs_keys() {
        return plans;
    }
    let tenant = call.caller.as_ref().map(|caller| caller.tenant.as_str()).unwrap_or_default();
    let hash_key = core.shared.evidence.mac("mask hash", &[tenant.as_bytes()]);
    let mut tokens = TokenMap::default();
    if plans.request.issues_tokens() {
        let session = session(core, call);
        tokens = TokenMap::new(&core.shared.evidence.mac("mask token", &[&session.id]));
        for (token, value) in core.shared.tokens.open(&session, core.shared.clock.unix_ms()) {
            tokens.remember(&token, &value);
        }
    }
    Rc::new(plans.keyed(&Rc::new(Substitutes::new(hash_key, tokens))))
}

/// The plans with the keys that these others have, or with their own.
pub(super) fn keyed_like(core: &Core, call: &Call, plans: Rc<Plans>, others: &Plans) -> Rc<Plans> {
    match &others.substitutes {
        Some(substitutes) => Rc::new(plans.keyed(substitutes)),
        None => keyed(core, call, plans),
    }
}

/// Keeps the tokens that masking the request issued, for the answer and for what the session asks later.
pub(super) fn keep(core: &Core, call: &Call, plans: &Plans) {
    let Some(substitutes) = plans.substitutes.as_ref().filter(|_| plans.request.issues_tokens()) else { return };
    let mut fresh = Vec::new();
    substitutes.each_fresh(|token, value| fresh.push((token.to_owned(), value.to_vec())));
    core.shared.tokens.keep(&session(core, call), fresh, core.shared.clock.unix_ms());
}

/// A caller sees only what was hidden of the caller's own calls.
fn session(core: &Core, call: &Call) -> Session {
    let caller = call.caller.as_ref();
    let part = |of: fn(&crate::identity::Identity) -> &str| caller.map_or("", |caller| of(caller)).as_bytes();
    let parts = [part(|caller| &caller.tenant), part(|caller| &caller.issuer), part(|caller| &caller.subject)];
    let evidence = &core.shared.evidence;
    Session { id: evidence.mac("mask token session", &parts), key: evidence.mac("mask token seal", &parts) }
}
