//! Plans, approvals and parts from the command line, with a real host.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{World, guest, root};

const DEFINITION: &str = "name: thing\nversion: 1.0.0\nconfig: {type: object}\n\
    outputs: {colour: {type: string}}\ndelivery: direct\nnoop: {}\n";

fn deployment(colour: &str, approval: &str) -> String {
    format!(
        "id: paint\ncomposer: team\nenvironment: dev\nstrategy: {{approval: {approval}}}\nresources:\n  \
         - {{name: a, catalogRef: thing:^1, config: {{colour: {colour}}}}}\n  \
         - {{name: b, catalogRef: thing:^1, config: {{colour: \"${{resources.a.outputs.colour}}\"}}}}\n  \
         - {{name: c, catalogRef: thing:^1, config: {{colour: {colour}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_wait_are_approved_and_are_applied_exactly() {
    let mut world = World::new(Some(DEFINITION));
    world.start().await;
    let wasm = guest("engines/noop.wasm");
    let manifest = root().join("engines-wasm/noop/engine.toml");
    let (wasm, manifest) = (wasm.to_string_lossy(), manifest.to_string_lossy());
    world.expect(0, &["engines", "load", &wasm, "--manifest", &manifest]);
    let get = |world: &World| -> Value {
        serde_json::from_slice(&world.nestor(&["get", "paint", "-o", "json"]).stdout).unwrap()
    };

    // What waits is shown, and approved by its digest.
    let file = world.file("paint.yaml", &deployment("red", "required"));
    world.expect(0, &["apply", "-f", &file]);
    let view = loop {
        let view = get(&world);
        if view["status"] == "awaiting_approval" {
            break view;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(view["approval"]["summary"]["create"], 3, "{view:#}");
    let zero = format!("sha256:{}", "0".repeat(64));
    let moved = world.expect(4, &["approve", "paint", "--plan", &zero]);
    assert!(moved.contains("does not wait for approval"), "{moved}");
    let nobody = world.expect(2, &["approve", "paint"]);
    assert!(nobody.contains("--yes"), "{nobody}");
    let approved = world.expect(
        0,
        &["approve", "paint", "--comment", "fine", "-y", "--wait"],
    );
    assert!(approved.contains("In all: 3 create"), "{approved}");
    assert_eq!(get(&world)["approval"]["comment"], "fine");
    let nothing = world.expect(4, &["approve", "paint"]);
    assert!(nothing.contains("nothing waits for approval"), "{nothing}");

    // What waits is refused, and the one before holds.
    let file = world.file("paint.yaml", &deployment("green", "required"));
    world.expect(0, &["apply", "-f", &file]);
    while get(&world)["status"] != "awaiting_approval" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.expect(0, &["cancel", "paint", "--wait"]);
    let view = get(&world);
    assert_eq!(
        (&view["status"], &view["revision"]),
        (&"ready".into(), &1.into())
    );

    // A plan in a file is applied exactly, or not at all.
    let green = world.file("green.yaml", &deployment("green", "automatic"));
    let blue = world.file("blue.yaml", &deployment("blue", "automatic"));
    let kept = world.file("plan.json", "");
    let planned = world.expect(0, &["plan", "-f", &green, "--target", "b", "--out", &kept]);
    assert!(planned.contains("left as they are: c"), "{planned}");
    let moved = world.expect(4, &["apply", "-f", &blue, "--plan", &kept]);
    assert!(moved.contains("is not the plan"), "{moved}");
    let applied = world.expect(0, &["apply", "-f", &green, "--plan", &kept, "--wait"]);
    assert!(applied.contains("green"), "{applied}");
    let view = get(&world);
    assert_eq!(
        view["resources"][1]["outputs"]["colour"], "green",
        "{view:#}"
    );
    assert_eq!(view["resources"][2]["outputs"]["colour"], "red", "{view:#}");
    let warning = view["warnings"][0].as_str().unwrap();
    assert!(warning.contains("left as they are: c."), "{warning}");
    let unknown = world.expect(2, &["apply", "-f", &green, "--target", "d"]);
    assert!(
        unknown.contains("there is no resource of that name"),
        "{unknown}"
    );
    world.expect(0, &["apply", "-f", &green, "--affected", "--wait"]);
    assert_eq!(get(&world)["resources"][2]["outputs"]["colour"], "green");
}
