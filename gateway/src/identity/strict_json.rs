//! JSON whose objects name no member twice. RFC 7519 §4 lets a parser take the last of two equal claims; another parser
//! takes the first, so a token with two subjects means two people. Such a token is refused.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// The members of one object.
pub(super) type Object = Map<String, Value>;

/// Reads one object, and nothing after it.
///
/// # Errors
/// No JSON object, or a member named twice at any depth.
pub(super) fn object(json: &[u8]) -> Result<Object, serde_json::Error> {
    match serde_json::from_slice::<Strict>(json)?.0 {
        Value::Object(members) => Ok(members),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_unambiguous_is_read_as_it_stands() {
        let text = r#"{"a":[1,-2,3.5,null,true,{"b":"c"}],"d":{}}"#;
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), json!({"a":[1,-2,3.5,null,true,{"b":"c"}],"d":{}}));
    }

    #[test]
    fn a_member_named_twice_is_refused_however_it_is_spelled() {
        for text in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","\u0073ub":"b"}"#,
            r#"{"x":{"roles":[],"roles":["admin"]}}"#,
            r#"{"x":[{"y":1,"y":1}]}"#,
            "[]",
            r#""text""#,
            r#"{"a":1} {"b":2}"#,
            "",
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
    }
}
