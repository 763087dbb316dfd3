//! A host in a temporary directory, guests, and calls of them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate that uses a part of it"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use nestor_core::engine::{CallContext, EngineError, Outcome, Purpose, ResourceRequest, Settled};
use nestor_core::ids::{Digest, EngineId};
use nestor_core::ports::{
    Batch, Bytes, CallObserver, CommitError, EngineCall, Engines, Function, LogLevel, Reply,
    Standing, Store, StoreError, Write,
};
use nestor_engine::{EngineHost, Loaded, Options};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A guest of the target folder, which `make guests` builds.
fn guest(path: &str) -> Bytes {
    let path = target().join(path);
    let read = std::fs::read(&path);
    read.unwrap_or_else(|e| panic!("{}: {e}; run `make guests` first", path.display()))
        .into()
}

pub fn noop() -> Bytes {
    guest("engines/noop.wasm")
}

pub fn hostile(name: &str) -> Bytes {
    guest(&format!("hostile/{name}.wasm"))
}

/// The same component with another digest.
pub fn variant(wasm: &Bytes, name: &str) -> Bytes {
    let mut bytes = wasm.to_vec();
    let section = [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    bytes.extend([0, u8::try_from(section.len()).unwrap()]);
    bytes.extend(section);
    bytes.into()
}

pub fn id(name: &str) -> EngineId {
    EngineId::new(name).unwrap()
}

/// An `engine.toml` with these parts.
pub fn toml(name: &str, parts: &str) -> String {
    format!(
        "schema = 1\n[engine]\nid = \"{name}\"\nversion = \"0.1.0\"\nworld = \"nestor:engine/engine@0.1.0\"\n{parts}"
    )
}

pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub kv: Arc<MemoryStore>,
    pub host: Arc<EngineHost>,
}

/// A host that shares compiled guests with the other tests.
pub async fn start(change: impl FnOnce(&mut Options)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let kv = Arc::new(MemoryStore::default());
    let host = start_in(dir.path(), &kv, change).await;
    Fixture { dir, kv, host }
}

pub async fn start_in(
    dir: &Path,
    kv: &Arc<MemoryStore>,
    change: impl FnOnce(&mut Options),
) -> Arc<EngineHost> {
    let mut options = Options::new(dir.join("data"), kv.clone());
    options.cache_dir = Some(target().join("tmp/engine-test-cache"));
    options.max_calls = 64;
    change(&mut options);
    EngineHost::start(options).await.unwrap()
}

impl Fixture {
    pub async fn load(&self, name: &str, wasm: Bytes, parts: &str) -> Loaded {
        let toml = toml(name, parts);
        self.host.load(&id(name), wasm, Some(&toml)).await.unwrap()
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join("data").join(relative)
    }
}

pub fn engine_call(engine: &str, function: Function, config: Value) -> EngineCall {
    EngineCall {
        engine: id(engine),
        digest: None,
        function,
        context: CallContext {
            operation_id: "op-1".into(),
            purpose: Purpose::Apply,
            deployment: "web-app".parse().unwrap(),
            revision: 1,
            environment: "test".parse().unwrap(),
            composer: "team".parse().unwrap(),
            attempt: 1,
            traceparent: None,
        },
        request: ResourceRequest {
            name: "database".parse().unwrap(),
            catalog_ref: "database:1.0.0".into(),
            definition: Arc::new(json!({})),
            config,
            declared_outputs: Arc::new(json!({"endpoint": {"type": "string", "sensitive": false}})),
            prior: None,
        },
        definition_folder: None,
        home: None,
        standing: Standing::Work,
        observer: Arc::new(Heard::default()),
    }
}

pub async fn apply(host: &EngineHost, engine: &str, config: Value) -> Result<Settled, EngineError> {
    settled(
        host.call(engine_call(engine, Function::Apply, config))
            .await,
    )
}

pub fn settled(reply: Result<Reply, EngineError>) -> Result<Settled, EngineError> {
    match reply? {
        Reply::Outcome(Outcome::Ready(settled)) => Ok(settled),
        other => panic!("{other:?}"),
    }
}

pub fn outputs(settled: &Settled) -> BTreeMap<String, Value> {
    let of = |o: &nestor_core::engine::Output| (o.name.to_string(), o.value.clone());
    settled.outputs.iter().map(of).collect()
}

/// Remembers what it hears.
#[derive(Default)]
pub struct Heard(pub Mutex<Vec<String>>);

impl CallObserver for Heard {
    fn log(&self, level: LogLevel, message: &str, fields: &Value) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{level:?} {message} {fields}"));
    }
    fn progress(&self, percent: Option<u8>, message: &str) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{percent:?}% {message}"));
    }
}

/// A store without durability.
#[derive(Default)]
pub struct MemoryStore(pub Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        assert!(batch.guards.is_empty(), "the engine host uses no guards");
        let mut map = self.0.lock().unwrap();
        for write in batch.writes {
            match write {
                Write::Put(key, value) => map.insert(key, value),
                Write::Delete(key) => map.remove(&key),
            };
        }
        Ok(())
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        let map = self.0.lock().unwrap();
        let found = map
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(found
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }
}

/// Of a guest's bytes.
pub fn digest(wasm: &Bytes) -> Digest {
    Digest::of(wasm)
}
