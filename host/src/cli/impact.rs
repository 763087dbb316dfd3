//! `nestor impact`.

use clap::Args;
use nestor_client::{Client, Impact, Touched};

use super::out::{Cell, Colour, Table, one_line};
use super::{Code, Failure, Format, Out, OutputArgs};

#[derive(Debug, Args)]
pub(crate) struct ImpactArgs {
    /// The deployment
    #[arg(required_unless_present_any = ["definition", "engine"])]
    id: Option<String>,
    /// The resource that would change; without it the whole deployment would go
    #[arg(long, value_name = "NAME", requires = "id")]
    resource: Option<String>,
    /// Of a definition instead: every version, or one that may come
    #[arg(long, value_name = "NAME[:VERSION]", conflicts_with_all = ["id", "engine"])]
    definition: Option<String>,
    /// Of another version of an engine instead
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    engine: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl ImpactArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn run(args: &ImpactArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let impact = match (&args.id, &args.definition, &args.engine) {
        (Some(id), ..) => client.impact(id, args.resource.as_deref()).await?,
        (None, Some(definition), _) => match definition.split_once(':') {
            Some((name, version)) => client.definition_impact(name, Some(version)).await?,
            None => client.definition_impact(definition, None).await?,
        },
        (None, None, engine) => {
            let engine = engine.as_deref().unwrap_or_default();
            client.engine_impact(engine).await?
        }
    };
    out.answer(&impact.raw, |out| show(&impact, out))?;
    Ok(Code::Done)
}

fn show(impact: &Impact, out: &Out) -> String {
    let mut text = table(&impact.resources.iter().collect::<Vec<_>>(), out);
    if impact.truncated {
        text.push_str("There may be more: not every deployment was looked at.\n");
    }
    text
}

/// What goes when a deployment is deleted, and who is touched elsewhere.
pub(crate) fn of_deletion(id: &str, impact: &Impact, out: &Out) -> String {
    let id = out.paint(Colour::Bold, &one_line(id));
    format!(
        "{id}: what deleting it would touch\n\n{}\n",
        show(impact, out)
    )
}

/// What a plan touches in other deployments; nothing when it is nothing.
pub(crate) fn elsewhere(impact: &Impact, out: &Out) -> String {
    let others: Vec<&Touched> = impact
        .resources
        .iter()
        .filter(|r| Some(&r.deployment) != impact.deployment.as_ref())
        .collect();
    let mut text = String::new();
    if !others.is_empty() {
        text.push_str("\nOther deployments that it touches:\n\n");
        text.push_str(&table(&others, out));
    }
    if impact.truncated {
        text.push_str("There may be more: not every deployment was looked at.\n");
    }
    text
}

fn table(touched: &[&Touched], out: &Out) -> String {
    let mut table = Table::new(["DEPLOYMENT", "RESOURCE", "AFFECTED", "WHY", "BY WAY OF"]);
    for one in touched {
        let colour = match one.affected.as_str() {
            "certainly" => Colour::Bad,
            "possibly" => Colour::Busy,
            _ => Colour::Dim,
        };
        // The first and the last are told already.
        let way = one.path.get(1..one.path.len().saturating_sub(1));
        table.row([
            one_line(&one.deployment).as_str().into(),
            one_line(&one.resource).as_str().into(),
            Cell::of(&one.affected, colour),
            one_line(&one.reason).as_str().into(),
            one_line(&way.unwrap_or_default().join(" → "))
                .as_str()
                .into(),
        ]);
    }
    table.show(out, None)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_is_touched_reads_well() {
        let impact: Impact = serde_json::from_value(serde_json::json!({
            "deployment": "network", "change": "resource vpc",
            "resources": [
                {"deployment": "network", "resource": "vpc", "affected": "certainly", "reason": "it is what changes", "path": ["network/vpc"]},
                {"deployment": "network", "resource": "dns", "affected": "not"},
                {"deployment": "shop", "resource": "web", "affected": "possibly", "reason": "it comes after db",
                 "path": ["network/vpc", "shop/db", "shop/web"]},
            ],
            "summary": {"certainly": 1, "not": 1, "possibly": 1}, "truncated": true,
        }))
        .unwrap();
        expect![[r#"
            DEPLOYMENT  RESOURCE  AFFECTED   WHY                 BY WAY OF
            network     vpc       certainly  it is what changes
            network     dns       not
            shop        web       possibly   it comes after db   shop/db
            There may be more: not every deployment was looked at.
        "#]]
        .assert_eq(&show(&impact, &Out::plain()));
        let others = elsewhere(&impact, &Out::plain());
        assert!(
            others.contains("shop") && !others.contains("dns"),
            "{others}"
        );
    }
}
