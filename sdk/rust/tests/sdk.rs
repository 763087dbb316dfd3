//! The SDK as an engine's author uses it.

use expect_test::expect;
use nestor_sdk::testing::{FakeHost, Script};
use nestor_sdk::value::{has_unknown, unknown};
use nestor_sdk::{
    Action, Description, Engine, Error, Host, Invocation, JsonType, Outcome, Pending,
    ProposedChanges, Request, Settled, Value, diff, json,
};
use proptest::prelude::*;
use serde::Deserialize;
use std::time::Duration;

#[derive(Default)]
struct Bare;

impl Engine for Bare {
    fn describe(&self) -> Description {
        Description::new("bare", "0.0.1", "Does nothing")
    }
}

nestor_sdk::export!(Bare);

#[test]
fn an_engine_without_functions_says_so() {
    let (host, request) = (FakeHost::new(), Request::for_test("database", json!({})));
    let unsupported = |name: &str| Error::Unsupported(format!("this engine has no `{name}`"));
    assert_eq!(Bare.plan(&host, &request), Err(unsupported("plan")));
    assert_eq!(Bare.apply(&host, &request), Err(unsupported("apply")));
    assert_eq!(Bare.destroy(&host, &request), Err(unsupported("destroy")));
    assert_eq!(Bare.drift(&host, &request), Err(unsupported("drift")));
    assert_eq!(Bare.render(&host, &request), Err(unsupported("render")));
    assert_eq!(Bare.check(&host), Ok(()));
    assert_eq!(Bare.validate(&host, &request), Ok(vec![]));
    assert!(matches!(
        Bare.observe(&host, &request),
        Err(Error::Missing(_))
    ));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only reading it is tested")]
struct Config {
    size: u32,
    #[serde(default)]
    zones: Vec<Zone>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only reading it is tested")]
struct Zone {
    #[serde(rename = "na/me")]
    name: String,
}

#[test]
fn a_config_that_does_not_fit_is_pointed_at() {
    let of = |config| {
        Request::for_test("database", config)
            .config::<Config>()
            .expect_err("must not fit")
            .to_string()
    };
    let texts = [
        of(json!({"size": "big"})),
        of(json!({"size": 1, "zones": [{"na/me": "a"}, {"na/me": 2}]})),
        of(json!({"size": 1, "colour": "red"})),
        of(json!("x")),
    ];
    expect![[r#"
        invalid request: /size: invalid type: string "big", expected u32
        invalid request: /zones/1/na~1me: invalid type: integer `2`, expected a string
        invalid request: /colour: unknown field `colour`, expected `size` or `zones`
        invalid request: invalid type: string "x", expected struct Config"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn a_definition_that_does_not_fit_is_named() {
    let mut request = Request::for_test("database", json!({}));
    request.definition = json!({"size": true});
    let error = request.definition::<Config>().expect_err("must not fit");
    expect!["invalid request: the definition's section for this engine at /size: invalid type: boolean `true`, expected u32"]
        .assert_eq(&error.to_string());
}

#[test]
fn a_diff_points_at_the_smallest_values() {
    let before = json!({"a": {"b": [1, 2], "same": 1}, "gone": true, "u": 1});
    let after =
        json!({"a": {"b": [1, 3, 4], "same": 1}, "new/key": null, "u": {"$unknown": "string"}});
    let proposed = ProposedChanges::diff(Some(&before), Some(&after));
    let lines: Vec<String> = proposed
        .changes
        .iter()
        .map(|change| {
            let show = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
            format!(
                "{} {} → {}",
                change.path,
                show(&change.before),
                show(&change.after)
            )
        })
        .collect();
    assert_eq!(
        (proposed.action, proposed.summary.as_str()),
        (Action::Update, "5 values change")
    );
    expect![[r#"
        /a/b/1 2 → 3
        /a/b/2 - → 4
        /gone true → -
        /u 1 → {"$unknown":"string"}
        /new~1key - → null"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn an_unknown_value_is_a_change_even_against_itself() {
    let value = json!({"endpoint": JsonType::String.unknown()});
    assert_eq!(
        ProposedChanges::diff(Some(&value), Some(&value)).action,
        Action::Update
    );
    assert!(has_unknown(&value));
    assert_eq!(unknown(&value["endpoint"]), Some(JsonType::String));
    assert_eq!(unknown(&json!({"$unknown": "string", "more": 1})), None);
}

#[test]
fn the_fake_host_has_files_a_store_secrets_and_tools() {
    let host = FakeHost::new()
        .file("module/main.tf", "a")
        .file("module/sub/x.tf", "b")
        .file("other", "c")
        .with_secret("token", "placeholder")
        .tools(|i| (i.tool == "known").then(|| Script::stdout("one\ntwo", 3)));
    let paths: Vec<String> = host
        .definition_files("module")
        .expect("files")
        .into_iter()
        .map(|f| f.path)
        .collect();
    assert_eq!(paths, ["main.tf", "sub/x.tf"]);
    assert!(host.definition_files("absent").is_err());

    host.store_put("a/1", b"x").expect("stored");
    assert_eq!(host.store_get("a/1"), Ok(Some(b"x".to_vec())));
    assert_eq!(host.store_keys("a/"), Ok(vec!["a/1".to_string()]));
    host.store_delete("a/1").expect("deleted");
    assert_eq!(host.store_get("a/1"), Ok(None));

    assert_eq!(host.secret("token").as_deref(), Ok("placeholder"));
    assert!(matches!(host.secret("other"), Err(Error::Denied(_))));

    let run = |tool: &str| host.spawn(Invocation::new(tool, ["-x"], Duration::from_secs(1)));
    assert!(matches!(run("unknown"), Err(Error::Denied(_))));
    let mut child = run("known").expect("scripted");
    assert_eq!(
        child.next_line().map(|line| line.text).as_deref(),
        Some("one")
    );
    assert_eq!(child.wait(), Ok(3));
    assert_eq!(host.take_invocations().len(), 2);
}

#[test]
fn a_real_program_runs_in_the_work_folder_and_is_ended_when_late() {
    let host = FakeHost::new().program("shell", "/bin/sh");
    let run = |script: &str, limit| {
        let run = Invocation::new("shell", ["-c", script], limit).env("WORD", "granted");
        host.spawn(run).expect("started")
    };
    let mut child = run(
        "echo $WORD; echo err >&2; touch here; exit 5",
        Duration::from_secs(20),
    );
    let mut texts: Vec<String> = std::iter::from_fn(|| child.next_line())
        .map(|line| line.text)
        .collect();
    texts.sort();
    assert_eq!(texts, ["err", "granted"]);
    assert_eq!(child.wait(), Ok(5));
    assert!(host.work().join("here").exists());
    assert!(
        run("exec sleep 60", Duration::from_millis(50))
            .wait()
            .is_err()
    );
}

#[test]
fn outcomes_are_built_in_one_expression() {
    let ready = Settled::new()
        .output("a", 1)
        .sensitive_output("b", "s")
        .state(json!({"x": 1}))
        .ready();
    let Outcome::Ready(settled) = ready else {
        panic!("must be ready")
    };
    assert_eq!(
        settled
            .outputs
            .iter()
            .map(|o| o.sensitive)
            .collect::<Vec<_>>(),
        [false, true]
    );
    let pending = Pending::new(Duration::from_secs(2), "waiting")
        .percent(200)
        .wait();
    assert!(matches!(pending, Outcome::Pending(p) if p.percent == Some(100)));
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c/~]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Equal documents differ nowhere, and each change says what is there.
    #[test]
    fn a_diff_is_sound(before in document(), after in document()) {
        prop_assert!(diff(Some(&before), Some(&before)).is_empty());
        let changes = diff(Some(&before), Some(&after));
        prop_assert_eq!(changes.is_empty(), before == after);
        for change in changes {
            prop_assert_ne!(&change.before, &change.after);
            prop_assert_eq!(before.pointer(&change.path), change.before.as_ref());
            prop_assert_eq!(after.pointer(&change.path), change.after.as_ref());
        }
    }
}
