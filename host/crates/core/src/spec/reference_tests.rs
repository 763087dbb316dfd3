use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn names() -> impl Strategy<Value = Reference> {
    let path = prop::collection::vec("[A-Za-z0-9_-]{1,8}", 0..4);
    prop_oneof![
        Just(Reference::Environment),
        Just(Reference::DeploymentId),
        Just(Reference::Composer),
        Just(Reference::Revision),
        (
            "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
            "[A-Za-z_][A-Za-z0-9_-]{0,8}",
            path
        )
            .prop_map(|(resource, output, path)| Reference::Output {
                resource: resource.parse().unwrap(),
                output: output.parse().unwrap(),
                path,
            }),
    ]
}

proptest! {
    #[test]
    fn a_reference_is_parsed_back(reference in names()) {
        prop_assert_eq!(reference.to_string().parse(), Ok(reference));
    }

    #[test]
    fn a_text_is_printed_back(parts in prop::collection::vec(prop_oneof!["[^$]{0,6}", Just("$".into()), Just("$${".into()), names().prop_map(|r| format!("${{{r}}}"))], 0..8)) {
        let text = parts.concat();
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn what_is_printed_is_parsed_back_and_no_text_panics(text in ".{0,80}|[$a-z{}. ]{0,40}") {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
        }
    }

    #[test]
    fn a_text_without_markup_is_itself(text in ".{0,40}") {
        prop_assume!(!Template::has_markup(&text));
        let template = Template::parse(&text).unwrap();
        let whole = template.parts().iter().map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Reference(reference) => panic!("{reference}"),
        });
        prop_assert_eq!(whole.collect::<String>(), text);
    }
}

fn parts(text: &str, expected: Expect) {
    let shown = match Template::parse(text) {
        Ok(template) => format!("{:?}", template.parts()),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn forms_and_mistakes() {
    parts("", expect!["[]"]);
    parts(
        "a $ b $5 ${environment}!",
        expect![[r#"[Literal("a $ b $5 "), Reference(Environment), Literal("!")]"#]],
    );
    parts(
        "${ resources.db.outputs.hosts.0.name }",
        expect![[
            r#"[Reference(Output { resource: "db", output: "hosts", path: ["0", "name"] })]"#
        ]],
    );
    parts(
        "$${environment} $$${x} $$",
        expect![[r#"[Literal("${environment} $${x} $$")]"#]],
    );
    parts(
        "ä${environment",
        expect![
            "the ${ has no closing }; known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 2)"
        ],
    );
    parts(
        "${}",
        expect![[
            r#""" is not a reference: known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 1)"#
        ]],
    );
    parts(
        "ää ${env}",
        expect![[
            r#""env" is not a reference: known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 4)"#
        ]],
    );
    parts(
        "${resources.db.endpoint}",
        expect![[
            r#""resources.db.endpoint" is not complete: write ${resources.<name>.outputs.<output>} (at character 1)"#
        ]],
    );
    parts(
        "${resources.DB.outputs.x}",
        expect![[
            r#"resource name "DB" contains 'D'; only lower-case letters, digits and '-' are allowed (at character 1)"#
        ]],
    );
    parts(
        "${resources.db.outputs.9}",
        expect![[
            r#"output "9" is not an output name: a letter or '_', then letters, digits, '_' or '-', at most 63 (at character 1)"#
        ]],
    );
    parts(
        "${resources.db.outputs.x.}",
        expect![[r#""" is not a key or index: use letters, digits, '_' and '-' (at character 1)"#]],
    );
    parts(
        &format!("${{resources.db.outputs.x{}}}", ".a".repeat(17)),
        expect!["at most 16 keys may stand behind an output (at character 1)"],
    );
    parts(
        &format!("${{{}}}", "x".repeat(10_000)),
        expect![[
            r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" is not a reference: known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 1)"#
        ]],
    );
    parts(
        &"${environment}".repeat(65),
        expect!["a text may hold at most 64 references (at character 897)"],
    );
    parts(
        "${${environment}}",
        expect![[
            r#""${environment" is not a reference: known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${ (at character 1)"#
        ]],
    );
}
