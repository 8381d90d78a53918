//! A verified caller as one core keeps it: with what the policy in force makes of it.

use super::Identity;
use policy_compiler::{CompiledPolicy, IdentityFacts};
use policy_lang::Facts;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

/// An [`Identity`] and the [`IdentityFacts`] of the policy that judged it last. Not `Sync`: every core has its own.
#[derive(Debug)]
pub struct KnownCaller {
    identity: Identity,
    facts: RefCell<Option<Rc<IdentityFacts>>>,
}

impl KnownCaller {
    /// A caller that no policy has judged yet.
    #[must_use]
    pub fn new(identity: Identity) -> Rc<Self> {
        Rc::new(Self { identity, facts: RefCell::new(None) })
    }

    /// What the policy makes of this caller: kept until another policy asks. `facts` are those of a call with this identity.
    pub fn facts(&self, policy: &CompiledPolicy, facts: &Facts<'_>) -> Rc<IdentityFacts> {
        let mut kept = self.facts.borrow_mut();
        match &*kept {
            Some(known) if known.policy_generation() == policy.generation() => Rc::clone(known),
            _ => Rc::clone(kept.insert(Rc::new(policy.identity_facts(facts)))),
        }
    }
}

impl Deref for KnownCaller {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use policy_lang::{Source, load_sources};

    #[test]
    fn facts_are_made_once_per_policy() {
        let policy = || {
            let text = "policy \"p\" version 1\nrule a.b { when identity in group(\"g\") allow }".to_owned();
            let source = Source { name: "p.policy".to_owned(), text };
            policy_compiler::compile(load_sources(vec![source]).unwrap().program)
        };
        let (first, second) = (policy(), policy());
        let caller = KnownCaller::new(Identity::new("alice", "https://idp.example.com"));
        let facts = caller.facts(&first, &Facts::empty());
        assert!(Rc::ptr_eq(&facts, &caller.facts(&first, &Facts::empty())));
        let later = caller.facts(&second, &Facts::empty());
        assert_eq!(later.policy_generation(), second.generation());
        assert!(!Rc::ptr_eq(&facts, &later));
        assert_eq!(caller.subject, "alice");
    }
}
