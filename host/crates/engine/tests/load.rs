//! Loading, swapping, restoring.
#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use nestor_core::engine::{EngineError, Home};
use nestor_core::ports::{Bytes, EngineStatus, Engines, Function};
use nestor_engine::{EngineHost, LoadError, MAX_ENGINES, Source};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_only_so_many_engines() {
    let fixture = start(|_| ()).await;
    for n in 0..MAX_ENGINES {
        fixture.load(&format!("noop-{n}"), noop(), "").await;
    }
    let load = async |name: &str| {
        let toml = toml(name, "");
        fixture.host.load(&id(name), noop(), Some(&toml)).await
    };
    let error = load("one-more").await.unwrap_err();
    assert!(matches!(error, LoadError::TooMany), "{error}");
    assert!(error.to_string().contains("remove one"), "{error}");
    // One that is there can be put again, and one goes for another.
    load("noop-0").await.unwrap();
    fixture.host.remove(&id("noop-7")).await.unwrap();
    load("one-more").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_engine_is_refused_and_changes_nothing() {
    let fixture = start(|_| ()).await;
    let host = &fixture.host;
    let refused = async |name: &str, wasm: Bytes, toml: Option<&str>| {
        host.load(&id(name), wasm, toml).await.unwrap_err()
    };
    let table: [(Bytes, &str); 6] = [
        (Bytes::new(), "it is empty"),
        (Bytes::from_static(b"(component)"), "WebAssembly text"),
        (Bytes::from_static(b"\0asm\x01\0\0\0"), "core module"),
        (
            Bytes::from_static(b"\0asm\x0d\0\x01\0"),
            "does not export nestor:engine/lifecycle",
        ),
        (hostile("unknown-import"), "evil:host/escape@1.0.0"),
        (
            hostile("wrong-version"),
            "nestor:engine/lifecycle@0.9.0, and this host",
        ),
    ];
    for (wasm, says) in table {
        let error = refused("custom", wasm, None).await.to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = refused("custom", noop().slice(..1000), None).await;
    assert!(matches!(error, LoadError::Invalid(_)), "{error}");
    let mut broken = noop().to_vec();
    let at = broken.len() / 2;
    broken[at..at + 64].fill(0xff);
    let error = refused("custom", broken.into(), None).await;
    assert!(
        matches!(error, LoadError::Invalid(_) | LoadError::Mismatch(_)),
        "{error}"
    );

    let other = toml("other", "");
    let error = refused("custom", noop(), Some(&other)).await;
    assert!(matches!(error, LoadError::Name { .. }), "{error}");
    let error = refused("custom", noop(), Some("schema = 1\n[engin]\n"))
        .await
        .to_string();
    assert!(
        error.contains("engine.toml:2") && error.contains("engine"),
        "{error}"
    );
    let greedy = toml(
        "custom",
        "[limits]\nmemory = \"1GiB\"\n[[tool]]\nname = \"terraform\"\nargs = [[\"plan\"]]\nreason = \"plans\"\n",
    );
    let error = refused("custom", noop(), Some(&greedy)).await.to_string();
    assert!(
        error.contains("tool: requested terraform (plans)") && error.contains("memory 1GiB"),
        "{error}"
    );

    let tight = toml("custom", "[limits]\ncpu = \"300ms\"\n");
    let error = refused("custom", hostile("loop-in-describe"), Some(&tight)).await;
    assert!(
        matches!(&error, LoadError::Probe { function: "describe", reason } if reason.contains("cpu")),
        "{error}"
    );

    assert!(host.list().is_empty());
    assert_eq!(
        std::fs::read_dir(fixture.path("engines")).unwrap().count(),
        0
    );
    let unknown = apply(host, "custom", json!({})).await.unwrap_err();
    assert!(
        matches!(
            &unknown,
            EngineError::Unavailable {
                retry_after: None,
                ..
            }
        ),
        "{unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_is_loaded_called_and_told_about() {
    let fixture = start(|_| ()).await;
    let loaded = fixture.load("noop", noop(), "").await;
    assert!(!loaded.unchanged && loaded.replaced.is_none());
    let info = fixture.host.get(&id("noop")).unwrap();
    assert_eq!(info, loaded.engine);
    assert_eq!(info.status, EngineStatus::Ready);
    assert_eq!(info.digest, digest(&noop()));
    assert_eq!(info.source, Source::Api);
    assert!(info.features.render && info.features.drift && !info.features.adopt);
    assert_eq!(info.size, Some(noop().len() as u64));
    assert_eq!(info.definition_schema, json!({"type": "object"}));
    let head = fixture.host.head(&id("noop")).unwrap();
    assert_eq!(
        (head.digest, head.status),
        (info.digest, EngineStatus::Ready)
    );

    let settled = apply(&fixture.host, "noop", json!({"endpoint": "db:3306"}))
        .await
        .unwrap();
    assert_eq!(outputs(&settled)["endpoint"], json!("db:3306"));
    for function in [
        Function::Validate,
        Function::Plan,
        Function::Drift,
        Function::Render,
        Function::Destroy,
    ] {
        fixture
            .host
            .call(engine_call("noop", function, json!({})))
            .await
            .unwrap();
    }
    let error = apply(&fixture.host, "noop", json!({"noop": {"fail": "no luck"}}))
        .await
        .unwrap_err();
    assert_eq!(error, EngineError::Failed("no luck".into()));
    let again = fixture.load("noop", noop(), "").await;
    assert!(again.unchanged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_is_where_its_home_is() {
    let fixture = start(|_| ()).await;
    fixture.load("noop", noop(), "").await;
    let call = |function| {
        let mut call = engine_call("noop", function, json!({}));
        let mut home = Home::of(&"old-app".parse().unwrap(), &"db".parse().unwrap());
        home.given = 2;
        call.home = Some(home);
        call
    };
    fixture.host.call(call(Function::Apply)).await.unwrap();
    let home = fixture.path("checkouts/test/old-app/db@2");
    assert!(home.is_dir());
    assert!(!fixture.path("checkouts/test/web-app").exists());
    fixture.host.call(call(Function::Destroy)).await.unwrap();
    assert!(!home.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destroyed_resources_leave_no_checkout() {
    let fixture = start(|_| ()).await;
    fixture.load("noop", noop(), "").await;
    let checkout = fixture.path("checkouts/test/web-app/database");
    apply(&fixture.host, "noop", json!({})).await.unwrap();
    assert!(checkout.is_dir());
    fixture
        .host
        .call(engine_call("noop", Function::Destroy, json!({})))
        .await
        .unwrap();
    assert!(!checkout.exists());
    assert!(fixture.path("checkouts").is_dir());
    fixture
        .host
        .call(engine_call("noop", Function::Destroy, json!({})))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_stays_on_its_version_while_another_becomes_head() {
    let fixture = start(|_| ()).await;
    fixture.load("noop", noop(), "").await;
    let old = digest(&noop());
    let host = Arc::clone(&fixture.host);
    let running =
        tokio::spawn(async move { apply(&host, "noop", json!({"noop": {"sleep_ms": 600}})).await });
    tokio::time::sleep(Duration::from_millis(100)).await;

    let next = variant(&noop(), "two");
    let loaded = fixture.load("noop", next.clone(), "").await;
    assert_eq!(loaded.replaced, Some(old));
    assert_eq!(
        fixture.host.head(&id("noop")).unwrap().digest,
        digest(&next)
    );
    assert_eq!(fixture.host.get(&id("noop")).unwrap().held, [old]);
    assert!(
        !running.is_finished(),
        "it should still run on the old version"
    );
    running.await.unwrap().unwrap();

    // Later calls of that operation name the digest; one nobody holds is served by the head.
    for (digest, runs) in [
        (Some(old), true),
        (Some(digest(&Bytes::from_static(b"gone"))), true),
        (None, true),
    ] {
        let mut call = engine_call("noop", Function::Observe, json!({}));
        call.digest = digest;
        call.context.purpose = nestor_core::engine::Purpose::Destroy;
        assert_eq!(fixture.host.call(call).await.is_ok(), runs);
    }

    // A bad version is not switched to.
    let bad = toml("noop", "[limits]\ncpu = \"300ms\"\n");
    fixture
        .host
        .load(&id("noop"), hostile("loop-in-describe"), Some(&bad))
        .await
        .unwrap_err();
    assert_eq!(
        fixture.host.head(&id("noop")).unwrap().digest,
        digest(&next)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_is_there_after_a_restart_until_it_is_removed() {
    let fixture = start(|_| ()).await;
    let Fixture { dir, kv, host } = fixture;
    let toml = toml("noop", "");
    host.load(&id("noop"), noop(), Some(&toml)).await.unwrap();
    let next = variant(&noop(), "two");
    host.load(&id("noop"), next.clone(), Some(&toml))
        .await
        .unwrap();
    drop(host);

    let folder = dir.path().join("engines-dir");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("noop.wasm"), variant(&noop(), "file")).unwrap();
    std::fs::write(folder.join("Not A Name.wasm"), "x").unwrap();
    std::fs::write(folder.join("broken.wasm"), "(component)").unwrap();
    let host = start_in(dir.path(), &kv, |options| {
        options.engines_dir = Some(folder.clone())
    })
    .await;
    host.settled().await;
    assert_eq!(host.head(&id("noop")).unwrap().digest, digest(&next));
    let info = host.get(&id("noop")).unwrap();
    assert_eq!(
        info.held,
        [digest(&noop()), digest(&variant(&noop(), "file"))]
    );
    let EngineStatus::Failed(why) = host.get(&id("broken")).unwrap().status else {
        panic!()
    };
    assert!(why.contains("WebAssembly text"), "{why}");
    let error = host.remove(&id("broken")).await.unwrap_err().to_string();
    assert!(error.contains("part of the host's installation"), "{error}");

    // Held and not prepared: the first call says so, the next one works.
    let held = || {
        let mut call = engine_call("noop", Function::Plan, json!({}));
        call.digest = Some(digest(&noop()));
        call
    };
    retry(&host, held).await;

    host.remove(&id("noop")).await.unwrap();
    let info = host.get(&id("noop")).unwrap();
    assert_eq!(
        (info.source, info.digest),
        (Source::File, digest(&variant(&noop(), "file")))
    );
    retry(&host, || engine_call("noop", Function::Plan, json!({}))).await;
    retry(&host, held).await;
    drop(host);
    let host = start_in(dir.path(), &kv, |options| {
        options.engines_dir = Some(folder)
    })
    .await;
    assert_eq!(host.get(&id("noop")).unwrap().source, Source::File);
}

/// Calls until the version is prepared.
async fn retry(host: &EngineHost, call: impl Fn() -> nestor_core::ports::EngineCall) {
    for _ in 0..100 {
        match host.call(call()).await {
            Ok(_) => return,
            Err(EngineError::Unavailable {
                retry_after: Some(_),
                ..
            }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it is never ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_an_empty_cache_serves_at_once_and_says_preparing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("engines-dir");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("noop.wasm"), noop()).unwrap();
    std::fs::write(folder.join("noop.toml"), toml("noop", "")).unwrap();
    let kv = Arc::new(MemoryStore::default());
    let start = || {
        start_in(dir.path(), &kv, |options| {
            options.cache_dir = None;
            options.engines_dir = Some(folder.clone());
        })
    };
    let host = start().await;
    let head = host.head(&id("noop")).unwrap();
    assert_eq!(
        (head.status, head.version.as_str()),
        (EngineStatus::Preparing, "")
    );
    let error = apply(&host, "noop", json!({})).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unavailable { retry_after: Some(_), message } if message.contains("being prepared")),
        "{error:?}"
    );
    host.settled().await;
    apply(&host, "noop", json!({})).await.unwrap();
    drop(host);

    // From the cache it takes no compiler; a swapped file does, and is said.
    let cached = || {
        let entries = std::fs::read_dir(dir.path().join("data/cache")).unwrap();
        let mut found = entries
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "cwasm"));
        found.next().unwrap()
    };
    let mut bytes = std::fs::read(cached()).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    std::fs::write(cached(), &bytes).unwrap();
    let host = start().await;
    host.settled().await;
    apply(&host, "noop", json!({})).await.unwrap();
    assert_ne!(
        std::fs::read(cached()).unwrap(),
        bytes,
        "it was compiled anew"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_built_in_engine_is_carried_compressed_and_replaced_by_a_put_one() {
    let packed: &'static [u8] = Vec::leak(zstd::encode_all(&noop()[..], 3).unwrap());
    let manifest: &'static str = String::leak(toml("noop", "[limits]\nmemory = \"512MiB\"\n"));
    let builtin = nestor_engine::Builtin {
        id: id("noop"),
        compressed: packed,
        digest: digest(&noop()),
        manifest,
    };
    let fixture = start(|options| options.builtins.push(builtin.clone())).await;
    fixture.host.settled().await;
    assert_eq!(
        fixture.host.get(&id("noop")).unwrap().source,
        Source::BuiltIn
    );
    apply(&fixture.host, "noop", json!({})).await.unwrap();
    // As much as the built-in one requests goes live, more does not.
    let next = variant(&noop(), "two");
    fixture
        .load("noop", next.clone(), "[limits]\nmemory = \"512MiB\"\n")
        .await;
    let wider = toml("noop", "[limits]\nmemory = \"600MiB\"\n");
    let error = fixture
        .host
        .load(&id("noop"), variant(&noop(), "three"), Some(&wider))
        .await
        .unwrap_err();
    assert!(matches!(error, LoadError::MissingGrants(_)));
    assert_eq!(
        fixture.host.head(&id("noop")).unwrap().digest,
        digest(&next)
    );
    fixture.host.remove(&id("noop")).await.unwrap();
    assert_eq!(
        fixture.host.get(&id("noop")).unwrap().source,
        Source::BuiltIn
    );

    let wrong = nestor_engine::Builtin {
        digest: digest(&next),
        ..builtin
    };
    let fixture = start(|options| {
        options.cache_dir = None;
        options.builtins.push(wrong);
    })
    .await;
    fixture.host.settled().await;
    let status = fixture.host.get(&id("noop")).unwrap().status;
    assert!(
        matches!(&status, EngineStatus::Failed(why) if why.contains("damaged")),
        "{status:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_traps_and_traps_makes_way_for_the_one_before() {
    let fixture = start(|_| ()).await;
    fixture.load("noop", noop(), "").await;
    fixture.load("noop", hostile("trap"), "").await;
    let (good, bad) = (digest(&noop()), digest(&hostile("trap")));
    for _ in 0..5 {
        assert_eq!(fixture.host.head(&id("noop")).unwrap().digest, bad);
        let error = apply(&fixture.host, "noop", json!({})).await.unwrap_err();
        assert!(matches!(error, EngineError::Trapped(_)));
    }
    let mut head = bad;
    for _ in 0..100 {
        head = fixture.host.head(&id("noop")).unwrap().digest;
        if head == good {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(head, good);
    apply(&fixture.host, "noop", json!({})).await.unwrap();
    let Fixture { dir, kv, host } = fixture;
    drop(host);
    let host = start_in(dir.path(), &kv, |_| ()).await;
    assert_eq!(
        host.head(&id("noop")).unwrap().digest,
        good,
        "also after a restart"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_of_what_is_gone_is_found_by_nobody() {
    let fixture = start(|_| ()).await;
    fixture.load("noop", noop(), "").await;
    let folders = [
        "test/web-app/database",
        "test/web-app/database@1",
        "test/web-app/cache",
        "other/web-app/cache",
        "test/web-app-2/database",
    ];
    for folder in folders {
        let folder = fixture.path("checkouts").join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("secret"), "x").unwrap();
    }
    let keys = [
        "kv/gone/web-app/cache/a",
        "kv/noop/web-app-2/database/a",
        "kv/noop/web-app/cache/a",
        "kv/noop/web-app/database/a",
        "kv/noop/web-app/database/b/c",
        "kv/noop/web-app/database@1/a",
    ];
    for key in keys {
        let mut map = fixture.kv.0.lock().unwrap();
        map.insert(key.into(), Bytes::from_static(b"x"));
    }
    let left = || {
        let folders = folders.map(|folder| fixture.path("checkouts").join(folder).exists());
        let keys: Vec<String> = fixture.kv.0.lock().unwrap().keys().cloned().collect();
        (folders, keys)
    };
    let home = Home::of(&"web-app".parse().unwrap(), &"database".parse().unwrap());
    let environment = "test".parse().unwrap();
    fixture.host.forget(&id("noop"), &environment, &home).await;
    let (there, kept) = left();
    assert_eq!(there, [false, true, true, true, true]);
    assert_eq!(kept, [keys[0], keys[1], keys[2], keys[5]]);
    // Again, and all that is left but what another deployment has.
    fixture.host.forget(&id("noop"), &environment, &home).await;
    let given = Home { given: 1, ..home };
    let deployment = "web-app".parse().unwrap();
    fixture.host.forget_deployment(&deployment, &[given]).await;
    let (there, kept) = left();
    assert_eq!(there, [false, true, false, false, true]);
    assert_eq!(kept, [keys[1], keys[5]]);
}
