//! The engine with the real tool: OpenTofu, Terraform, or both, whatever is on
//! this machine.

mod common;

use std::path::Path;

use common::{after, granted, host, matches, output, purpose, ready, request, tools};
use nestor_sdk::testing::FakeHost;
use nestor_sdk::{
    Action, Child, Engine, Error, File, Host, Invocation, JsonType, Level, Line, ProposedChanges,
    Purpose, Request, Value, json,
};
use terraform::Terraform;

#[track_caller]
fn only_granted(host: &FakeHost) {
    let (patterns, env) = granted();
    for run in host.take_invocations() {
        assert!(
            patterns.iter().any(|pattern| matches(pattern, &run.args)),
            "not asked for: {:?}",
            run.args
        );
        for (name, value) in run.env {
            assert!(
                env.iter()
                    .any(|e| *e == name || *e == format!("{name}={value}")),
                "not asked for: {name}={value}"
            );
        }
    }
}

fn actions(host: &FakeHost) -> Vec<String> {
    let first = |run: &Invocation| run.args[0].clone();
    host.take_invocations().iter().map(first).collect()
}

#[test]
fn a_resource_lives_its_life() {
    for tool in tools() {
        let host = host(&tool);
        Terraform.check(&host).expect("the tool is new enough");

        let first = request(json!({"name": "orders", "zones": ["a", "b"]}));
        assert_eq!(Terraform.validate(&host, &first), Ok(vec![]));
        let planned = Terraform.plan(&host, &first).expect("planned");
        assert_eq!(
            (planned.action, planned.summary.as_str()),
            (Action::Create, "2 to create")
        );
        only_granted(&host);

        let settled = ready(Terraform.apply(&host, &first));
        // The plan made above is what was applied.
        assert_eq!(actions(&host), ["show", "apply", "output"]);
        assert_eq!(
            output(&settled, "endpoint").value,
            json!("orders.internal:5005")
        );
        assert_eq!(output(&settled, "zones").value, json!(["a", "b"]));
        assert!(!output(&settled, "endpoint").sensitive);
        assert!(
            output(&settled, "url").sensitive,
            "made from a sensitive variable, though not declared so"
        );
        let progress: Vec<_> = host
            .progressed()
            .into_iter()
            .filter_map(|(percent, _)| percent)
            .collect();
        assert!(
            progress.is_sorted_by(|a, b| a <= b || *b == 2),
            "{progress:?}"
        );
        assert!(progress.contains(&55), "half of the work: {progress:?}");

        // Again, the same: nothing happens, and no init.
        let again = after(&first, &settled, first.config.clone());
        let settled = ready(Terraform.apply(&host, &again));
        assert_eq!(actions(&host), ["plan", "show", "output"]);
        assert_eq!(
            Terraform.drift(&host, &again).expect("compared").summary,
            "as last applied"
        );
        assert_eq!(
            ready(Terraform.observe(&host, &again)).outputs,
            settled.outputs
        );
        only_granted(&host);

        // In place, and a change that replaces.
        let grown = after(
            &first,
            &settled,
            json!({"name": "orders", "zones": ["a", "b"], "size": 7}),
        );
        let planned = Terraform.plan(&host, &grown).expect("planned");
        assert_eq!(
            (planned.action, planned.summary.as_str()),
            (Action::Update, "1 to update")
        );
        let change = &planned.changes[0];
        assert_eq!(change.path, "module.main.terraform_data.storage#/input");
        assert_eq!(
            (&change.before, &change.after),
            (&Some(json!(5)), &Some(json!(7)))
        );
        let renamed = after(&first, &settled, json!({"name": "billing"}));
        assert_eq!(
            Terraform.plan(&host, &renamed).expect("planned").action,
            Action::Replace
        );
        let settled = ready(Terraform.apply(&host, &renamed));
        assert_eq!(
            output(&settled, "endpoint").value,
            json!("billing.internal:5005")
        );
        only_granted(&host);

        // Gone from the catalog, and yet destroyed; twice.
        host.drop_definition();
        let mut last = purpose(
            &after(&renamed, &settled, renamed.config.clone()),
            Purpose::Destroy,
        );
        last.definition = json!({});
        assert!(
            matches!(Terraform.observe(&host, &last), Err(Error::Missing(text)) if text.contains("2 resources"))
        );
        ready(Terraform.destroy(&host, &last));
        only_granted(&host);
        assert_eq!(
            std::fs::read_dir(host.work())
                .expect("the checkout")
                .count(),
            0
        );
        ready(Terraform.observe(&host, &last));
        ready(Terraform.destroy(&host, &last));
        assert_eq!(actions(&host), [""; 0]);
        last.prior = None;
        ready(Terraform.destroy(&host, &last));
    }
}

#[test]
fn unknown_values_go_through_the_whole_plan_and_never_further() {
    for tool in tools() {
        let host = host(&tool);
        let text = JsonType::String.unknown();
        let unknown = request(json!({
            "name": text, "size": JsonType::Integer.unknown(), "zones": JsonType::Array.unknown(),
            "settings": {"url": text, "port": 80}
        }));
        let planned = Terraform.plan(&host, &unknown).expect("planned");
        assert_eq!(
            (planned.action, planned.summary.as_str()),
            (Action::Create, "2 to create")
        );
        let known: Vec<_> = planned
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), output.known.is_some()))
            .collect();
        assert_eq!(
            known,
            [
                ("endpoint", false),
                ("id", false),
                ("url", false),
                ("zones", false)
            ]
        );
        let database = planned
            .changes
            .iter()
            .find(|change| change.path.ends_with("database"))
            .expect("planned");
        let after = database.after.as_ref().expect("created");
        assert_eq!(after["input"]["name"], JsonType::Any.unknown());
        assert_eq!(after["input"]["settings"]["port"], json!(80));
        assert_eq!(after["input"]["password"], json!("(sensitive)"));
        only_granted(&host);

        // Nothing of it is left that could be applied, and applying is refused.
        for name in ["main.tf.json", "preview.bin", "plan.bin"] {
            assert!(!host.work().join(name).exists(), "{name}");
        }
        let Err(Error::Invalid(violations)) = Terraform.apply(&host, &unknown) else {
            panic!("must be refused")
        };
        let paths: Vec<_> = violations
            .iter()
            .map(|violation| violation.path.as_str())
            .collect();
        assert_eq!(paths, ["/name", "/settings/url", "/size", "/zones"]);
        assert_eq!(actions(&host), [""; 0]);

        // With an earlier state, what is unknown is compared with it.
        let first = request(json!({"name": "orders"}));
        let settled = ready(Terraform.apply(&host, &first));
        let next = common::after(
            &first,
            &settled,
            json!({"name": "orders", "size": JsonType::Number.unknown()}),
        );
        let planned = Terraform.plan(&host, &next).expect("planned");
        let paths: Vec<_> = planned
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .collect();
        assert!(
            paths.contains(&"module.main.terraform_data.storage#/input"),
            "{paths:?}"
        );
        assert_eq!(planned.action, Action::Update);
        let id = planned
            .outputs
            .iter()
            .find(|output| output.name == "id")
            .expect("declared");
        assert_eq!(
            id.known.as_ref(),
            Some(&output(&settled, "id").value),
            "what does not change stays known"
        );
        assert_eq!(
            ready(Terraform.apply(&host, &after_again(&first, &settled))).outputs,
            settled.outputs
        );
    }
}

fn after_again(request: &Request, settled: &nestor_sdk::Settled) -> Request {
    after(request, settled, request.config.clone())
}

#[test]
fn a_count_of_unknown_values_is_an_undetermined_plan() {
    for tool in tools() {
        let host = host(&tool);
        host.set_file(
            "module/many.tf",
            "resource \"terraform_data\" \"many\" {\n  for_each = toset(var.zones)\n  input    = each.key\n}\n",
        );
        let planned = Terraform
            .plan(
                &host,
                &request(json!({"name": "orders", "zones": JsonType::Array.unknown()})),
            )
            .expect("an answer");
        assert_eq!(planned.action, Action::Create);
        assert!(
            planned.summary.contains("values it depends on are known"),
            "{}",
            planned.summary
        );
        let types: Vec<_> = planned
            .outputs
            .iter()
            .map(|output| output.json_type)
            .collect();
        assert_eq!(
            types,
            [
                JsonType::String,
                JsonType::String,
                JsonType::String,
                JsonType::Array
            ]
        );
    }
}

#[test]
fn literal_templates_in_a_config_stay_literal() {
    for tool in tools() {
        let host = host(&tool);
        let name = "a${b}%{c}$${d}";
        let settled = ready(Terraform.apply(&host, &request(json!({ "name": name }))));
        assert_eq!(
            output(&settled, "endpoint").value,
            json!(format!("{name}.internal:5005"))
        );
        // In a preview they stand beside expressions.
        let config = json!({"name": "orders", "settings": {"url": name, "port": JsonType::Number.unknown()}});
        let planned: ProposedChanges = Terraform.plan(&host, &request(config)).expect("planned");
        let shown = format!("{:?}", planned.changes);
        assert!(shown.contains("a${b}%{c}"), "{shown}");
    }
}

#[test]
fn mistakes_are_pointed_at() {
    for tool in tools() {
        let host = host(&tool);
        let invalid = |request: &Request| match Terraform.plan(&host, request) {
            Err(Error::Invalid(violations)) => {
                let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
                lines.join("\n")
            }
            other => panic!("must be invalid: {other:?}"),
        };
        let wrong_type = invalid(&request(json!({"name": "orders", "size": "large"})));
        assert!(
            wrong_type.starts_with("/size: ") && wrong_type.contains("a number is required"),
            "{wrong_type}"
        );
        let refused = invalid(&request(json!({"name": "a"})));
        assert!(
            refused.starts_with("/name: ") && refused.contains("longer than 2 characters"),
            "{refused}"
        );
        assert!(refused.contains("module/main.tf:4"), "{refused}");
        let missing = invalid(&request(json!({})));
        assert!(
            missing.starts_with("/name: ") && missing.contains("needs a value"),
            "{missing}"
        );
        let unknown = invalid(&request(json!({"name": "orders", "colour": "red"})));
        assert!(unknown.starts_with("/colour: "), "{unknown}");
        let bad_key = invalid(&request(json!({"name": "orders", "a b": 1, "source": "x"})));
        assert_eq!(bad_key.lines().count(), 2, "{bad_key}");
        assert!(unknown.contains("has no variable `colour`"), "{unknown}");
        let mut mapped = request(json!({"database": {"title": "a"}}));
        mapped.definition = json!({"module": "module", "variables": {"name": "/database/title", "size": {"value": "x"}}});
        let mapped = invalid(&mapped);
        assert!(
            mapped.contains("/database/title: ") && mapped.contains("a number is required"),
            "{mapped}"
        );
        let undeclared =
            invalid(&request(json!({"name": "orders"})).declares("port", JsonType::Number, false));
        assert!(
            undeclared.contains("its module does not have: `port`"),
            "{undeclared}"
        );

        let no_module = {
            let mut request = request(json!({}));
            request.definition = json!({"module": "./absent"});
            Terraform
                .plan(&host, &request)
                .expect_err("no such folder")
                .to_string()
        };
        assert!(no_module.contains("absent"), "{no_module}");
        host.set_file("module/broken.tf", "resource \"terraform_data\" {\n");
        let broken = invalid(&request(json!({"name": "orders"})));
        assert!(broken.contains("module/broken.tf:1"), "{broken}");
    }
}

#[test]
fn a_failure_half_way_goes_on_where_it_stopped() {
    for tool in tools() {
        let host = host(&tool);
        host.set_file(
            "module/step.tf",
            "resource \"terraform_data\" \"step\" {\n  depends_on = [terraform_data.database]\n  provisioner \"local-exec\" {\n    command = \"test -e allowed\"\n  }\n}\n",
        );
        let wanted = request(json!({"name": "orders"}));
        assert!(matches!(
            Terraform.observe(&host, &wanted),
            Err(Error::Missing(_))
        ));
        let Err(Error::Failed(text)) = Terraform.apply(&host, &wanted) else {
            panic!("must fail")
        };
        assert!(
            text.contains("module.main.terraform_data.step") && text.contains("module/step.tf"),
            "{text}"
        );
        assert!(
            matches!(Terraform.observe(&host, &wanted), Err(Error::Missing(text)) if text.contains("2 resource"))
        );
        std::fs::write(host.work().join("allowed"), "").expect("written");
        let settled = ready(Terraform.apply(&host, &wanted));
        assert_eq!(
            ready(Terraform.observe(&host, &wanted)).outputs,
            settled.outputs
        );
        only_granted(&host);
    }
}

/// A host that kills the tool when it has written a certain text.
struct Killer<'a>(&'a FakeHost, &'static str);

struct Doomed(Box<dyn Child>, &'static str);

impl Child for Doomed {
    fn next_line(&mut self) -> Option<Line> {
        let line = self.0.next_line()?;
        if line.text.contains(self.1) {
            self.0.kill();
        }
        Some(line)
    }
    fn wait(&mut self) -> Result<i32, Error> {
        self.0.wait()
    }
    fn kill(&mut self) {
        self.0.kill();
    }
}

impl Host for Killer<'_> {
    fn log(&self, level: Level, message: &str, fields: Value) {
        self.0.log(level, message, fields);
    }
    fn progress(&self, percent: Option<u8>, message: &str) {
        self.0.progress(percent, message);
    }
    fn definition_files(&self, under: &str) -> Result<Vec<File>, Error> {
        self.0.definition_files(under)
    }
    fn secret(&self, name: &str) -> Result<String, Error> {
        self.0.secret(name)
    }
    fn store_get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.0.store_get(key)
    }
    fn store_put(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.0.store_put(key, value)
    }
    fn store_delete(&self, key: &str) -> Result<(), Error> {
        self.0.store_delete(key)
    }
    fn store_keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.0.store_keys(prefix)
    }
    fn spawn(&self, invocation: Invocation) -> Result<Box<dyn Child>, Error> {
        Ok(Box::new(Doomed(self.0.spawn(invocation)?, self.1)))
    }
    fn work(&self) -> &Path {
        self.0.work()
    }
    fn definition(&self) -> &Path {
        self.0.definition()
    }
}

#[test]
fn a_killed_apply_is_settled_and_finished() {
    for tool in tools() {
        let host = host(&tool);
        host.set_file(
            "module/slow.tf",
            "resource \"terraform_data\" \"slow\" {\n  depends_on = [terraform_data.database]\n  provisioner \"local-exec\" {\n    command = \"test -e quick || sleep 3\"\n  }\n}\n",
        );
        let wanted = request(json!({"name": "orders"}));
        let killed = Terraform.apply(&Killer(&host, "slow: Creating..."), &wanted);
        assert!(killed.is_err(), "{killed:?}");
        let left = Terraform.observe(&host, &wanted);
        assert!(
            matches!(&left, Err(Error::Missing(text)) if text.contains("resource actions are left")),
            "{left:?}"
        );
        std::fs::write(host.work().join("quick"), "").expect("written");
        let settled = ready(Terraform.apply(&host, &wanted));
        assert_eq!(
            ready(Terraform.observe(&host, &wanted)).outputs,
            settled.outputs
        );
    }
}

#[test]
fn a_plan_that_the_state_outgrew_is_made_anew() {
    for tool in tools() {
        let host = host(&tool);
        let first = request(json!({"name": "orders"}));
        let settled = ready(Terraform.apply(&host, &first));
        let grown = after(&first, &settled, json!({"name": "orders", "size": 9}));
        Terraform.plan(&host, &grown).expect("planned");
        // Somebody applies by hand: the state's serial goes up.
        let plan = host.work().join("plan.bin");
        let kept = std::fs::read(&plan).expect("saved");
        let state = host.work().join("terraform.tfstate.d");
        let state = std::fs::read_dir(&state)
            .expect("a workspace")
            .next()
            .expect("one")
            .expect("entry")
            .path();
        let state = state.join("terraform.tfstate");
        let mut document: Value =
            serde_json::from_slice(&std::fs::read(&state).expect("state")).expect("JSON");
        document["serial"] = json!(document["serial"].as_u64().expect("a serial") + 1);
        std::fs::write(&state, document.to_string()).expect("written");
        assert!(plan.exists() && !kept.is_empty());
        let settled = ready(Terraform.apply(&host, &grown));
        assert_eq!(
            output(&settled, "endpoint").value,
            json!("orders.internal:5009")
        );
        assert!(
            host.logged()
                .iter()
                .any(|(_, text)| text.contains("planning again")),
            "{:?}",
            host.logged()
        );
    }
}

#[test]
fn the_definition_maps_names_environments_and_backends() {
    for tool in tools() {
        let host = host(&tool);
        let mut wanted = request(json!({"database": {"title": "orders"}, "ignored": 1}));
        wanted.declared_outputs.remove("endpoint");
        let mut wanted = wanted.declares("address", JsonType::String, true);
        wanted.definition = json!({
            "module": "module",
            "variables": {
                "name": "/database/title",
                "size": {"config": "/database/size", "default": 3},
                "zones": {"value": ["z"]}
            },
            "environments": {"dev": {"password": "from-dev"}, "*": {"password": "from-all"}},
            "outputs": {"address": "endpoint"},
            "backend": {"local": {"workspace_dir": "states"}}
        });
        assert_eq!(
            Terraform.validate(&host, &wanted),
            Ok(vec![
                "the definition does not use the config's `ignored`".to_string()
            ])
        );
        let settled = ready(Terraform.apply(&host, &wanted));
        assert_eq!(
            output(&settled, "address").value,
            json!("orders.internal:5003")
        );
        assert!(output(&settled, "address").sensitive);
        assert_eq!(output(&settled, "zones").value, json!(["z"]));
        assert_eq!(
            output(&settled, "url").value,
            json!("db://admin:from-dev@orders")
        );
        let workspace = settled.state["workspace"]
            .as_str()
            .expect("recorded")
            .to_string();
        assert!(workspace.starts_with("test-dev-database-"), "{workspace}");
        assert!(
            host.work()
                .join("states")
                .join(&workspace)
                .join("terraform.tfstate")
                .exists()
        );

        // The platform moves the state, and changes the prefix for new ones.
        wanted.settings = json!({"backend": {"local": {"workspace_dir": "moved"}}, "workspace_prefix": "nestor-"});
        let next = after(&wanted, &settled, wanted.config.clone());
        let settled = ready(Terraform.apply(&host, &next));
        assert!(
            host.work()
                .join("moved")
                .join(&workspace)
                .join("terraform.tfstate")
                .exists()
        );
        assert_eq!(
            settled.state["workspace"],
            json!(workspace),
            "an existing state keeps its name"
        );
        assert_eq!(output(&settled, "zones").value, json!(["z"]));
        ready(Terraform.destroy(&host, &after(&next, &settled, next.config.clone())));
        only_granted(&host);
    }
}

#[test]
fn without_the_tool_it_says_what_is_needed() {
    let host = FakeHost::new().file("module/main.tf", common::MODULE);
    let Err(Error::Denied(text)) = Terraform.apply(&host, &request(json!({"name": "orders"})))
    else {
        panic!("must be denied")
    };
    assert!(text.contains("needs a tool named `terraform`"), "{text}");
    assert!(matches!(Terraform.check(&host), Err(Error::Denied(_))));
}
