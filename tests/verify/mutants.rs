//! Systematic changes to every field of every file.

use serde_json::{Map, Value};

/// The same content with every object's keys in reverse order, and hexadecimal in upper case where it is data.
pub(crate) fn reversed_and_shouted(value: &Value) -> String {
    reorder(value).to_string()
}

fn reorder(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut reversed = Map::new();
            for (key, member) in members.iter().rev() {
                reversed.insert(key.clone(), reorder(member));
            }
            Value::Object(reversed)
        }
        Value::Array(elements) => elements.iter().map(reorder).collect(),
        Value::String(text) => Value::String(shout(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Hexadecimal of at least 4 bytes in upper case, with its `0x` kept; other text as it is.
fn shout(text: &str) -> String {
    let (prefix, digits) = match text.strip_prefix("0x") {
        Some(digits) => ("0x", digits),
        None => ("", text),
    };
    let is_hex = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{prefix}{}", digits.to_uppercase())
    } else {
        text.to_owned()
    }
}
