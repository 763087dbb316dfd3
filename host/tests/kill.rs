//! `kill -9` at random moments under load. Every acknowledged deployment ends
//! right, the engine counts no operation twice, and the store opens every time.
//!
//! `NESTOR_KILLS` says how often; a few in every test run, 200 for `make kill`.

mod support;

use std::time::Duration;

use nestor_core::ports::Store;
use nestor_store::{SledOptions, SledStore};
use serde_json::json;
use support::{World, guest, root, settled};

const DEFINITION: &str = "name: thing\nversion: 1.0.0\nconfig: {type: object}\noutputs: {v: {type: string}}\ndelivery: direct\nnoop: {}\n";
/// Without the variable: enough to hit commits and calls, and still quick.
const KILLS: u32 = 8;

fn deployment(number: u32) -> String {
    let resource = |name: &str, needs: &str| {
        let v = if needs.is_empty() {
            "first".into()
        } else {
            format!("${{resources.{needs}.outputs.v}}+")
        };
        json!({ "name": name, "catalogRef": "thing:1.0.0", "config": { "v": v, "noop": { "count": true, "sleep_ms": 5 } } })
    };
    let resources = [
        resource("a", ""),
        resource("b", "a"),
        resource("c", "a"),
        resource("d", "c"),
    ];
    json!({ "id": format!("load-{number}"), "composer": "team", "environment": "dev", "resources": resources, "dependencies": [] })
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_repeated_over_kills() {
    let kills = std::env::var("NESTOR_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(KILLS);
    let mut world = World::new(Some(DEFINITION));
    world.start().await;
    let (wasm, manifest) = (
        guest("engines/noop.wasm"),
        root().join("engines-wasm/noop/engine.toml"),
    );
    world.expect(
        0,
        &[
            "engines",
            "load",
            &wasm.to_string_lossy(),
            "--manifest",
            &manifest.to_string_lossy(),
        ],
    );
    let mut acknowledged = Vec::new();
    let mut number = 0;
    // Chance enough: the moments differ with the machine's load as well.
    let mut dice = std::process::id() | 1;
    for _ in 0..kills {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        let client = world.client();
        let load = tokio::spawn(async move {
            let mut accepted = Vec::new();
            for next in number.. {
                match client.submit(deployment(next), None).await {
                    Ok(answer) => accepted.push(answer.id.clone()),
                    // The host is gone in the middle of a request.
                    Err(_) => return (next, accepted),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            unreachable!("the host is killed")
        });
        tokio::time::sleep(Duration::from_millis(u64::from(dice % 150))).await;
        world.kill();
        let (reached, accepted) = load.await.expect("the load ends");
        number = reached + 1;
        acknowledged.extend(accepted);
        world.start().await;
    }
    let client = world.client();
    for id in &acknowledged {
        let view = settled(&client, id).await;
        assert_eq!(view["status"], "ready", "{view:#}\n{}", world.log());
        let d = view["resources"]
            .as_array()
            .and_then(|all| all.iter().find(|r| r["name"] == "d"));
        assert_eq!(
            d.map(|d| &d["outputs"]["v"]),
            Some(&json!("first++")),
            "{view:#}"
        );
    }
    assert!(
        !acknowledged.is_empty(),
        "no request was accepted between the kills"
    );
    world.kill();
    let applied = counts(&world).await;
    let twice: Vec<_> = applied.iter().filter(|(_, times)| *times != "1").collect();
    assert!(twice.is_empty(), "applied more than once: {twice:?}");
    assert!(
        applied.len() >= 4 * acknowledged.len(),
        "{} counts of {} deployments",
        applied.len(),
        acknowledged.len()
    );
    println!(
        "{kills} kills, {} deployments acknowledged, {} operations, none twice",
        acknowledged.len(),
        applied.len()
    );
}

/// What the engine counted: operation and how often it was applied.
async fn counts(world: &World) -> Vec<(String, String)> {
    let store = SledStore::open(world.data().join("store"), &SledOptions::default())
        .expect("the store opens");
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store
            .scan("kv/noop/", after.as_deref(), 1_000)
            .await
            .expect("read");
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let counted = page
            .into_iter()
            .filter(|(key, _)| key.contains("/applied/"));
        found.extend(
            counted.map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())),
        );
    }
    store.close().await;
    found
}
