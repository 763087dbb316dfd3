//! `nestor render`: a definition's manifests, on this machine, by the engine's
//! own component.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nestor_catalog::FileCatalog;
use nestor_core::definition::Definition;
use nestor_core::engine::{CallContext, Purpose, Rendered, ResourceRequest};
use nestor_core::ids::{ComposerId, DeploymentId, EngineId, EnvironmentName, ResourceName};
use nestor_core::ports::{
    CallObserver, Catalog as _, EngineCall, EngineStatus, Engines as _, Function, LogLevel, Reply,
    Standing,
};
use nestor_core::text::listed;
use nestor_store::MemoryStore;
use serde_json::{Value, json};

use super::{Code, Failure, Format, Out, OutputArgs};
use crate::config::{Config, document};
use crate::serve::{data_dir, start_engines};

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// A folder with a definition.yaml, or with a chart alone
    #[arg(long, value_name = "DIR")]
    definition: PathBuf,
    /// The resource's config, as YAML or JSON; without one, an empty config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The environment
    #[arg(long, default_value = "default", value_name = "NAME")]
    environment: EnvironmentName,
    /// The deployment's id
    #[arg(long, default_value = "render", value_name = "ID")]
    deployment: DeploymentId,
    /// The resource's name
    #[arg(long, default_value = "resource", value_name = "NAME")]
    resource: ResourceName,
    /// The engine; without one, the definition's first that is there
    #[arg(long)]
    engine: Option<EngineId>,
    /// What the engine is told, as JSON, in place of the definition's section
    #[arg(long, value_name = "JSON")]
    section: Option<String>,
    /// Write the manifests into a folder, in place of standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The config of the server whose engines are used
    #[arg(long, env = "NESTOR_CONFIG", value_name = "FILE")]
    server_config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl RenderArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

/// What to render: a section for an engine, and the files beside it.
struct Subject {
    catalog_ref: String,
    engine: EngineId,
    section: Arc<Value>,
    outputs: Value,
    folder: Option<PathBuf>,
}

pub(crate) async fn run(args: &RenderArgs, out: &Out) -> Result<Code, Failure> {
    let mut config = match &args.server_config {
        Some(file) => crate::config::load(file).map_err(Failure::invalid)?,
        None => Config::default(),
    };
    // Compiled components are shared with the server of this user; nothing else is.
    let data = data_dir(&config).map_err(Failure::local)?;
    config
        .server
        .cache_dir
        .get_or_insert_with(|| data.join("cache"));
    let scratch = tempfile::tempdir()
        .map_err(|e| Failure::local(format!("a temporary folder cannot be made: {e}")))?;
    let engines = start_engines(&config, scratch.path(), Arc::new(MemoryStore::new()))
        .await
        .map_err(Failure::local)?;
    let subject = subject(args, &engines.names()).await?;
    let head = engines
        .head(&subject.engine)
        .map_err(|e| Failure::local(e.to_string()))?;
    if head.status == EngineStatus::Preparing {
        if !engines.is_compiled(&subject.engine) {
            out.note(&format!(
                "compiling the engine {} for this machine, once (up to a minute)",
                subject.engine
            ));
        }
        engines.settled_of(&subject.engine).await;
    }
    let call = EngineCall {
        engine: subject.engine.clone(),
        digest: None,
        function: Function::Render,
        context: CallContext {
            operation_id: "render".into(),
            purpose: Purpose::Inspect,
            deployment: args.deployment.clone(),
            revision: 1,
            environment: args.environment.clone(),
            composer: ComposerId::new("render").expect("it is a name"),
            attempt: 1,
            traceparent: None,
        },
        request: ResourceRequest {
            name: args.resource.clone(),
            catalog_ref: subject.catalog_ref,
            definition: subject.section,
            config: resource_config(args)?,
            declared_outputs: Arc::new(subject.outputs),
            prior: None,
        },
        definition_folder: subject.folder,
        home: None,
        standing: Standing::Work,
        observer: Arc::new(Notes),
    };
    let rendered = match engines.call(call).await {
        Ok(Reply::Rendered(rendered)) => rendered,
        Ok(_) => {
            return Err(Failure::local(format!(
                "the engine {} answered something else",
                subject.engine
            )));
        }
        Err(error) => {
            return Err(Failure::invalid(format!(
                "{}: {error}",
                args.definition.display()
            )));
        }
    };
    write(args, &rendered, out)?;
    Ok(Code::Done)
}

async fn subject(args: &RenderArgs, present: &[EngineId]) -> Result<Subject, Failure> {
    let folder = args.definition.canonicalize();
    let folder =
        folder.map_err(|e| Failure::invalid(format!("{}: {e}", args.definition.display())))?;
    if let Some(section) = &args.section {
        let section = serde_json::from_str(section)
            .map_err(|e| Failure::invalid(format!("--section is not JSON: {e}")))?;
        return Ok(of_files(args, section, folder));
    }
    if folder.join("definition.yaml").is_file() {
        let definition = definition(&folder).await?;
        return of_definition(&definition, args.engine.as_ref(), present);
    }
    if !folder.join("Chart.yaml").is_file() {
        let text = format!(
            "{} has neither a definition.yaml nor a Chart.yaml",
            folder.display()
        );
        return Err(Failure::invalid(text));
    }
    Ok(of_files(args, json!({ "chart": "." }), folder))
}

/// Files that no definition describes.
fn of_files(args: &RenderArgs, section: Value, folder: PathBuf) -> Subject {
    Subject {
        catalog_ref: "chart:0.0.0".into(),
        engine: args
            .engine
            .clone()
            .unwrap_or_else(|| EngineId::new("helm").expect("it is a name")),
        section: Arc::new(section),
        outputs: json!({}),
        folder: Some(folder),
    }
}

async fn definition(folder: &Path) -> Result<Arc<Definition>, Failure> {
    let invalid = |e: nestor_core::ports::CatalogError| Failure::invalid(e.to_string());
    let catalog = FileCatalog::open(folder).map_err(invalid)?;
    if let Some(definition) = catalog.list().await.map_err(invalid)?.into_iter().next() {
        return Ok(definition);
    }
    let problems: Vec<String> = catalog
        .problems()
        .map_err(invalid)?
        .iter()
        .map(ToString::to_string)
        .collect();
    Err(Failure::invalid(problems.join("\n")))
}

fn of_definition(
    definition: &Definition,
    asked: Option<&EngineId>,
    present: &[EngineId],
) -> Result<Subject, Failure> {
    let names = || listed(definition.engines.iter().map(|(id, _)| id));
    let chosen = match asked {
        Some(asked) => definition.engines.iter().find(|(id, _)| id == asked),
        None => definition
            .engines
            .iter()
            .find(|(id, _)| present.contains(id)),
    };
    let Some((engine, section)) = chosen else {
        let text = match asked {
            Some(asked) => format!(
                "{} cannot be run by {asked}; it can by {}",
                definition.reference(),
                names()
            ),
            None => format!(
                "{} needs one of the engines {}; there are: {}",
                definition.reference(),
                names(),
                listed(present)
            ),
        };
        return Err(Failure::invalid(text));
    };
    Ok(Subject {
        catalog_ref: definition.reference(),
        engine: engine.clone(),
        section: Arc::clone(section),
        outputs: definition.declared_outputs(),
        folder: definition.folder.clone(),
    })
}

fn resource_config(args: &RenderArgs) -> Result<Value, Failure> {
    let Some(path) = &args.config else {
        return Ok(json!({}));
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::invalid(format!("{name} cannot be read: {e}")))?;
    let document = document::parse(&text)
        .map_err(|problem| Failure::invalid(document::listed(&name, &[problem])))?;
    match document.to_json() {
        Value::Null => Ok(json!({})),
        value @ Value::Object(_) => Ok(value),
        _ => Err(Failure::invalid(format!("{name} must be a map"))),
    }
}

fn write(args: &RenderArgs, rendered: &Rendered, out: &Out) -> Result<(), Failure> {
    if let Some(folder) = &args.out {
        return write_files(folder, rendered, out);
    }
    let raw = json!({
        "manifests": rendered.manifests,
        "outputs": rendered.outputs,
        "notes": rendered.notes,
    });
    out.answer(&raw, |_| {
        let mut text = String::new();
        for manifest in &rendered.manifests {
            if !manifest.content.starts_with("---") {
                text.push_str(&format!("---\n# {}\n", manifest.path));
            }
            text.push_str(manifest.content.trim_end());
            text.push('\n');
        }
        text
    })?;
    if let (Some(notes), Format::Table) = (&rendered.notes, out.format) {
        out.note(notes.trim_end());
    }
    Ok(())
}

fn write_files(folder: &Path, rendered: &Rendered, out: &Out) -> Result<(), Failure> {
    for manifest in &rendered.manifests {
        let path = Path::new(&manifest.path);
        // An engine is not trusted with where files go.
        if path.as_os_str().is_empty()
            || !path
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(Failure::local(format!(
                "the engine answered a manifest with the path {:?}",
                manifest.path
            )));
        }
        let path = folder.join(path);
        let cannot = |e: std::io::Error| {
            Failure::local(format!("{} cannot be written: {e}", path.display()))
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(cannot)?;
        }
        std::fs::write(&path, &manifest.content).map_err(cannot)?;
    }
    out.note(&format!(
        "{} manifests in {}",
        rendered.manifests.len(),
        folder.display()
    ));
    Ok(())
}

/// The engine's log lines that matter to who renders.
struct Notes;

impl CallObserver for Notes {
    fn log(&self, level: LogLevel, message: &str, _: &Value) {
        if matches!(level, LogLevel::Warn | LogLevel::Error) {
            eprintln!("{}", super::out::clean(message));
        }
    }
    fn progress(&self, _: Option<u8>, _: &str) {}
}
