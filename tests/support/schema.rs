//! A validator for the part of JSON Schema that our schemas use.

use serde_json::Value;

/// What is wrong with a value, for the few keywords that our schema uses. Any other keyword is a problem too, so that the schema
/// cannot say what is not tested.
pub(crate) fn problems(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, argument) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let name = argument.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                found.extend(problems(root, &root["$defs"][name], value, path));
            }
            "const" if value != argument => found.push(format!("{path} is {value}")),
            "enum" if !argument.as_array().unwrap().contains(value) => {
                found.push(format!("{path} is {value}"));
            }
            "const" | "enum" => {}
            "type" => {
                let one = std::slice::from_ref(argument);
                let types = argument.as_array().map_or(one, Vec::as_slice);
                if !types
                    .iter()
                    .any(|name| is_of_type(name.as_str().unwrap(), value))
                {
                    found.push(format!("{path} is {value}, not {argument}"));
                }
            }
            "minimum" => {
                if value.is_u64() && value.as_u64() < argument.as_u64() {
                    found.push(format!("{path} is {value}"));
                }
            }
            "pattern" => {
                // The two patterns that occur: hashes and the ENR id.
                let text = value.as_str().unwrap_or_default();
                let digits = match argument.as_str().unwrap() {
                    "^0x[0-9a-f]{64}$" => text.strip_prefix("0x").filter(|it| it.len() == 64),
                    "^[0-9a-f]{16}$" => Some(text).filter(|it| it.len() == 16),
                    other => panic!("unknown pattern {other}"),
                };
                let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
                if !value.is_null() && !digits.is_some_and(is_hex) {
                    found.push(format!("{path} is {value}"));
                }
            }
            "required" => {
                for name in argument.as_array().unwrap() {
                    if !value.is_null() && value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{path} has no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in argument.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        found.extend(problems(root, schema, member, &format!("{path}.{name}")));
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(argument, false);
                for name in value.as_object().map(|it| it.keys()).into_iter().flatten() {
                    if schema["properties"].get(name).is_none() {
                        found.push(format!("{path} has an unknown {name}"));
                    }
                }
            }
            "items" => {
                for (position, element) in value.as_array().into_iter().flatten().enumerate() {
                    let path = format!("{path}[{position}]");
                    found.extend(problems(root, argument, element, &path));
                }
            }
            other => found.push(format!("the schema has an untested keyword {other}")),
        }
    }
    found
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        other => panic!("unknown type {other}"),
    }
}
