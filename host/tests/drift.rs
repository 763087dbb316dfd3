//! Drift with real programs: what Terraform knows is lost behind the host's
//! back, found out, and put right.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{World, settled};

const FILE: &str = "examples/web-app/deployment.json";

/// The folders of Terraform's states below a folder.
fn states(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.ends_with("terraform.tfstate.d") {
                found.push(path);
            } else if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    found
}

fn statuses(text: &str) -> Vec<(String, String)> {
    let start = text.find('{').expect("JSON");
    let view: Value = serde_json::Deserializer::from_str(&text[start..])
        .into_iter()
        .next()
        .expect("a document")
        .expect("JSON");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = view["resources"].as_array().expect("resources").iter();
    all.map(|r| (word(&r["name"]), word(&r["status"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_behind_the_hosts_back_is_found_and_put_right() {
    let mut world = World::new(None);
    world.start().await;
    world.engines_ready().await;
    let client = world.client();
    world.expect(0, &["apply", "-f", FILE, "--wait"]);
    let pair = |name: &str, status: &str| (name.to_owned(), status.to_owned());

    let never = world.expect(0, &["drift", "web-app"]);
    assert!(never.contains("nobody has looked"), "{never}");
    let in_sync = world.expect(0, &["drift", "web-app", "--now", "-o", "json"]);
    let database = pair("database", "in_sync");
    // Manifests in Git are looked after by what applies them from there.
    let deployment = pair("deployment", "unsupported");
    assert_eq!(statuses(&in_sync), [database, deployment.clone()]);

    let lost = states(&world.data().join("checkouts"));
    assert_eq!(lost.len(), 1, "{lost:?}");
    std::fs::remove_dir_all(&lost[0]).expect("removed");
    let drifted = world.expect(7, &["drift", "web-app", "--now", "-o", "json"]);
    assert_eq!(
        statuses(&drifted),
        [pair("database", "missing"), deployment.clone()]
    );
    assert!(!lost[0].exists(), "a look changes nothing");
    let view = settled(&client, "web-app").await;
    assert_eq!(view["status"], "ready");
    assert_eq!(view["drift"]["status"], "drifted", "{view:#}");

    // Killed in between, the request is not forgotten.
    client.check_drift("web-app", true).await.expect("taken");
    world.kill();
    world.start().await;
    world.engines_ready().await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let view = settled(&client, "web-app").await;
        let seen = client.drift("web-app").await.expect("there");
        if !seen.pending && lost[0].exists() && view["status"] == "ready" {
            break;
        }
        assert!(
            std::time::Instant::now() < until,
            "{view:#}\n{}",
            world.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let again = world.expect(0, &["drift", "web-app", "--now", "-o", "json"]);
    assert_eq!(statuses(&again), [pair("database", "in_sync"), deployment]);
    world.expect(0, &["delete", "web-app", "--wait"]);
    let log = world.log();
    assert!(!log.contains("panicked"), "{log}");
}
