//! `nestor graph`.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use nestor_client::{Client, Graph};

use super::live::resource_colour;
use super::out::{Cell, Table, clean};
use super::{Code, Failure, Format, Out};

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// The deployment
    id: String,
    /// How the graph is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: GraphFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// For people: each resource with what goes first
    #[default]
    Table,
    /// For Graphviz: nestor graph ID -o dot | dot -Tsvg
    Dot,
    /// As the server answered
    Json,
    /// The same as YAML
    Yaml,
}

impl GraphArgs {
    pub(crate) fn format(&self) -> Format {
        match self.output {
            GraphFormat::Table | GraphFormat::Dot => Format::Table,
            GraphFormat::Json => Format::Json,
            GraphFormat::Yaml => Format::Yaml,
        }
    }
}

pub(crate) async fn run(args: &GraphArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let graph = client.graph(&args.id).await?;
    match args.output {
        GraphFormat::Dot => out.raw(&dot(&args.id, &graph))?,
        GraphFormat::Table | GraphFormat::Json | GraphFormat::Yaml => {
            out.answer(&graph.raw, |out| table(&graph, out))?;
        }
    }
    Ok(Code::Done)
}

fn table(graph: &Graph, out: &Out) -> String {
    let mut first: HashMap<&str, Vec<String>> = HashMap::new();
    for edge in &graph.edges {
        first
            .entry(&edge.to)
            .or_default()
            .push(format!("{} ({})", edge.from, edge.reason));
    }
    let mut table = Table::new(["NAME", "STATUS", "ENGINE", "DEFINITION", "AFTER"]);
    for node in &graph.nodes {
        let after = first
            .get(node.name.as_str())
            .map(|names| names.join(", "))
            .unwrap_or_default();
        table.row([
            node.name.as_str().into(),
            Cell::of(node.status.as_str(), resource_colour(node.status)),
            node.engine.as_str().into(),
            node.catalog_ref.as_str().into(),
            after.into(),
        ]);
    }
    table.show(out, None)
}

/// Edges point from what goes first to what depends on it; dashed ones are
/// implied by a reference alone.
fn dot(id: &str, graph: &Graph) -> String {
    let mut text = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
        quoted(id)
    );
    for node in &graph.nodes {
        let label = format!(
            "{}\\n{} · {}",
            escaped(&node.name),
            escaped(&node.engine),
            node.status
        );
        text.push_str(&format!("  {} [label=\"{label}\"];\n", quoted(&node.name)));
    }
    for edge in &graph.edges {
        let style = if edge.reason == "reference" {
            " [style=dashed]"
        } else {
            ""
        };
        text.push_str(&format!(
            "  {} -> {}{style};\n",
            quoted(&edge.from),
            quoted(&edge.to)
        ));
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn graphs_for_people_and_for_graphviz() {
        let graph: Graph = serde_json::from_value(serde_json::json!({
            "nodes": [
                {"name": "database", "engine": "terraform", "catalogRef": "a:1.0.0", "status": "ready"},
                {"name": "deployment", "engine": "helm", "catalogRef": "b:1.0.0", "status": "in_progress"},
                {"name": "dns", "engine": "terraform", "catalogRef": "c:1.0.0", "status": "blocked"},
            ],
            "edges": [
                {"from": "database", "to": "deployment", "reason": "reference"},
                {"from": "database", "to": "dns", "reason": "explicit"},
                {"from": "deployment", "to": "dns", "reason": "explicit and reference"},
            ],
        }))
        .unwrap();
        expect![[r#"
            NAME        STATUS       ENGINE     DEFINITION  AFTER
            database    ready        terraform  a:1.0.0
            deployment  in_progress  helm       b:1.0.0     database (reference)
            dns         blocked      terraform  c:1.0.0     database (explicit), deployment (explicit and reference)
        "#]].assert_eq(&table(&graph, &Out::plain()));
        expect![[r#"
            digraph "a\"b" {
              rankdir=LR;
              node [shape=box];
              "database" [label="database\nterraform · ready"];
              "deployment" [label="deployment\nhelm · in_progress"];
              "dns" [label="dns\nterraform · blocked"];
              "database" -> "deployment" [style=dashed];
              "database" -> "dns";
              "deployment" -> "dns";
            }
        "#]]
        .assert_eq(&dot("a\"b", &graph));
    }
}
