//! What decides, without any tool: root module, names, arguments, events,
//! errors, plans.

mod common;

use common::{granted, matches, request};
use expect_test::expect;
use nestor_sdk::{Action, Error, JsonType, Request, Value, json};
use proptest::prelude::*;
use terraform::backend::{Backend, workspace};
use terraform::diagnose::{Step, error, is_stale, needs_known_values, wants_init};
use terraform::events::{Ended, Event, event};
use terraform::plan::Plan;
use terraform::root::root;
use terraform::section::{Section, Settings, schema};
use terraform::tool::Command;

fn section(definition: Value) -> Section {
    Section::read(&definition).expect("a good section")
}

#[test]
fn the_engine_asks_for_exactly_what_it_runs() {
    let (patterns, _) = granted();
    for command in Command::ALL {
        let args = command.args(10);
        let fitting = patterns
            .iter()
            .filter(|pattern| matches(pattern, &args))
            .count();
        assert_eq!(fitting, 1, "{args:?}");
    }
    assert_eq!(
        patterns.len(),
        Command::ALL.len(),
        "a pattern that nobody uses"
    );
}

#[test]
fn a_root_module() {
    let mut request = request(json!({"name": "a${b}", "size": 7}));
    request
        .declared_outputs
        .retain(|name, _| name == "endpoint" || name == "url");
    let section = section(json!({
        "module": "./module",
        "outputs": {"url": "connection"},
        "providers": {"aws": {"region": "${local.region}"}},
        "required_providers": {"aws": {"source": "hashicorp/aws", "version": "~> 6.0"}},
        "environments": {"dev": {"region": "eu-west-1"}}
    }));
    let variables = section.variables(&request).expect("variables");
    let root = root(
        &section,
        &request,
        &variables,
        "./modules/0123456789abcdef",
        &json!({"local": {}}),
    );
    expect![[r##"
        {
          "locals": {
            "name": "${var.name}",
            "region": "${var.region}",
            "size": "${var.size}"
          },
          "module": {
            "main": {
              "name": "${local.name}",
              "region": "${local.region}",
              "size": "${local.size}",
              "source": "./modules/0123456789abcdef"
            }
          },
          "output": {
            "endpoint": {
              "sensitive": true,
              "value": "${module.main.endpoint}"
            },
            "nestor_sensitive": {
              "value": {
                "endpoint": "${issensitive(module.main.endpoint)}",
                "url": "${issensitive(module.main.connection)}"
              }
            },
            "url": {
              "sensitive": true,
              "value": "${module.main.connection}"
            }
          },
          "provider": {
            "aws": {
              "region": "${local.region}"
            }
          },
          "terraform": {
            "backend": {
              "local": {}
            },
            "required_providers": {
              "aws": {
                "source": "hashicorp/aws",
                "version": "~> 6.0"
              }
            }
          },
          "variable": {
            "name": {},
            "region": {},
            "size": {}
          }
        }"##]]
    .assert_eq(&format!("{:#}", root.main));
    assert_eq!(
        root.variables,
        json!({"name": "a${b}", "size": 7, "region": "eu-west-1"})
    );
    assert!(!root.preview);
}

#[test]
fn a_preview_keeps_what_is_known_literal() {
    let config = json!({"name": "plain", "settings": {"url": JsonType::String.unknown(), "note": "${x} %{y}", "n": [1]}});
    let request = request(config.clone());
    let section = section(json!({"module": "module"}));
    let made = root(
        &section,
        &request,
        config.as_object().expect("an object"),
        "./m",
        &json!({"local": {}}),
    );
    assert!(made.preview);
    expect![[r#"{"name":"${var.name}","settings":{"n":[1],"note":"$${x} %%{y}","url":"${terraform_data.nestor_unknown.output}"}}"#]]
        .assert_eq(&made.main["locals"].to_string());
    assert_eq!(made.variables, json!({"name": "plain"}));
}

#[test]
fn sections_that_are_wrong_say_where() {
    let of = |definition| match Section::read(&definition) {
        Err(error) => error.to_string(),
        Ok(section) => panic!("{section:?}"),
    };
    let texts = [
        of(json!({})),
        of(json!({"module": "../up"})),
        of(json!({"module": "/etc"})),
        of(json!({"module": "git::https://example.com/x"})),
        of(json!({"module": "m", "modules": 1})),
        of(json!({"module": "m", "variables": {"a b": "/x"}})),
        of(json!({"module": "m", "backend": {"s3": 1}})),
        of(json!({"module": "m", "backend": {"s3": {}, "gcs": {}}})),
        of(json!({"module": "m", "environments": {"dev": {"x y": 1}}})),
    ];
    expect![[r#"
        invalid request: the definition's section for this engine: missing field `module`
        invalid request: the definition's section `terraform`: `module: ../up` leaves the definition's folder
        invalid request: the definition's section `terraform`: `module: /etc` must be a folder in the definition, such as ./module; a remote module is called from there
        invalid request: the definition's section `terraform`: `module: git::https://example.com/x` must be a folder in the definition, such as ./module; a remote module is called from there
        invalid request: the definition's section for this engine at /modules: unknown field `modules`, expected one of `module`, `variables`, `environments`, `outputs`, `backend`, `providers`, `required_providers`
        invalid request: the definition's section `terraform`: `a b` cannot be a name in a Terraform module
        invalid request: the definition's section `terraform`: the settings of backend `s3` must be an object, not 1
        invalid request: the definition's section `terraform`: a backend is a name or one key with its settings, not {"gcs":{},"s3":{}}
        invalid request: the definition's section `terraform`: `x y` cannot be a name in a Terraform module"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn the_published_schema_names_every_key_of_the_section() {
    let full = json!({
        "module": "./m", "variables": {"a": "/a", "b": {"config": "/b", "default": null}, "c": {"value": 1},
        "d": {"context": "composer"}}, "environments": {"*": {"e": 1}}, "outputs": {"o": "p"},
        "backend": {"s3": {"key": "{workspace}"}}, "providers": {"aws": {}}, "required_providers": {"aws": {}}
    });
    let section = section(full.clone());
    let keys = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&schema()["properties"]), keys(&full));
    assert_eq!(
        serde_json::to_value(&section).expect("JSON")["outputs"],
        full["outputs"]
    );
}

#[test]
fn variables_come_from_the_environment_then_the_config() {
    let mut request = request(json!({"size": 1}));
    let made =
        |request: &Request, definition| section(definition).variables(request).map(Value::Object);
    let environments =
        json!({"*": {"size": 9, "zone": "z"}, "dev": {"zone": "d"}, "prod": {"zone": "p"}});
    let plain = json!({"module": "m", "environments": environments});
    assert_eq!(
        made(&request, plain.clone()),
        Ok(json!({"size": 1, "zone": "d"}))
    );
    request.context.environment = "prod".into();
    assert_eq!(made(&request, plain), Ok(json!({"size": 1, "zone": "p"})));
    let mapped = json!({"module": "m", "variables": {
        "amount": "/size", "absent": "/absent", "other": {"config": "/absent", "default": 2},
        "env": {"context": "environment"}, "who": {"context": "deployment"}
    }});
    assert_eq!(
        made(&request, mapped),
        Ok(json!({"amount": 1, "other": 2, "env": "prod", "who": "test"}))
    );
}

#[test]
fn backends_get_the_names_filled_in() {
    let request = request(json!({}));
    let block = |value: Value| {
        Backend::read(&value).map(|backend| backend.block(&request, "ws").to_string())
    };
    let texts = [
        block(json!("local")),
        block(
            json!({"s3": {"bucket": "b", "key": "{environment}/{deployment}/{resource}.tfstate"}}),
        ),
        block(json!({"http": {"address": "https://state/{workspace}"}})),
        block(json!({"remote": {"organization": "o"}})),
        block(json!("cloud")),
    ];
    let lines: Vec<String> = texts
        .into_iter()
        .map(|text| text.unwrap_or_else(|error| error))
        .collect();
    expect![[r#"
        {"local":{}}
        {"s3":{"bucket":"b","key":"dev/test/database.tfstate"}}
        {"http":{"address":"https://state/ws"}}
        {"remote":{"organization":"o","workspaces":{"name":"ws"}}}
        `cloud` is no backend; use {"remote": {"organization": …}}"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn the_platform_goes_before_the_definition() {
    let mut request = request(json!({}));
    let section = section(json!({"module": "m", "backend": "s3"}));
    let kind = |request: &Request| {
        let settings = Settings::read(request).expect("settings");
        (
            settings.backend(&section).expect("a backend").kind,
            settings.parallelism(),
        )
    };
    assert_eq!(kind(&request), ("s3".to_string(), 10));
    request.settings = json!({"backend": "pg", "parallelism": 0, "somebody": "else's"});
    assert_eq!(kind(&request), ("pg".to_string(), 1));
}

#[test]
fn events_are_read() {
    let start = r#"{"@message":"a: Creating...","type":"apply_start","hook":{"resource":{"addr":"module.main.a"},"action":"create"}}"#;
    assert!(matches!(event(start), Some(Event::Started(hook)) if hook.address == "module.main.a"));
    let text = r#"{"@message":"x","type":"provision_progress","hook":{"output":"line"}}"#;
    assert_eq!(event(text), Some(Event::Provisioner("line".into())));
    assert_eq!(event("{\"broken"), None);
    assert_eq!(event("plain"), None);
    assert_eq!(
        event(r#"{"@message":"m","type":"of-tomorrow"}"#),
        Some(Event::Other("m".into()))
    );
}

fn failed(lines: &[&str]) -> Ended {
    let mut ended = Ended {
        code: 1,
        ..Ended::default()
    };
    for line in lines {
        match event(line) {
            Some(Event::Diagnostic(diagnostic)) => ended.diagnostics.push(diagnostic),
            _ => ended.keep(line),
        }
    }
    ended
}

fn diagnostic(summary: &str, detail: &str, more: Value) -> String {
    let mut diagnostic = json!({"severity": "error", "summary": summary, "detail": detail});
    diagnostic
        .as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    json!({"@message": summary, "type": "diagnostic", "diagnostic": diagnostic}).to_string()
}

#[test]
fn errors_are_told_apart() {
    let lock = diagnostic(
        "Error acquiring the state lock",
        "ConditionalCheckFailed\nWho: a@b",
        json!({}),
    );
    let network = diagnostic(
        "creating EC2 VPC",
        "dial tcp 1.2.3.4:443: i/o timeout",
        json!({"address": "module.main.aws_vpc.a"}),
    );
    let provider = diagnostic(
        "creating EC2 VPC",
        "VpcLimitExceeded",
        json!({
            "address": "module.main.aws_vpc.a",
            "range": {"filename": "modules/0123456789abcdef/net/vpc.tf", "start": {"line": 3, "column": 1}}
        }),
    );
    let module = diagnostic(
        "Invalid index",
        "No such key.",
        json!({
            "range": {"filename": "modules/0123456789abcdef/main.tf", "start": {"line": 12}}
        }),
    );
    let kinds: Vec<String> = [
        error(Step::Plan, &failed(&[&lock])),
        error(Step::Apply, &failed(&[&network])),
        error(Step::Apply, &failed(&[&network, &provider])),
        error(Step::Plan, &failed(&[&module])),
        error(Step::Apply, &failed(&[&module])),
        error(
            Step::Init,
            &failed(&[
                "Error: Failed to query",
                "Get \"https://registry\": connection reset by peer",
            ]),
        ),
        error(Step::Apply, &failed(&["panic: runtime error"])),
    ]
    .iter()
    .map(|error| format!("{error:?}"))
    .collect();
    expect![[r#"
        Transient { message: "Error acquiring the state lock: ConditionalCheckFailed Who: a@b", retry_after: Some(15s) }
        Transient { message: "creating EC2 VPC: dial tcp 1.2.3.4:443: i/o timeout (module.main.aws_vpc.a)", retry_after: None }
        Failed("creating EC2 VPC: dial tcp 1.2.3.4:443: i/o timeout (module.main.aws_vpc.a); creating EC2 VPC: VpcLimitExceeded (module.main.aws_vpc.a, module/net/vpc.tf:3)")
        Invalid([Violation { path: "", message: "Invalid index: No such key. (module/main.tf:12)" }])
        Failed("Invalid index: No such key. (module/main.tf:12)")
        Transient { message: "`init` ended with code 1: Error: Failed to query\nGet \"https://registry\": connection reset by peer", retry_after: None }
        Failed("`apply` ended with code 1: panic: runtime error")"#]]
    .assert_eq(&kinds.join("\n"));
}

#[test]
fn signs_in_errors_are_seen() {
    let init = diagnostic(
        "Backend initialization required, please run \"terraform init\"",
        "",
        json!({}),
    );
    assert!(wants_init(&failed(&[&init])));
    assert!(!wants_init(&failed(&["something else"])));
    assert!(is_stale(&failed(&[&diagnostic(
        "Saved plan is stale",
        "",
        json!({})
    )])));
    let count = diagnostic(
        "Invalid count argument",
        "a value that cannot be determined\nuntil apply",
        json!({}),
    );
    assert_eq!(
        needs_known_values(&failed(&[&count])),
        Some("Invalid count argument".into())
    );
    assert_eq!(needs_known_values(&failed(&[&count, &init])), None);
    assert_eq!(needs_known_values(&failed(&[])), None);
}

fn plan(changes: Value) -> Plan {
    let mut document = json!({"format_version": "1.2", "prior_state": {"values": {"root_module": {"child_modules": [
        {"resources": [{"mode": "managed"}, {"mode": "managed"}, {"mode": "data"}]}
    ]}}}});
    document
        .as_object_mut()
        .expect("an object")
        .extend(changes.as_object().expect("an object").clone());
    Plan::read(&document.to_string()).expect("a plan")
}

fn change(address: &str, actions: Value) -> Value {
    json!({"address": address, "mode": "managed", "change": {"actions": actions}})
}

#[test]
fn actions_are_told_apart() {
    let action = |changes: Vec<Value>| {
        let proposed = plan(json!({ "resource_changes": changes })).proposed(&request(json!({})));
        (proposed.action, proposed.summary)
    };
    let of = |actions: Value| action(vec![change("a", actions)]);
    assert_eq!(
        of(json!(["no-op"])),
        (Action::Noop, "nothing changes".into())
    );
    assert_eq!(of(json!(["read"])).0, Action::Noop);
    assert_eq!(
        of(json!(["create"])).0,
        Action::Update,
        "something was there already"
    );
    assert_eq!(of(json!(["update"])).0, Action::Update);
    assert_eq!(
        of(json!(["delete", "create"])),
        (Action::Replace, "1 to replace".into())
    );
    assert_eq!(of(json!(["create", "delete"])).0, Action::Replace);
    assert_eq!(of(json!(["forget"])).0, Action::Update, "one of two");
    assert_eq!(
        of(json!(["of-tomorrow"])).0,
        Action::Update,
        "an unknown action is not passed over"
    );
    let both = vec![
        change("a", json!(["delete"])),
        change("b", json!(["delete"])),
    ];
    assert_eq!(action(both), (Action::Delete, "2 to delete".into()));
    let preview = vec![change("terraform_data.nestor_unknown", json!(["create"]))];
    assert_eq!(action(preview).0, Action::Noop);
    let outputs = plan(json!({"output_changes": {"x": {"actions": ["create"], "after": 1}}}));
    assert!(!outputs.is_empty());
    assert_eq!(
        outputs.proposed(&request(json!({}))).summary,
        "only outputs change"
    );
    let steps = plan(
        json!({"resource_changes": [change("a", json!(["delete", "create"])), change("b", json!(["update"]))]}),
    );
    assert_eq!(steps.steps(), 3);
    let moved = json!({"address": "b", "previous_address": "a", "mode": "managed", "change": {"actions": ["no-op"]}});
    assert!(!plan(json!({"resource_changes": [moved]})).is_empty());
}

#[test]
fn sensitive_values_are_masked_and_their_changes_are_not_lost() {
    let changed = json!({"address": "module.main.db", "mode": "managed", "change": {
        "actions": ["update"],
        "before": {"password": "old", "tags": {"a": "1", "key": "k1"}, "size": 1, "id": "i"},
        "after": {"password": "new", "tags": {"a": "2", "key": "k2"}, "size": 1},
        "after_unknown": {"id": true},
        "before_sensitive": {"password": true, "tags": {"key": true}},
        "after_sensitive": {"password": true, "tags": {"key": true}}
    }});
    let proposed = plan(json!({"resource_changes": [changed]})).proposed(&request(json!({})));
    let lines: Vec<String> = proposed
        .changes
        .iter()
        .map(|change| {
            let show = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
            format!(
                "{} {} → {}{}",
                change.path,
                show(&change.before),
                show(&change.after),
                if change.sensitive { " (hidden)" } else { "" }
            )
        })
        .collect();
    expect![[r#"
        module.main.db#/id "i" → {"$unknown":"any"}
        module.main.db#/password "(sensitive)" → "(sensitive)" (hidden)
        module.main.db#/tags/a "1" → "2"
        module.main.db#/tags/key "(sensitive)" → "(sensitive)" (hidden)"#]]
    .assert_eq(&lines.join("\n"));
    let text = format!("{proposed:?}");
    for secret in ["old", "new", "k1", "k2"] {
        assert!(
            !text.contains(&format!("\"{secret}\"")),
            "{secret} in {text}"
        );
    }
}

#[test]
fn drift_is_what_changed_outside() {
    let drifted = |changes: Value| plan(json!({ "resource_drift": changes })).drift();
    let updated = json!({"address": "a", "mode": "managed", "change": {
        "actions": ["update"], "before": {"size": 1}, "after": {"size": 2}}});
    let deleted = json!({"address": "b", "mode": "managed", "change": {"actions": ["delete"], "before": {"id": "x"}}});
    assert_eq!(drifted(json!([])).action, Action::Noop);
    let both = drifted(json!([updated, deleted]));
    assert_eq!(
        (both.action, both.summary.as_str()),
        (Action::Update, "1 changed, 1 deleted outside")
    );
    assert_eq!(both.changes[0].path, "a#/size");
    assert_eq!(both.changes[1].before, Some(json!({"id": "x"})));
}

#[test]
fn a_long_list_of_changes_is_cut_and_says_so() {
    let many: Vec<Value> = (0..700)
        .map(|n| change(&format!("a[{n}]"), json!(["create"])))
        .collect();
    let proposed = plan(json!({ "resource_changes": many })).proposed(&request(json!({})));
    assert_eq!(proposed.changes.len(), 500);
    assert_eq!(
        proposed.summary,
        "700 to create (200 more changes not listed)"
    );
}

#[test]
fn a_plan_too_long_to_read_is_not_taken_for_an_empty_one() {
    let plan = Plan::counted(5000);
    assert!(!plan.is_empty());
    assert_eq!(plan.steps(), 5000);
    let proposed = plan.proposed(&request(json!({})));
    assert_eq!(
        (proposed.action, proposed.summary.as_str()),
        (Action::Update, "5000 resource actions, too many to list")
    );
    assert!(proposed.outputs.iter().all(|output| output.known.is_none()));
    let summary = r#"{"@message":"Plan: …","type":"change_summary","changes":{"add":3,"change":1,"remove":2,"import":0}}"#;
    assert_eq!(event(summary), Some(Event::Summary("Plan: …".into(), 6)));
}

#[test]
fn a_document_that_is_no_plan_is_an_error() {
    assert!(matches!(Plan::read("Error: x"), Err(Error::Failed(_))));
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z${%} ]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z${]{0,3}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// No value of a config gets into the root module, where it could be taken
    /// for an expression: values are in the variables' file alone.
    #[test]
    fn known_values_stay_out_of_the_root_module(a in document(), b in document()) {
        let section = section(json!({"module": "m"}));
        let made = |value: Value| {
            let request = request(json!({ "x": value }));
            let variables = section.variables(&request).expect("variables");
            root(&section, &request, &variables, "./m", &json!({"local": {}}))
        };
        let (first, second) = (made(a.clone()), made(b));
        prop_assert_eq!(first.main, second.main);
        prop_assert_eq!(&first.variables["x"], &a);
    }

    /// A workspace is a name that every backend takes, and tells two resources
    /// apart whatever they are called.
    #[test]
    fn workspaces_are_valid_and_differ(
        prefix in "[a-z_/.-]{0,70}", a in ("[a-z-]{1,40}", "[a-z-]{1,9}", "[a-z-]{1,40}"), b in ("[a-z-]{1,40}", "[a-z-]{1,9}", "[a-z-]{1,40}")
    ) {
        let named = |(deployment, environment, name): &(String, String, String)| {
            let mut request = Request::for_test(name, json!({}));
            request.context.deployment = deployment.clone();
            request.context.environment = environment.clone();
            workspace(&prefix, &request)
        };
        let name = named(&a);
        prop_assert!(name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        prop_assert_eq!(&name, &named(&a));
        prop_assert_eq!(name == named(&b), a == b);
    }
}
