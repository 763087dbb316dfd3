//! `nestor catalog`.

use clap::Subcommand;
use nestor_client::{Client, Definition, DefinitionList, DefinitionVersions};
use serde_json::Value;

use super::out::{Cell, Colour, Table};
use super::plan::value_text;
use super::{Code, Failure, Format, Out, OutputArgs};

/// Levels of objects whose fields are listed; -o json has all.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// List what can be deployed: every version of every definition
    List(OutputArgs),
    /// Show a definition: the fields of its config, and its outputs
    Get {
        /// Its name; with a version that one, else the highest
        #[arg(value_name = "NAME[:VERSION]")]
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl CatalogCommand {
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::List(output) | Self::Get { output, .. } => output.output,
        }
    }
}

pub(crate) async fn run(
    command: &CatalogCommand,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    match command {
        CatalogCommand::List(_) => {
            let all = client.definitions().await?;
            out.answer(&all.raw, |out| list(&all, out))?;
        }
        CatalogCommand::Get { name, .. } => {
            let (name, version) = match name.split_once(':') {
                Some((name, version)) => (name, Some(version)),
                None => (name.as_str(), None),
            };
            let all = client.definition(name).await?;
            let (at, definition) = chosen(&all, version)?;
            out.answer(&all.raw["versions"][at], |out| {
                detail(definition, &all, out)
            })?;
        }
    }
    Ok(Code::Done)
}

fn list(all: &DefinitionList, out: &Out) -> String {
    if all.items.is_empty() {
        return "The catalog is empty; name a folder of definitions in catalog.directory, or with: nestor serve --catalog DIR\n".to_owned();
    }
    let mut table = Table::new(["NAME", "VERSION", "ENGINES", "DESCRIPTION"]);
    for definition in &all.items {
        table.row([
            definition.name.as_str().into(),
            definition.version.as_str().into(),
            definition.engines.join(", ").into(),
            definition.description.as_str().into(),
        ]);
    }
    table.show(out, None)
}

/// The version that is asked for, else the highest, and its place.
fn chosen<'a>(
    all: &'a DefinitionVersions,
    version: Option<&str>,
) -> Result<(usize, &'a Definition), Failure> {
    // Lowest first.
    let mut numbered = all.versions.iter().enumerate().rev();
    let found = match version {
        None => numbered.next(),
        Some(version) => numbered.find(|(_, d)| d.version == version),
    };
    found.ok_or_else(|| {
        let there: Vec<&str> = all.versions.iter().map(|d| d.version.as_str()).collect();
        let text = format!(
            "{} has no version {}; it has {}",
            all.name,
            version.unwrap_or_default(),
            there.join(", ")
        );
        Failure::new(Code::Refused, text)
    })
}

fn detail(definition: &Definition, all: &DefinitionVersions, out: &Out) -> String {
    let mut head = Table::default();
    let mut row = |name: &str, value: Cell| head.row([Cell::of(name, Colour::Dim), value]);
    row("name", definition.name.as_str().into());
    row("version", definition.version.as_str().into());
    let others: Vec<&str> = all
        .versions
        .iter()
        .map(|other| other.version.as_str())
        .filter(|version| *version != definition.version)
        .collect();
    if !others.is_empty() {
        row("also", others.join(", ").into());
    }
    row("engines", definition.engines.join(", ").into());
    if !definition.description.is_empty() {
        row("description", definition.description.as_str().into());
    }
    let mut text = head.show(out, None);
    let title = |text: &str| format!("\n{}\n", out.paint(Colour::Bold, text));
    let mut fields = Vec::new();
    collect(&definition.config_schema, "", &mut fields, MAX_DEPTH);
    if !fields.is_empty() {
        let mut table = Table::new(["FIELD", "TYPE", "REQUIRED", "DEFAULT", "DESCRIPTION"]);
        for field in fields {
            table.row([
                field.name.into(),
                field.json_type.into(),
                if field.required { "yes" } else { "" }.into(),
                field.default.into(),
                field.description.into(),
            ]);
        }
        text.push_str(&title("Config"));
        text.push_str(&table.show(out, None));
    }
    if !definition.outputs.is_empty() {
        let mut table = Table::new(["OUTPUT", "TYPE", "SENSITIVE", "DESCRIPTION"]);
        for (name, output) in &definition.outputs {
            table.row([
                name.as_str().into(),
                output.json_type.as_str().into(),
                if output.sensitive { "yes" } else { "" }.into(),
                output.description.as_str().into(),
            ]);
        }
        text.push_str(&title("Outputs"));
        text.push_str(&table.show(out, None));
    }
    text
}

/// A field of a config.
struct Field {
    /// `database.host`.
    name: String,
    json_type: String,
    required: bool,
    default: String,
    description: String,
}

/// The fields of an object, those of objects in it after it.
fn collect(schema: &Value, within: &str, fields: &mut Vec<Field>, depth: usize) {
    let (Some(properties), Some(below)) = (schema["properties"].as_object(), depth.checked_sub(1))
    else {
        return;
    };
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == name))
    };
    for (name, property) in properties {
        let full = if within.is_empty() {
            name.clone()
        } else {
            format!("{within}.{name}")
        };
        fields.push(Field {
            name: full.clone(),
            json_type: type_of(property),
            required: required(name),
            default: property.get("default").map(value_text).unwrap_or_default(),
            description: property["description"].as_str().unwrap_or_default().into(),
        });
        collect(property, &full, fields, below);
    }
}

/// `string`, `string or null`, `array of string`, `one of small, large`.
fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(value_text).collect();
        return format!("one of {}", values.join(", "));
    }
    match &schema["type"] {
        Value::String(one) if one == "array" && schema["items"].is_object() => {
            format!("array of {}", type_of(&schema["items"]))
        }
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let several: Vec<&str> = several.iter().filter_map(Value::as_str).collect();
            several.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn versions() -> DefinitionVersions {
        serde_json::from_value(serde_json::json!({
            "name": "mysql", "versions": [
                {"name": "mysql", "version": "1.0.0", "catalogRef": "mysql:1.0.0"},
                {"name": "mysql", "version": "1.1.0", "catalogRef": "mysql:1.1.0", "engines": ["terraform"],
                 "description": "A database",
                 "configSchema": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "description": "In GB"},
                    "class": {"enum": ["small", "large"], "default": "small"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "network": {"type": "object", "required": ["zone"], "properties": {"zone": {"type": ["string", "null"]}}},
                    "more": true}},
                 "outputs": {"port": {"type": "integer"}, "password": {"type": "string", "sensitive": true, "description": "Of the admin"}}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_definition_shows_its_fields_and_outputs() {
        let all = versions();
        let (at, highest) = chosen(&all, None).unwrap();
        assert_eq!(at, 1);
        expect![[r#"
            name         mysql
            version      1.1.0
            also         1.0.0
            engines      terraform
            description  A database

            Config
            FIELD         TYPE                 REQUIRED  DEFAULT  DESCRIPTION
            class         one of small, large            small
            more          any
            network       object
            network.zone  string or null       yes
            size          integer              yes                In GB
            tags          array of string

            Outputs
            OUTPUT    TYPE     SENSITIVE  DESCRIPTION
            password  string   yes        Of the admin
            port      integer
        "#]]
        .assert_eq(&detail(highest, &all, &Out::plain()));
        assert_eq!(chosen(&all, Some("1.0.0")).unwrap().0, 0);
        let missing = chosen(&all, Some("2.0.0")).unwrap_err();
        assert_eq!(
            missing.text,
            "mysql has no version 2.0.0; it has 1.0.0, 1.1.0"
        );
    }

    #[test]
    fn definitions_are_listed() {
        let all = DefinitionList {
            items: versions().versions,
        };
        expect![[r#"
            NAME   VERSION  ENGINES    DESCRIPTION
            mysql  1.0.0
            mysql  1.1.0    terraform  A database
        "#]]
        .assert_eq(&list(&all, &Out::plain()));
    }
}
