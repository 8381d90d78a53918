//! JSON as it stands in tests: the grammar has checked its form, this gives its value.

use super::grammar::Rule;
use super::{Context, Pair, Parsed, boxed};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use serde_json::{Map, Value};

impl Context {
    /// The scanner has bounded the nesting.
    pub(super) fn json_value(&self, pair: Pair<'_>) -> Parsed<Value> {
        let inner = self.next(&mut pair.into_inner())?;
        match inner.as_rule() {
            Rule::json_object => self.json_object(inner),
            Rule::json_array => {
                let entries = inner.into_inner().filter(|pair| pair.as_rule() == Rule::json_value);
                Ok(Value::Array(entries.map(|pair| self.json_value(pair)).collect::<Parsed<_>>()?))
            }
            _ => self.json_scalar(&inner),
        }
    }

    pub(super) fn json_object(&self, pair: Pair<'_>) -> Parsed<Value> {
        let mut members = Map::new();
        for member in pair.into_inner().filter(|pair| pair.as_rule() == Rule::json_member) {
            let mut inner = member.into_inner();
            let key = self.next_of(&mut inner, Rule::string)?;
            let value = self.json_value(self.next_of(&mut inner, Rule::json_value)?)?;
            let name = match self.json_scalar(&key)? {
                Value::String(name) => name,
                _ => return Err(self.internal(&key)),
            };
            if members.insert(name, value).is_some() {
                return Err(boxed(
                    Diagnostic::error(Code::DuplicateMember, "this member stands twice in its object")
                        .label(self.at(&key), "the second")
                        .help("which of the two counts would be anyone's guess: keep one"),
                ));
            }
        }
        Ok(Value::Object(members))
    }

    fn json_scalar(&self, pair: &Pair<'_>) -> Parsed<Value> {
        serde_json::from_str(pair.as_str()).map_err(|_| {
            boxed(
                Diagnostic::error(Code::BadJson, "this is not JSON")
                    .label(self.at(pair), "")
                    .help(r#"JSON has the escapes \" \\ \/ \b \f \n \r \t and \u0041"#),
            )
        })
    }
}
