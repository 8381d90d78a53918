//! The claims of a token as policies read them (`claim name : type`).

use super::strict_json::Object;
use policy_lang::{ClaimValue, ClaimView, Unreadable};
use serde_json::Value;
use std::collections::BTreeMap;

/// Objects within objects that are looked into: Keycloak's `resource_access.<client>.roles` needs two.
const DEPTH_MAX: usize = 4;

/// The object that claims of client certificates are in.
const CERTIFICATE: &str = "certificate";

/// Claims by their key; those within objects by the keys on the way, joined by dots. `None` is a value of no type that policies know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyClaims(BTreeMap<String, Option<ClaimValue>>);

impl PolicyClaims {
    /// What a verified token says.
    pub(super) fn new(claims: &Object) -> Self {
        let mut found = Self::default();
        // What a client certificate says is not for a token to say.
        let own = |key: &str| key != CERTIFICATE && !key.starts_with("certificate.");
        for (key, value) in claims.iter().filter(|(key, _)| own(key)) {
            found.add(key.clone(), value, DEPTH_MAX);
        }
        found
    }

    /// What another credential than a token says.
    pub(super) fn of(claims: impl IntoIterator<Item = (String, ClaimValue)>) -> Self {
        Self(claims.into_iter().map(|(key, value)| (key, Some(value))).collect())
    }

    /// A claim of the token itself goes before one of the same dotted name within an object.
    fn add(&mut self, key: String, value: &Value, depth: usize) {
        if let Value::Object(members) = value
            && depth > 0
        {
            for (name, inner) in members {
                self.add(format!("{key}.{name}"), inner, depth - 1);
            }
        }
        // A null claim is as good as none (OpenID Connect Core §5.3.2).
        if value.is_null() || (key.contains('.') && depth < DEPTH_MAX && self.0.contains_key(&key)) {
            return;
        }
        self.0.insert(key, ClaimValue::of_json(value));
    }
}

impl ClaimView for PolicyClaims {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        match self.0.get(key) {
            None => Ok(None),
            Some(None) => Err(Unreadable),
            Some(value) => Ok(value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn claims_by_key_and_by_way() {
        let token = r#"{"mfa":true,"level":3,"share":0.5,"teams":["a","b"],"mixed":["a",1],"gone":null,
            "realm_access":{"roles":["x"]},"realm_access.roles":["own"]}"#;
        let claims = PolicyClaims::new(&serde_json::from_str(token).unwrap());
        assert_eq!(claims.claim("mfa"), Ok(Some(ClaimValue::Bool(true))));
        assert_eq!(claims.claim("level"), Ok(Some(ClaimValue::Int(3))));
        assert_eq!(claims.claim("share"), Err(Unreadable));
        assert_eq!(claims.claim("teams"), Ok(Some(ClaimValue::List(vec!["a".to_owned(), "b".to_owned()]))));
        assert_eq!(claims.claim("mixed"), Err(Unreadable));
        assert_eq!(claims.claim("gone"), Ok(None));
        assert_eq!(claims.claim("realm_access"), Err(Unreadable));
        assert_eq!(claims.claim("realm_access.roles"), Ok(Some(ClaimValue::List(vec!["own".to_owned()]))));
        assert_eq!(claims.claim("other"), Ok(None));
    }

    #[test]
    fn a_token_says_nothing_of_certificates() {
        let token = r#"{"certificate":{"subject":"CN=root"},"certificate.issuer":"CN=x","sub":"a"}"#;
        let claims = PolicyClaims::new(&serde_json::from_str(token).unwrap());
        assert_eq!(claims.claim("certificate.subject"), Ok(None));
        assert_eq!(claims.claim("certificate.issuer"), Ok(None));
        assert!(claims.claim("sub").unwrap().is_some());
    }
}
