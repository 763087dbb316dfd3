//! `nestor plan`.

use clap::Args;
use nestor_client::{Change, Client, Plan, PlannedChange};
use serde_json::Value;

use std::path::PathBuf;

use super::file::DeploymentFile;
use super::impact::elsewhere;
use super::out::{Colour, one_line};
use super::part::{self, PartArgs};
use super::{Code, Failure, Format, Out, OutputArgs};

/// Differences of one resource that are shown; JSON has all.
const MAX_CHANGES: usize = 50;
/// Characters of a value that are shown; JSON has all.
const MAX_VALUE: usize = 120;

/// As people ask for them: what comes, what changes, what goes.
const ACTIONS: [&str; 6] = ["create", "update", "replace", "delete", "possible", "noop"];

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A deployment whose latest revision is planned again: what applying it
    /// once more would change, when definitions have changed since
    #[arg(required_unless_present = "file", conflicts_with_all = ["file", "target", "affected", "out"])]
    id: Option<String>,
    /// The deployment, as JSON or YAML; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    part: PartArgs,
    /// Keep the plan in this file, for `nestor apply --plan`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// End with 0 when nothing would change, and with 7 when something would or might
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl PlanArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn run(args: &PlanArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let plan = match (&args.file, &args.id) {
        (Some(file), _) => {
            let file = DeploymentFile::read(file)?;
            let part = args.part.part();
            let plan = client.plan_part(file.body.clone(), &part).await;
            plan.map_err(|e| file.explain(e))?
        }
        (None, id) => client.plan_again(id.as_deref().unwrap_or_default()).await?,
    };
    out.answer(&plan.raw, |out| show(&plan, false, out))?;
    if let Some(path) = &args.out {
        part::write(path, &plan, &args.part)?;
    }
    Ok(if args.detailed_exitcode && changes_something(&plan) {
        Code::Different
    } else {
        Code::Done
    })
}

/// A plan for people: of a revision, or of the deletion of all of it.
pub(crate) fn show(plan: &Plan, deletes: bool, out: &Out) -> String {
    let id = out.paint(Colour::Bold, &one_line(&plan.id));
    let mut text = if deletes {
        format!("{id}: what deleting it would destroy\n\n")
    } else {
        format!("{id}: what revision {} would change\n\n", plan.revision)
    };
    for resource in &plan.resources {
        text.push_str(&planned(resource, out));
    }
    for warning in &plan.warnings {
        text.push_str(&format!("warning: {}\n", one_line(warning)));
    }
    text.push_str(&format!("\n{}\n", summary(plan)));
    if let Some(impact) = &plan.impact {
        text.push_str(&elsewhere(impact, out));
    }
    if !plan.digest.is_empty() {
        let digest = out.paint(Colour::Dim, &one_line(&plan.digest));
        text.push_str(&format!("Plan {digest}\n"));
    }
    text
}

/// `In all: 1 create, 2 noop`, in the order of [`ACTIONS`].
fn summary(plan: &Plan) -> String {
    if !changes_something(plan) {
        return "Nothing would change.".to_owned();
    }
    let rank = |action: &str| ACTIONS.iter().position(|known| *known == action);
    let mut counts: Vec<_> = plan.summary.iter().filter(|(_, n)| **n > 0).collect();
    // Actions that this version does not know come last.
    counts.sort_by_key(|(action, _)| rank(action).unwrap_or(ACTIONS.len()));
    let counts: Vec<String> = counts
        .iter()
        .map(|(action, n)| format!("{n} {}", one_line(action)))
        .collect();
    format!("In all: {}", counts.join(", "))
}

fn changes_something(plan: &Plan) -> bool {
    plan.summary
        .iter()
        .any(|(action, n)| action != "noop" && *n > 0)
}

fn sign(action: &str) -> (&'static str, Colour) {
    match action {
        "create" => ("+", Colour::Good),
        "update" => ("~", Colour::Busy),
        "replace" => ("±", Colour::Bad),
        "delete" => ("-", Colour::Bad),
        "possible" => ("?", Colour::Busy),
        _ => ("=", Colour::Dim),
    }
}

fn planned(resource: &PlannedChange, out: &Out) -> String {
    let (sign, colour) = sign(&resource.action);
    let head = format!(
        "{sign} {:<8} {}",
        one_line(&resource.action),
        one_line(&resource.name)
    );
    let mut text = format!(
        "{}  {}  {}",
        out.paint(colour, &head),
        one_line(&resource.catalog_ref),
        one_line(&resource.engine)
    );
    if !resource.depends_on.is_empty() {
        text.push_str(&format!(
            "  after {}",
            one_line(&resource.depends_on.join(", "))
        ));
    }
    if let Some(from) = &resource.adopts {
        text.push_str(&format!("  adopted from {}", one_line(from)));
    }
    text.push('\n');
    if !resource.reason.is_empty() {
        text.push_str(&format!(
            "    {}\n",
            out.paint(Colour::Dim, &one_line(&resource.reason))
        ));
    }
    for change in resource.changes.iter().take(MAX_CHANGES) {
        text.push_str(&format!(
            "    {}\n",
            difference(change, ["", "gone, or not known yet"])
        ));
    }
    if resource.changes.len() > MAX_CHANGES {
        text.push_str(&format!(
            "    and {} more (-o json shows all)\n",
            resource.changes.len() - MAX_CHANGES
        ));
    }
    for (name, value) in &resource.outputs {
        text.push_str(&format!(
            "    output {}: {}\n",
            one_line(name),
            value_text(value)
        ));
    }
    text
}

/// `/size: 20 → 50`; a side that is not there has its own words, or none.
pub(crate) fn difference(change: &Change, nothing: [&str; 2]) -> String {
    let side = |value: &Value| match change.sensitive {
        true => "(sensitive)".to_owned(),
        false => value_text(value),
    };
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let what = match (before.map(side), after.map(side)) {
        (None, None) => "changes".to_owned(),
        (None, Some(after)) if nothing[0].is_empty() => after,
        (before, after) => format!(
            "{} → {}",
            before.as_deref().unwrap_or(nothing[0]),
            after.as_deref().unwrap_or(nothing[1])
        ),
    };
    match one_line(&change.path) {
        // The whole of it.
        path if path.is_empty() => what,
        path if before.is_none() && after.is_none() => format!("{path} {what}"),
        path => format!("{path}: {what}"),
    }
}

/// A value in a line: what is not known yet by its type.
pub(crate) fn value_text(value: &Value) -> String {
    if let Some(json_type) = value.get("$unknown").and_then(Value::as_str) {
        return match json_type {
            "any" => "(known after it is applied)".to_owned(),
            known => format!("({}, known after it is applied)", one_line(known)),
        };
    }
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    };
    nestor_core::text::shortened(&one_line(&text), MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_summary_is_in_the_order_in_which_people_ask() {
        for (counts, says) in [
            (
                serde_json::json!({"noop": 2, "create": 0}),
                "Nothing would change.",
            ),
            (serde_json::json!({}), "Nothing would change."),
            (
                serde_json::json!({"create": 1, "delete": 2, "noop": 3, "possible": 4, "replace": 5, "update": 6, "a": 7}),
                "In all: 1 create, 6 update, 5 replace, 2 delete, 4 possible, 3 noop, 7 a",
            ),
        ] {
            let plan: Plan = serde_json::from_value(
                serde_json::json!({"id": "a", "revision": 1, "resources": [], "summary": counts}),
            )
            .unwrap();
            assert_eq!(summary(&plan), says);
        }
    }

    #[test]
    fn plans_read_well() {
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "id": "web-app", "revision": 2,
            "resources": [
                {"name": "database", "engine": "terraform", "catalogRef": "aws-rds-mysql:1.0.0", "action": "update",
                 "reason": "size changed", "adopts": "old-app/db", "dependsOn": [], "changes": [
                    {"path": "/size", "before": 20, "after": 50},
                    {"path": "/password", "before": "x", "after": "y", "sensitive": true},
                    {"path": "/tags"}, {"path": "/zone", "before": "a"}, {"path": "/note", "after": ""},
                    {"path": "", "after": {"a": 1}}],
                 "outputs": {"endpoint": {"$unknown": "string"}}},
                {"name": "deployment", "engine": "helm", "catalogRef": "k8s-deployment:2.1.0", "action": "possible",
                 "reason": "hangs on database.endpoint", "dependsOn": ["database"], "changes": [], "outputs": {}},
            ],
            "warnings": ["something\nodd"], "summary": {"update": 1, "possible": 1},
        }))
        .unwrap();
        expect![[r#"
            web-app: what revision 2 would change

            ~ update   database  aws-rds-mysql:1.0.0  terraform  adopted from old-app/db
                size changed
                /size: 20 → 50
                /password: (sensitive) → (sensitive)
                /tags changes
                /zone: a → gone, or not known yet
                /note: ""
                {"a":1}
                output endpoint: (string, known after it is applied)
            ? possible deployment  k8s-deployment:2.1.0  helm  after database
                hangs on database.endpoint
            warning: something odd

            In all: 1 update, 1 possible
        "#]]
        .assert_eq(&show(&plan, false, &Out::plain()));
        assert!(
            show(&plan, true, &Out::plain())
                .starts_with("web-app: what deleting it would destroy\n")
        );
    }
}
