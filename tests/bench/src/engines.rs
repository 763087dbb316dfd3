//! An engine host with the built components.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use nestor_core::engine::{CallContext, Purpose, ResourceRequest};
use nestor_core::grant::Manifest;
use nestor_core::ids::EngineId;
use nestor_core::ports::{EngineCall, Function, NoObserver, Standing};
use nestor_engine::{EngineHost, Options};
use nestor_store::MemoryStore;
use serde_json::{Value, json};

use crate::row::Bench;

/// A host with one engine of `target/engines`, granted what it requests.
/// `Ok(Err(why))` when the component is not built.
pub(crate) async fn start(
    bench: &Bench,
    name: &str,
) -> anyhow::Result<Result<Arc<EngineHost>, String>> {
    let built = bench.target().join("engines");
    let Ok(wasm) = std::fs::read(built.join(format!("{name}.wasm"))) else {
        return Ok(Err(format!(
            "not measured: no target/engines/{name}.wasm; run `make engines`"
        )));
    };
    let toml = std::fs::read_to_string(built.join(format!("{name}.toml")))?;
    let id = EngineId::new(name)?;
    let requested = Manifest::parse(&toml, "engine.toml").map_err(|e| anyhow::anyhow!("{e}"))?;
    let mut options = Options::new(bench.folder("engines-")?, Arc::new(MemoryStore::new()));
    options.cache_dir = Some(bench.target().join("bench-cache/in-process"));
    options.grants.insert(id.clone(), requested.capabilities);
    let host = EngineHost::start(options).await?;
    host.load(&id, wasm.into(), Some(&toml))
        .await
        .with_context(|| format!("loading {name}"))?;
    Ok(Ok(host))
}

/// A call for one resource.
pub(crate) fn call(
    engine: &str,
    function: Function,
    number: usize,
    section: Value,
    folder: Option<&Path>,
) -> anyhow::Result<EngineCall> {
    Ok(EngineCall {
        engine: EngineId::new(engine)?,
        digest: None,
        function,
        context: CallContext {
            operation_id: format!("bench-{number}"),
            purpose: Purpose::Apply,
            deployment: "bench".parse()?,
            revision: 1,
            environment: "test".parse()?,
            composer: "bench".parse()?,
            attempt: 1,
            traceparent: None,
        },
        request: ResourceRequest {
            name: format!("r{number}").parse()?,
            catalog_ref: "bench:1.0.0".into(),
            definition: Arc::new(section),
            config: if function == Function::Render {
                json!({})
            } else {
                json!({ "value": format!("r{number}") })
            },
            declared_outputs: Arc::new(if function == Function::Render {
                json!({})
            } else {
                json!({ "value": { "type": "string", "sensitive": false } })
            }),
            prior: None,
        },
        definition_folder: folder.map(Path::to_owned),
        home: None,
        standing: Standing::Work,
        observer: Arc::new(NoObserver),
    })
}
