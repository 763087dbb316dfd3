//! The deployments under `examples/`, and what their steps are.

use std::path::{Path, PathBuf};

use nestor_catalog::FileCatalog;
use nestor_core::definition::{Definition, JsonType};
use nestor_core::ids::EngineId;
use nestor_core::ports::Catalog as _;
use nestor_core::spec::DeliveryMode;
use serde_json::{Value, json};

use crate::fault::{At, Point};

/// A deployment with all that its cases need.
pub(crate) struct Example {
    pub(crate) id: String,
    pub(crate) catalog: FileCatalog,
    /// In the order of their dependencies.
    pub(crate) resources: Vec<Resource>,
    /// The file, and a second revision in which every resource changes.
    pub(crate) bodies: [Value; 2],
}

pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) engine: EngineId,
    pub(crate) delivery: DeliveryMode,
    /// Name, a value of the declared type, and whether it is sensitive.
    pub(crate) outputs: Vec<(String, Value, bool)>,
}

impl Example {
    /// Every folder with a `deployment.json`.
    pub(crate) fn names() -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder())
            .expect("examples")
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.path().join("deployment.json").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn load(name: &str) -> Self {
        let text = std::fs::read(folder().join(name).join("deployment.json")).expect("readable");
        let first: Value = serde_json::from_slice(&text).expect("JSON");
        let catalog = FileCatalog::open(folder().join("catalog")).expect("the example catalog");
        let resources = first["resources"].as_array().expect("resources");
        let resources = resources
            .iter()
            .map(|r| Resource::of(&catalog, r))
            .collect();
        let mut second = first.clone();
        change(name, &mut second);
        Self {
            id: first["id"].as_str().expect("an id").to_owned(),
            catalog,
            resources,
            bodies: [first, second],
        }
    }

    /// The first revision without its last resource.
    pub(crate) fn without_last(&self) -> Value {
        let mut body = self.bodies[0].clone();
        let last = &self.last().name;
        body["resources"].as_array_mut().expect("resources").pop();
        let dependencies = body["dependencies"].as_array_mut().expect("dependencies");
        dependencies.retain(|d| d["from"] != **last && d["to"] != **last);
        body
    }

    pub(crate) fn last(&self) -> &Resource {
        self.resources.last().expect("a resource")
    }

    /// What is done to bring the resources about, step by step.
    pub(crate) fn forward(&self) -> Vec<Point> {
        let validate = self
            .resources
            .iter()
            .map(|r| Point::forward(At::Validate, r));
        let apply = self.resources.iter().flat_map(Resource::apply);
        validate.chain(apply).collect()
    }

    /// What is done to take them away.
    pub(crate) fn backward(&self) -> Vec<Point> {
        self.resources
            .iter()
            .rev()
            .flat_map(Resource::destroy)
            .collect()
    }
}

impl Resource {
    fn of(catalog: &FileCatalog, resource: &Value) -> Self {
        let reference = resource["catalogRef"].as_str().expect("a catalogRef");
        let reference = reference.parse().expect("a reference");
        let runtime = tokio::runtime::Builder::new_current_thread();
        let definition = { runtime }
            .build()
            .expect("a runtime")
            .block_on(catalog.lookup(&reference))
            .expect("in the example catalog");
        let (engine, _) = definition.engines.first().expect("an engine");
        Self {
            name: resource["name"].as_str().expect("a name").to_owned(),
            engine: engine.clone(),
            delivery: definition.delivery.unwrap_or(DeliveryMode::Direct),
            outputs: outputs(&definition),
        }
    }

    /// Where bringing it about can go wrong.
    pub(crate) fn apply(&self) -> Vec<Point> {
        let places = match self.delivery {
            DeliveryMode::Direct => [At::Apply, At::Observe],
            DeliveryMode::Gitops => [At::Render, At::Deliver],
        };
        places.map(|at| Point::forward(at, self)).to_vec()
    }

    /// Where taking it away can go wrong.
    pub(crate) fn destroy(&self) -> Vec<Point> {
        match self.delivery {
            DeliveryMode::Direct => [At::Destroy, At::Observe]
                .map(|at| Point::forward(at, self))
                .to_vec(),
            DeliveryMode::Gitops => vec![Point::forward(At::Withdraw, self)],
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// What is different in the second revision: something of every resource.
fn change(example: &str, body: &mut Value) {
    let resources = &mut body["resources"];
    match example {
        "web-app" => {
            resources[0]["config"]["size"] = json!(100);
            resources[1]["config"]["image"] = json!("registry.example.com/shop/web:1.5.0");
        }
        "custom-engines" => {
            resources[0]["config"]["name"] = json!("everybody");
            resources[1]["config"]["text"] = json!("${resources.greeting.outputs.text}!");
        }
        other => panic!("say here what a second revision of {other} changes"),
    }
}

fn outputs(definition: &Definition) -> Vec<(String, Value, bool)> {
    let outputs = definition.outputs.iter().map(|(name, declared)| {
        let value = match declared.json_type {
            JsonType::Integer => json!(3306),
            JsonType::Number => json!(0.5),
            JsonType::Boolean => json!(true),
            JsonType::Array => json!([name]),
            JsonType::Object => json!({ "name": name }),
            JsonType::String => json!(format!("the {name}")),
        };
        (name.to_string(), value, declared.sensitive)
    });
    outputs.collect()
}
