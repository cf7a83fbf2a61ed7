//! Compose files as they are written, before Compose has put them together.

use std::fmt;

use serde::de::{
    Deserialize, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess as _, Visitor,
};
use serde_json::{Map, Value};

/// What a value with the tag `!reset` is read as: Compose takes it and what earlier files say of it away, whatever it is.
pub const RESET: &str = "!reset";

/// The documents of a file, in their order, which Compose 2 reads as so many files. Merged mappings (`<<`) are in their places as
/// Compose has them; `None` if it is no YAML.
pub fn documents(text: &[u8]) -> Option<Vec<Value>> {
    serde_yaml::Deserializer::from_slice(text)
        .map(|document| {
            Yaml::deserialize(document)
                .ok()
                .map(|Yaml(value)| merged(value))
        })
        .collect()
}

/// A document with every `<<` resolved: what is in a mapping counts before what it merges, and of several the earlier one.
fn merged(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            let merge = fields.remove("<<").map(merged);
            let mut fields: Map<String, Value> = fields
                .into_iter()
                .map(|(name, value)| (name, merged(value)))
                .collect();
            for (name, value) in merge.into_iter().flat_map(mappings).flatten() {
                fields.entry(name).or_insert(value);
            }
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(merged).collect()),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

/// The mappings that a `<<` names: one, or a list.
fn mappings(merge: Value) -> Vec<Map<String, Value>> {
    match merge {
        Value::Object(fields) => vec![fields],
        Value::Array(items) => items.into_iter().flat_map(mappings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A value of YAML with what JSON has not: tags, and whole numbers of more than 64 bits, which are read as text.
struct Yaml(Value);

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor).map(Self)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Yaml(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Yaml(value))) = entries.next_entry()? {
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }

    /// A tag of Compose's own is read as a variant. `!override` is for the files before, and no part of the value.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (tag, value) = tagged.variant::<String>()?;
        let Yaml(value) = value.newtype_variant()?;
        Ok(match tag.trim_start_matches('!') {
            "reset" => RESET.into(),
            _ => value,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merged_mappings_are_in_their_places() {
        let text = "\
x-every: &every {image: every, user: '1000'}
x-log: &log {restart: always, image: log}
x-charon: &charon {<<: *every, restart: 'no'}
services:
  <<: {vc: {<<: [*log, *charon]}}
  charon: {<<: *charon, user: '7', environment: [{<<: *log}]}
";
        let log = json!({"restart": "always", "image": "log"});
        assert_eq!(
            documents(text.as_bytes()).unwrap()[0]["services"],
            json!({
                "vc": {"restart": "always", "image": "log", "user": "1000"},
                "charon": {"image": "every", "user": "7", "restart": "no", "environment": [log]},
            })
        );
    }

    #[test]
    fn a_file_is_read_whatever_else_compose_takes_in_it() {
        let text = "\
x-amounts: [32000000000000000000, -32000000000000000000, 0x8C1Ff978036F2e9d7CC382Eff7B4c8c5, 32000000000, 1.5]
x-ports: {3610: tcp}
services:
  charon: !override
    image: example
    ports: !override ['3610:3610', !reset x]
    environment: !reset {A: 1}
  vc: !reset null
---
services: {vc: {image: other}}
";
        assert_eq!(
            documents(text.as_bytes()).unwrap(),
            [
                json!({
                    "x-amounts": [
                        "32000000000000000000",
                        "-32000000000000000000",
                        "186257940440936478770101971785270741189",
                        32_000_000_000_u64,
                        1.5,
                    ],
                    "x-ports": {"3610": "tcp"},
                    "services": {
                        "charon": {"image": "example", "ports": ["3610:3610", RESET], "environment": RESET},
                        "vc": RESET,
                    },
                }),
                json!({"services": {"vc": {"image": "other"}}}),
            ]
        );
        assert_eq!(documents(b"services: {"), None);
    }
}
