//! A Go engine, built and then run in wasmtime with a host of the contract:
//! what the Go SDK promises holds inside a component.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use nestor_build::{Built, build};
use wasmtime::component::{
    Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceTable, ResourceType, Val,
};
use wasmtime::{Engine, Result, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView, p2};

const LIFECYCLE: &str = "nestor:engine/lifecycle@0.1.0";

/// How many files, of how many bytes, the definition has: enough lists and
/// strings that the guest's memory has to grow while the host writes them.
const FILES: usize = 2_000;
const FILE_SIZE: usize = 5_000;

/// What the host grants an engine that does not ask for memory.
const MEMORY: usize = 96 << 20;

struct Host {
    limits: StoreLimits,
    wasi: WasiCtx,
    table: ResourceTable,
    /// What the guest asked for, as text.
    heard: Arc<Mutex<Vec<String>>>,
    stored: Option<Vec<u8>>,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The lines that a tool still has to say.
struct Child(Vec<(bool, String)>);

fn built() -> &'static (Built, Engine, Component) {
    static BUILT: OnceLock<(Built, Engine, Component)> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
        let built = build(&folder, None, &|_| ()).unwrap();
        let engine = Engine::default();
        let component = Component::from_binary(&engine, &built.wasm).unwrap();
        (built, engine, component)
    })
}

fn some(v: Val) -> Val {
    Val::Option(Some(Box::new(v)))
}

fn text(s: &str) -> Val {
    Val::String(s.into())
}

fn bytes(b: &[u8]) -> Val {
    Val::List(b.iter().map(|b| Val::U8(*b)).collect())
}

fn record(fields: Vec<(&str, Val)>) -> Val {
    Val::Record(fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
}

fn hear(store: &StoreContextMut<'_, Host>, what: String) {
    store.data().heard.lock().unwrap().push(what);
}

fn link(linker: &mut Linker<Host>) -> Result<()> {
    p2::add_to_linker_sync(linker)?;
    let mut report = linker.instance("nestor:engine/report@0.1.0")?;
    for name in ["log", "progress"] {
        report.func_new(name, move |store, _, params, _| {
            hear(&store, format!("{name} {params:?}"));
            Ok(())
        })?;
    }
    linker
        .instance("nestor:engine/definition@0.1.0")?
        .func_new("files", |_, _, _, results| {
            let file = |i| {
                let content = bytes(&vec![(i % 256) as u8; FILE_SIZE]);
                record(vec![
                    ("path", text(&format!("templates/{i:04}.yaml"))),
                    ("content", content),
                ])
            };
            results[0] = Val::Result(Ok(Some(Box::new(Val::List(
                (0..FILES).map(file).collect(),
            )))));
            Ok(())
        })?;
    linker.instance("nestor:engine/secrets@0.1.0")?.func_wrap(
        "reference",
        |_, (name,): (String,)| {
            let known = (name == "known").then(|| "placeholder".to_owned());
            Ok((known.ok_or(format!("secret {name} is not granted")),))
        },
    )?;
    link_store(&mut linker.instance("nestor:engine/store@0.1.0")?)?;
    link_tools(&mut linker.instance("nestor:engine/tools@0.1.0")?)
}

fn link_store(store: &mut LinkerInstance<'_, Host>) -> Result<()> {
    store.func_wrap("get", |s: StoreContextMut<'_, Host>, (key,): (String,)| {
        Ok((Ok::<_, String>(
            s.data().stored.clone().filter(|_| key == "k"),
        ),))
    })?;
    store.func_wrap(
        "put",
        |mut s: StoreContextMut<'_, Host>, (_, value): (String, Vec<u8>)| {
            s.data_mut().stored = Some(value);
            Ok((Ok::<(), String>(()),))
        },
    )?;
    store.func_wrap("delete", |_, (_,): (String,)| {
        Ok((Err::<(), _>("no disk".to_owned()),))
    })?;
    store.func_wrap("keys", |_, (_,): (String,)| {
        Ok((Ok::<_, String>(vec!["k".to_owned()]),))
    })
}

fn link_tools(tools: &mut LinkerInstance<'_, Host>) -> Result<()> {
    tools.resource("child", ResourceType::host::<Child>(), |mut store, rep| {
        hear(&store, "closed".into());
        store
            .data_mut()
            .table
            .delete(Resource::<Child>::new_own(rep))?;
        Ok(())
    })?;
    tools.func_new(
        "spawn",
        |mut store: StoreContextMut<'_, Host>, _, params, results| {
            hear(&store, format!("spawn {params:?}"));
            let lines = vec![(false, "out".to_owned()), (true, "err".to_owned())];
            let child = store.data_mut().table.push(Child(lines))?;
            let child = ResourceAny::try_from_resource(child, &mut store)?;
            results[0] = Val::Result(Ok(Some(Box::new(Val::Resource(child)))));
            Ok(())
        },
    )?;
    tools.func_new(
        "[method]child.next-line",
        |mut store: StoreContextMut<'_, Host>, _, params, results| {
            let child = borrowed(&mut store, params)?;
            let lines = &mut store.data_mut().table.get_mut(&child)?.0;
            let line = (!lines.is_empty()).then(|| lines.remove(0));
            let line = line.map(|(stderr, line)| {
                record(vec![("stderr", Val::Bool(stderr)), ("text", text(&line))])
            });
            results[0] = Val::Option(line.map(Box::new));
            Ok(())
        },
    )?;
    tools.func_new("[method]child.wait", |mut store, _, params, results| {
        borrowed(&mut store, params)?;
        results[0] = ok(record(vec![("code", Val::S32(-3))]));
        Ok(())
    })?;
    tools.func_new("[method]child.kill", |mut store, _, params, _| {
        borrowed(&mut store, params)?;
        hear(&store, "killed".into());
        Ok(())
    })
}

/// The child that a method was called on. A borrowed handle is given back at
/// once: what it stands for stays in the table.
fn borrowed(store: &mut StoreContextMut<'_, Host>, params: &[Val]) -> Result<Resource<Child>> {
    let Val::Resource(any) = params[0] else {
        panic!("a resource")
    };
    let child: Resource<Child> = any.try_into_resource(&mut *store)?;
    Ok(Resource::new_borrow(child.rep()))
}

/// What one call in a fresh instance came to.
struct Called {
    answer: Result<Val>,
    heard: Vec<String>,
    stderr: String,
    work: tempfile::TempDir,
}

fn call(function: &str, params: &[Val]) -> Called {
    let (_, engine, component) = built();
    let mut linker = Linker::new(engine);
    link(&mut linker).unwrap();
    let definition = tempfile::tempdir().unwrap();
    std::fs::write(definition.path().join("a.txt"), "from the definition").unwrap();
    let work = tempfile::tempdir().unwrap();
    let stderr = p2::pipe::MemoryOutputPipe::new(64 << 10);
    let mut wasi = WasiCtx::builder();
    wasi.stderr(stderr.clone())
        .allow_blocking_current_thread(true);
    wasi.preopened_dir(definition.path(), "/definition", FsPerms::ReadOnly)
        .unwrap();
    wasi.preopened_dir(work.path(), "/work", FsPerms::ReadWrite)
        .unwrap();
    let host = Host {
        limits: StoreLimitsBuilder::new().memory_size(MEMORY).build(),
        wasi: wasi.build(),
        table: ResourceTable::new(),
        heard: Arc::default(),
        stored: None,
    };
    let heard = Arc::clone(&host.heard);
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.limits);
    let instance = linker.instantiate(&mut store, component).unwrap();
    let lifecycle = instance
        .get_export_index(&mut store, None, LIFECYCLE)
        .unwrap();
    let index = instance
        .get_export_index(&mut store, Some(&lifecycle), function)
        .unwrap();
    let func = instance.get_func(&mut store, index).unwrap();
    let mut results = [Val::Bool(false)];
    let answer = func
        .call(&mut store, params, &mut results)
        .map(|()| results[0].clone());
    let heard = heard.lock().unwrap().clone();
    Called {
        answer,
        heard,
        stderr: String::from_utf8(stderr.contents().to_vec()).unwrap(),
        work,
    }
}

fn context() -> Val {
    record(vec![
        ("operation-id", text("op-1")),
        ("purpose", Val::Enum("destroy".into())),
        ("deployment", text("web")),
        ("revision", Val::U64(1 << 40)),
        ("environment", text("prod")),
        ("composer", text("team-ä")),
        ("attempt", Val::U32(3)),
        ("traceparent", some(text("00-ab"))),
    ])
}

fn request(name: &str, config: &str, prior: Option<Val>) -> Val {
    record(vec![
        ("name", text(name)),
        ("catalog-ref", text("pg@1")),
        ("definition", text("{\"d\":1}")),
        ("config", text(config)),
        ("declared-outputs", text("{}")),
        ("settings", text("{\"s\":2}")),
        ("prior", Val::Option(prior.map(Box::new))),
    ])
}

/// The state, as text, or the error, that `apply` with this action answers.
fn act(action: &str) -> (std::result::Result<String, Val>, Called) {
    let config = serde_json::to_string(action).unwrap();
    let called = call("apply", &[context(), request("r", &config, None)]);
    let answer = match called.answer.as_ref().unwrap() {
        Val::Result(Ok(Some(outcome))) => {
            let Val::Variant(case, Some(settled)) = &**outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(case, "ready");
            let Val::Record(fields) = &**settled else {
                panic!("{settled:?}")
            };
            let Val::String(state) = &fields[1].1 else {
                panic!("{fields:?}")
            };
            Ok(serde_json::from_str(state).unwrap())
        }
        Val::Result(Err(Some(error))) => Err((**error).clone()),
        other => panic!("{other:?}"),
    };
    (answer, called)
}

fn state(action: &str) -> String {
    act(action).0.unwrap()
}

fn failure(case: &str, message: &str) -> Val {
    Val::Variant(case.into(), Some(Box::new(text(message))))
}

fn ok(v: Val) -> Val {
    Val::Result(Ok(Some(Box::new(v))))
}

fn err(v: Val) -> Val {
    Val::Result(Err(Some(Box::new(v))))
}

#[test]
fn it_describes_itself() {
    let expected = record(vec![
        ("name", text("guest")),
        ("version", text("1.2.3")),
        ("summary", text("for tests")),
        ("definition-schema", text("{\"type\":\"object\"}")),
        (
            "features",
            Val::Flags(vec!["render".into(), "drift".into()]),
        ),
    ]);
    assert_eq!(call("describe", &[]).answer.unwrap(), expected);
}

#[test]
fn context_request_and_prior_arrive_whole() {
    let prior = record(vec![
        ("config", text("{\"c\":0}")),
        (
            "outputs",
            Val::List(vec![record(vec![
                ("name", text("url")),
                ("value", text("1")),
                ("sensitive", Val::Bool(true)),
            ])]),
        ),
        ("state", text("[7]")),
    ]);
    let answer = call("validate", &[context(), request("r", "{}", Some(prior))])
        .answer
        .unwrap();
    let lines = [
        "op-1 2 web 1099511627776 prod team-ä 3 00-ab",
        "r pg@1 {\"d\":1} {} {} {\"s\":2}",
        "{\"c\":0} url true [7]",
    ];
    let spaceless = |s: &str| s.replace(' ', "");
    let Val::Result(Ok(Some(list))) = answer else {
        panic!("{answer:?}")
    };
    let Val::List(list) = *list else {
        panic!("{list:?}")
    };
    let got: Vec<String> = list
        .iter()
        .map(|v| {
            if let Val::String(s) = v {
                spaceless(s)
            } else {
                panic!("{v:?}")
            }
        })
        .collect();
    assert_eq!(got, lines.map(spaceless));
}

#[test]
fn answers_leave_whole() {
    let change = record(vec![
        ("path", text("/x")),
        ("before", Val::Option(None)),
        ("after", some(text("1"))),
        ("sensitive", Val::Bool(true)),
    ]);
    let output = |name, known, kind| {
        record(vec![
            ("name", text(name)),
            ("known", known),
            ("json-type", text(kind)),
            ("sensitive", Val::Bool(false)),
        ])
    };
    let plan = record(vec![
        ("action", Val::Enum("replace".into())),
        ("changes", Val::List(vec![change])),
        (
            "outputs",
            Val::List(vec![
                output("y", Val::Option(None), "number"),
                output("z", some(text("\"k\"")), ""),
            ]),
        ),
        ("summary", text("sum")),
    ]);
    let params = [context(), request("r", "{}", None)];
    assert_eq!(call("plan", &params).answer.unwrap(), ok(plan));

    let manifest = record(vec![
        ("path", text("a/b.yaml")),
        ("content", text("kind: A\n")),
    ]);
    let rendered = record(vec![
        ("manifests", Val::List(vec![manifest])),
        ("outputs", Val::List(vec![])),
        ("notes", some(text("read me"))),
        ("state", text("{}")),
    ]);
    assert_eq!(call("render", &params).answer.unwrap(), ok(rendered));

    let pending = record(vec![
        ("poll-after-ms", Val::U32(250)),
        ("percent", some(Val::U8(100))),
        ("message", text("wait")),
        ("state", text("1")),
    ]);
    let answer = call("apply", &[context(), request("r", "\"pending\"", None)])
        .answer
        .unwrap();
    assert_eq!(
        answer,
        ok(Val::Variant("pending".into(), Some(Box::new(pending))))
    );
}

#[test]
fn errors_keep_their_kind() {
    let params = [context(), request("bad", "{}", None)];
    let violation = |path, message| record(vec![("path", text(path)), ("message", text(message))]);
    let violations = Val::List(vec![
        violation("/a", "too small"),
        violation("/b", "absent"),
    ]);
    let invalid = Val::Variant("invalid".into(), Some(Box::new(violations)));
    assert_eq!(call("validate", &params).answer.unwrap(), err(invalid));

    let transient = record(vec![
        ("message", text("later")),
        ("retry-after-ms", some(Val::U32(1500))),
    ]);
    let transient = Val::Variant("transient".into(), Some(Box::new(transient)));
    assert_eq!(call("check", &[]).answer.unwrap(), err(transient));

    let unsupported = failure("unsupported", "this engine does not implement destroy");
    assert_eq!(call("destroy", &params).answer.unwrap(), err(unsupported));
    let neither = failure(
        "failed",
        "the engine answered neither an outcome nor an error",
    );
    assert_eq!(call("observe", &params).answer.unwrap(), err(neither));
    assert_eq!(
        act("what").0.unwrap_err(),
        failure("conflict", "no such action: what")
    );
    assert_eq!(
        act("secret").0.unwrap_err(),
        failure("denied", "secret unknown is not granted")
    );
}

#[test]
fn a_panic_is_a_failure_with_its_text() {
    let expected = failure(
        "failed",
        "the engine panicked: assignment to entry in nil map",
    );
    assert_eq!(act("panic").0.unwrap_err(), expected);
}

#[test]
fn every_call_starts_from_the_warmed_state() {
    for _ in 0..2 {
        assert_eq!(state("fresh"), "1warm warm 1 0engine");
    }
}

#[test]
fn files_are_the_two_directories_and_nothing_else() {
    let (answer, called) = act("files");
    assert_eq!(answer.unwrap(), "1 true true");
    let written = std::fs::read_to_string(called.work.path().join("b.txt")).unwrap();
    assert_eq!(written, "from the definition!");
}

#[test]
fn a_large_definition_arrives_in_one_call() {
    let sum: usize = (0..FILES).map(|i| (i % 256) * FILE_SIZE).sum();
    assert_eq!(
        state("definition"),
        format!("{FILES}templates/1999.yaml{sum}")
    );
}

#[test]
fn the_store_answers() {
    assert_eq!(state("store"), "vtrue false [k] no disk");
}

#[test]
fn log_and_progress_are_heard() {
    let heard = act("log").1.heard;
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert!(
        heard[0].contains("Enum(\"warn\"), String(\"hello\")"),
        "{}",
        heard[0]
    );
    assert!(heard[0].contains(r#"{\"n\":1"#), "{}", heard[0]);
    assert!(heard[1].contains("fields_error"), "{}", heard[1]);
    assert_eq!(
        heard[2],
        "progress [Option(Some(U8(42))), String(\"half\")]"
    );
    assert_eq!(heard[3], "progress [Option(None), String(\"on\")]");
}

#[test]
fn a_tool_is_read_line_by_line_and_closed() {
    let (answer, called) = act("tool");
    assert_eq!(answer.unwrap(), "[falseout trueerr] -3");
    let spawn = &called.heard[0];
    for part in [
        "String(\"b c\")",
        "Tuple([String(\"X\"), String(\"1\")])",
        "U32(1000)",
    ] {
        assert!(spawn.contains(part), "{spawn}");
    }
    assert_eq!(called.heard[1..], ["killed", "closed"]);
}

#[test]
fn the_runtime_lives_on_after_the_snapshot() {
    assert_ne!(
        state("random"),
        state("random"),
        "random numbers must not be frozen"
    );
    assert_eq!(state("clock"), "true true");
    assert_eq!(state("goroutines"), "4950");
    assert_eq!(state("garbage"), "1048576");
    assert_eq!(act("stderr").1.stderr, "on stderr\n");
}

#[test]
fn it_imports_what_the_contract_allows_and_builds_to_the_same_bytes() {
    let (first, ..) = built();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let again = build(&folder, None, &|_| ()).unwrap();
    assert_eq!(first.report.digest, again.report.digest);
    assert!(
        first
            .report
            .surface
            .imports
            .iter()
            .any(|i| i == "nestor:engine/tools@0.1.0")
    );
}

#[test]
fn an_unchanged_engine_comes_from_the_cache_and_a_damaged_one_does_not() {
    let cache = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let built = |cache: &Path| build(&folder, Some(cache), &|_| ()).unwrap().report;
    let first = built(cache.path());
    assert!(!first.cached);
    let second = built(cache.path());
    assert!(second.cached);
    assert_eq!(first.digest, second.digest);
    for entry in std::fs::read_dir(cache.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "wasm") {
            std::fs::write(path, b"cut short").unwrap();
        }
    }
    let third = built(cache.path());
    assert!(!third.cached);
    assert_eq!(first.digest, third.digest);
}
