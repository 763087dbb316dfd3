use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn known(reference: &Reference) -> Lookup {
    let Reference::Output { output, .. } = reference else {
        return Lookup::Value {
            value: json!("test"),
            sensitive: false,
        };
    };
    let value = |value: Value| Lookup::Value {
        value,
        sensitive: false,
    };
    match output.as_str() {
        "text" => value(json!("a")),
        "number" => value(json!(1.5)),
        "flag" => value(json!(true)),
        "null" => value(Value::Null),
        "object" => value(json!({"list": [{"name": "x"}, 2], "${environment}": 1})),
        "secret" => Lookup::Value {
            value: json!("s3cret"),
            sensitive: true,
        },
        "later" => Lookup::Unknown {
            json_type: JsonType::Integer,
            sensitive: false,
        },
        "secret_later" => Lookup::Unknown {
            json_type: JsonType::String,
            sensitive: true,
        },
        "half" => value(
            json!({"host": "h", "port": {"$unknown": "integer"}, "list": [{"$unknown": "nonsense"}], "deep": [{"a/b": {"$unknown": "nonsense"}}]}),
        ),
        "markup" => value(json!("${environment}")),
        other => Lookup::Missing(format!("{other} has no value")),
    }
}

fn at(output: &str) -> String {
    format!("${{resources.r.outputs.{output}}}")
}

#[test]
fn whole_texts_keep_their_type_and_others_become_text() {
    let config = json!({
        "whole": [at("text"), at("number"), at("flag"), at("null"), at("object")],
        "inner": format!("{}-{}-{}-${{environment}}-$${{x}}", at("text"), at("number"), at("flag")),
        "path": [at("object.list.0.name"), at("object.list.1")],
        "plain": ["$", 5, null, "x"],
        "$${k}": 1,
    });
    let resolved = resolve_config(&config, &mut known).unwrap();
    assert_eq!(
        resolved.config,
        json!({
            "whole": ["a", 1.5, true, null, {"list": [{"name": "x"}, 2], "${environment}": 1}],
            "inner": "a-1.5-true-test-${x}",
            "path": ["x", 2],
            "plain": ["$", 5, null, "x"],
            "$${k}": 1,
        })
    );
    assert!(resolved.sensitive.is_empty() && resolved.unknown.is_empty());
}

#[test]
fn a_value_that_looks_like_a_reference_is_not_followed() {
    let resolved = resolve_config(&json!({"x": at("markup")}), &mut known).unwrap();
    assert_eq!(resolved.config, json!({"x": "${environment}"}));
}

#[test]
fn unknown_and_sensitive_values_are_told() {
    let config = json!({
        "a": at("later"),
        "b": {"c/d": format!("x{}", at("later"))},
        "e": [at("secret"), format!("{}:{}", at("secret"), at("secret")), at("secret_later")],
        "f": at("later.deeper"),
    });
    let resolved = resolve_config(&config, &mut known).unwrap();
    assert_eq!(
        resolved.config,
        json!({
            "a": {"$unknown": "integer"},
            "b": {"c/d": {"$unknown": "string"}},
            "e": ["s3cret", "s3cret:s3cret", {"$unknown": "string"}],
            "f": {"$unknown": "any"},
        })
    );
    assert_eq!(resolved.sensitive, ["/e/0", "/e/1", "/e/2"]);
    assert_eq!(resolved.unknown, ["/a", "/b/c~1d", "/e/2", "/f"]);
}

#[test]
fn a_value_may_be_unknown_in_part() {
    let table = [
        (at("half.host"), json!("h"), vec![]),
        (at("half.port"), json!({"$unknown": "integer"}), vec!["/x"]),
        (
            at("half.port.digits"),
            json!({"$unknown": "any"}),
            vec!["/x"],
        ),
        (at("half.list.0"), json!({"$unknown": "any"}), vec!["/x"]),
        (
            at("half.deep"),
            json!([{"a/b": {"$unknown": "nonsense"}}]),
            vec!["/x/0/a~1b"],
        ),
        (format!("tcp:{}", at("half.host")), json!("tcp:h"), vec![]),
        (
            format!("tcp:{}", at("half.port")),
            json!({"$unknown": "string"}),
            vec!["/x"],
        ),
    ];
    for (text, config, unknown) in table {
        let resolved = resolve_config(&json!({"x": text}), &mut known).unwrap();
        assert_eq!(resolved.config, json!({"x": config}), "{text}");
        assert_eq!(resolved.unknown, unknown, "{text}");
    }
    // What is behind nothing known is refused all the same.
    let found = resolve_config(&json!({"x": at("half.host.x")}), &mut known);
    assert!(found.is_err(), "{found:?}");
}

#[test]
fn what_cannot_be_resolved_is_told_at_once() {
    let config = json!({
        "a": at("gone"), "b": [format!("x{}", at("object"))], "c": at("object.nope"), "d": at("object.list.9"),
        "e": "${broken", "f": format!("{}{}", at("null"), at("gone")), "g": at("text.x"),
    });
    let problems = resolve_config(&config, &mut known).unwrap_err();
    let shown: String = problems.iter().map(|p| format!("{p}\n")).collect();
    expect![[r#"
        /a: ${resources.r.outputs.gone}: gone has no value
        /b/0: ${resources.r.outputs.object}: an object cannot stand within a longer text
        /c: ${resources.r.outputs.object.nope}: the output has no "nope"
        /d: ${resources.r.outputs.object.list.9}: the output has no "list.9"
        /e: ${${broken}: the ${ has no closing }; known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 1)
        /f: ${resources.r.outputs.null}: null cannot stand within a longer text
        /f: ${resources.r.outputs.gone}: gone has no value
        /g: ${resources.r.outputs.text.x}: the output has no "x"
    "#]].assert_eq(&shown);
}

#[test]
fn values_do_not_pile_up() {
    let value = json!("x".repeat(1 << 20));
    let config = json!(vec![at("big"); 20]);
    let mut big = |_: &Reference| Lookup::Value {
        value: value.clone(),
        sensitive: false,
    };
    let problems = resolve_config(&config, &mut big).unwrap_err();
    assert_eq!(
        problems[0].problem,
        "the values put into this config exceed 8388608 bytes"
    );
}

proptest! {
    /// Without references nothing changes, and what was resolved has none left.
    #[test]
    fn a_config_without_references_stays_as_it_is(texts in prop::collection::vec("[^$]{0,10}", 0..6)) {
        let config = json!({"a": texts, "b": {"c": texts.first()}});
        let resolved = resolve_config(&config, &mut |_| panic!("nothing to look up")).unwrap();
        prop_assert_eq!(resolved.config, config);
    }

    #[test]
    fn every_reference_is_looked_up_once_where_it_stands(numbers in prop::collection::vec(0_i64..1000, 1..20)) {
        let names: Vec<String> = (0..numbers.len()).map(|i| format!("${{resources.r.outputs.o{i}}}")).collect();
        let mut asked = Vec::new();
        let resolved = resolve_config(&json!(names), &mut |reference| {
            let Reference::Output { output, .. } = reference else { panic!("{reference}") };
            let i: usize = output.as_str()[1..].parse().unwrap();
            asked.push(i);
            Lookup::Value { value: numbers[i].into(), sensitive: false }
        });
        prop_assert_eq!(resolved.unwrap().config, json!(numbers));
        prop_assert!(asked.into_iter().eq(0..numbers.len()));
    }
}
