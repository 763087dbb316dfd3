//! `${NAME}` and `${NAME:-default}` in texts of the config, from the
//! environment; `$${` is a `${`.

use super::document::{Kind, Node, Problems};

/// Expands every text of a document. A variable that is not set is a problem:
/// an empty password is worse than a host that does not start.
pub(crate) fn expand(
    node: &mut Node,
    path: &str,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) {
    match &mut node.kind {
        Kind::Text(text) => match expanded(text, env) {
            Ok(Some(new)) => node.kind = retyped(text, new),
            Ok(None) => {}
            Err(message) => problems.add(node.line, path, message),
        },
        Kind::List(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                expand(item, &format!("{path}[{i}]"), env, problems);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() {
                    entry.key.clone()
                } else {
                    format!("{path}.{}", entry.key)
                };
                expand(&mut entry.value, &path, env, problems);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
    }
}

/// A text that was one variable and nothing else becomes what its value looks
/// like: `parallelism: ${N}` is a number.
fn retyped(before: &str, after: String) -> Kind {
    let alone = before.starts_with("${") && before.find('}') == Some(before.len() - 1);
    match after.as_str() {
        "true" if alone => Kind::Bool(true),
        "false" if alone => Kind::Bool(false),
        text => match text.parse::<u64>() {
            // "007" is a name, not a number.
            Ok(number) if alone && number.to_string() == text => Kind::Number(number.into()),
            Ok(_) | Err(_) => Kind::Text(after),
        },
    }
}

/// None: nothing to expand.
fn expanded(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if at > 0 && rest.as_bytes()[at - 1] == b'$' {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner
            .find('}')
            .ok_or("has a ${ without its }; write $${ for a ${ that is meant so")?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            return Err(format!(
                "{:?} is not the name of an environment variable",
                nestor_core::text::shortened(name, 60)
            ));
        }
        match (env(name), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err(format!(
                    "needs the environment variable {name}, which is not set; set it, or write ${{{name}:-default}}"
                ));
            }
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_alone_has_the_type_of_its_value() {
        for (before, after, kind) in [
            ("${A}", "8", Kind::Number(8.into())),
            ("${A}", "true", Kind::Bool(true)),
            ("${A}", "08", Kind::Text("08".into())),
            ("${A}", "x", Kind::Text("x".into())),
            ("${A}${B}", "8", Kind::Text("8".into())),
            ("1${A}", "18", Kind::Text("18".into())),
        ] {
            assert_eq!(retyped(before, after.into()), kind, "{before} {after}");
        }
    }

    #[test]
    fn variables() {
        let env = |name: &str| (name == "A").then(|| "1${B}".to_owned());
        for (text, expected) in [
            ("plain", Ok(None)),
            ("x${A}y", Ok(Some("x1${B}y"))),
            ("${A}${A}", Ok(Some("1${B}1${B}"))),
            ("${C:-d}", Ok(Some("d"))),
            ("${C:-}", Ok(Some(""))),
            ("$${A}", Ok(Some("${A}"))),
            ("$${A}${A}", Ok(Some("${A}1${B}"))),
            ("a$b", Ok(None)),
            ("${C}", Err("needs the environment variable C")),
            ("${A", Err("without its }")),
            ("${1}", Err("is not the name")),
            ("${a b}", Err("is not the name")),
        ] {
            match (expanded(text, &env), expected) {
                (Ok(got), Ok(want)) => assert_eq!(got.as_deref(), want, "{text}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {got:?} is not {want:?}"),
            }
        }
    }
}
