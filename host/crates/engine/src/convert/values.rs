//! JSON that a guest wrote, bounded by what it becomes in memory: a megabyte of
//! `{"a":{}}` takes a hundred.

use serde_json::Value;

/// Why a text is not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It holds more values than are left.
    TooMany,
    /// It is not JSON; serde_json itself refuses more than 128 levels.
    NotJson(serde_json::Error),
}

/// Reads JSON of at most `left` values of any kind, and takes them off.
pub(crate) fn read(text: &str, left: &mut usize) -> Result<Value, Refused> {
    *left = left.checked_sub(at_most(text)).ok_or(Refused::TooMany)?;
    serde_json::from_str(text).map_err(Refused::NotJson)
}

/// How many values a text holds if it is JSON: exactly, but that an empty list
/// or object counts twice. Allocates nothing.
fn at_most(text: &str) -> usize {
    let (mut values, mut in_text, mut escaped) = (1_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(value: &Value) -> (usize, usize) {
        let within: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(entries) => entries.values().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return (1, 0);
            }
        };
        let empty = usize::from(within.is_empty());
        let counts = within.into_iter().map(count);
        counts.fold((1, empty), |(a, b), (c, d)| (a + c, b + d))
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            r#"[a\[\{",\\\\]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((r#"[a\[,"\\\\]{0,4}"#, inner), 0..6)
                    .prop_map(|entries| { Value::Object(entries.into_iter().collect()) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_counted(value in any_json()) {
            let (values, empty) = count(&value);
            prop_assert_eq!(at_most(&value.to_string()), values + empty);
        }
    }

    #[test]
    fn what_is_left_is_for_all_texts_together() {
        let mut left = 5;
        assert!(read("[1,2]", &mut left).is_ok());
        assert!(matches!(read("[1,2]", &mut left), Err(Refused::TooMany)));
        assert!(matches!(read("[1", &mut left), Err(Refused::NotJson(_))));
        let bomb = format!("[{}1]", r#"{"a":{}},"#.repeat(1 << 18));
        assert!(matches!(read(&bomb, &mut 250_000), Err(Refused::TooMany)));
    }
}
