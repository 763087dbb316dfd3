//! Deployments from request to result, with fake engines and a clock that jumps.

mod common;

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use common::{World, assert_status, deploy, post, resource, settle, two, until, web};
use nestor_core::engine::EngineError;
use nestor_core::ports::{Batch, Function};
use nestor_orchestrator::service::{ListFilter, Rejection, RequestMeta};
use nestor_orchestrator::view::{DeploymentStatus, Phase, ResourceStatus};
use nestor_testkit::engines::{Behaviour, Hang};

fn database() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
}

fn failed(message: &str) -> EngineError {
    EngineError::Failed(message.into())
}

#[tokio::test]
async fn outputs_of_one_resource_reach_the_config_of_the_next() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    let view = deploy(&host, &two()).await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(
        (view.phase, view.progress.as_str(), view.revision),
        (Phase::Done, "100%", 1)
    );
    assert_eq!(resource(&view, "database").outputs["port"], 3306);
    let app = world.engines.existing("web", "app").expect("applied");
    assert_eq!(app.config, json!({ "url": "db.internal" }));
    let calls: Vec<_> = world
        .engines
        .calls()
        .iter()
        .map(|c| (c.function, c.resource.to_string()))
        .collect();
    let applies: Vec<_> = calls
        .iter()
        .filter(|(f, _)| *f == Function::Apply)
        .map(|(_, r)| r.as_str())
        .collect();
    assert_eq!(applies, ["database", "app"]);
    assert!(world.engines.overlaps().is_empty());
}

#[tokio::test]
async fn a_failure_unwinds_the_first_revision_in_reverse_order() {
    let world = World::new();
    world.engines.script("database", database());
    world
        .engines
        .script("app", Behaviour::default().fail(failed("image not found")));
    let host = world.host().await;
    let view = deploy(&host, &two()).await;
    assert_status(&view, DeploymentStatus::RolledBack);
    assert_eq!(view.reason.as_deref(), Some("app: image not found"));
    assert!(
        world.engines.world("web").is_empty(),
        "everything touched is gone"
    );
    let destroyed: Vec<_> = world
        .engines
        .calls()
        .iter()
        .filter(|c| c.function == Function::Destroy)
        .map(|c| c.resource.to_string())
        .collect();
    assert_eq!(destroyed, ["app", "database"]);
}

#[tokio::test]
async fn a_failed_update_goes_back_to_the_revision_before() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    deploy(&host, &two()).await;
    let mut second = two();
    second["resources"][0]["config"]["size"] = json!(2);
    second["resources"][1]["config"]["url"] = json!("fixed");
    world
        .engines
        .script("app", Behaviour::default().fail(failed("no")));
    let view = deploy(&host, &second).await;
    // Putting the app back fails as well here: a person has to look.
    assert_status(&view, DeploymentStatus::Stuck);
    world.engines.script("app", Behaviour::default());
    host.retry("web", RequestMeta::default())
        .await
        .expect("retries");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::RolledBack);
    assert_eq!(
        world
            .engines
            .existing("web", "database")
            .expect("there")
            .config,
        json!({ "size": 1 })
    );
    assert_eq!(
        world.engines.existing("web", "app").expect("there").config,
        json!({ "url": "db.internal" })
    );
}

#[tokio::test]
async fn what_is_put_back_as_another_thing_is_told_and_passed_on_next_time() {
    let world = World::new();
    let at = |address: &str| Behaviour::ready([("endpoint", json!(address)), ("port", json!(1))]);
    world.engines.script("database", at("first"));
    let host = world.host().await;
    deploy(&host, &two()).await;
    let mut second = two();
    second["resources"][0]["config"]["size"] = json!("large");
    world.engines.script("database", at("second"));
    let refuses = Behaviour::default().fail(failed("no"));
    world.engines.script("app", refuses);
    deploy(&host, &second).await;
    world.engines.script("app", Behaviour::default());
    host.retry("web", RequestMeta::default())
        .await
        .expect("retries");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::RolledBack);
    assert_eq!(
        view.reason.as_deref(),
        Some(
            "app: no; database was put back with another endpoint, and app has the one before; post the revision again that is to stand, and it is passed on"
        )
    );
    let view = deploy(&host, &two()).await;
    assert_status(&view, DeploymentStatus::Ready);
    let app = world.engines.existing("web", "app").expect("there");
    assert_eq!(app.config["url"], "second");
}

#[tokio::test]
async fn halt_keeps_what_is_done_and_retry_goes_on_from_there() {
    let world = World::new();
    world.engines.script("database", database());
    world
        .engines
        .script("app", Behaviour::default().fail(failed("quota")));
    let mut body = two();
    body["policy"] = json!({ "onFailure": "halt" });
    let host = world.host().await;
    let view = deploy(&host, &body).await;
    assert_status(&view, DeploymentStatus::Failed);
    assert_eq!(resource(&view, "database").status, ResourceStatus::Ready);
    assert_eq!(resource(&view, "app").reason.as_deref(), Some("quota"));
    world.engines.script("app", Behaviour::default());
    host.retry("web", RequestMeta::default())
        .await
        .expect("retries");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
    assert_eq!(
        world.engines.calls_of(Function::Apply, "database").len(),
        1,
        "what was done is not done again"
    );
}

#[tokio::test]
async fn independent_branches_go_on_and_dependants_say_why_not() {
    let world = World::new();
    world
        .engines
        .script("database", Behaviour::default().fail(failed("disk full")));
    let mut body = web(&[
        ("database", "db:1.0.0", json!({})),
        (
            "app",
            "app:1.0.0",
            json!({ "url": "${resources.database.outputs.endpoint}" }),
        ),
        ("cache", "app:1.0.0", json!({})),
    ]);
    body["policy"] = json!({ "onFailure": "continue" });
    let host = world.host().await;
    let view = deploy(&host, &body).await;
    assert_status(&view, DeploymentStatus::Failed);
    assert_eq!(resource(&view, "cache").status, ResourceStatus::Ready);
    let app = resource(&view, "app");
    assert_eq!(
        (app.status, app.blocked_by.as_slice()),
        (ResourceStatus::Skipped, &["database".to_string()][..])
    );
    assert_eq!(
        app.reason.as_deref(),
        Some("not begun, because database failed")
    );
}

#[tokio::test]
async fn an_update_touches_only_what_changed() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    deploy(&host, &two()).await;
    let mut second = web(&[
        ("database", "db:1.0.0", json!({ "size": 1 })),
        (
            "worker",
            "app:1.0.0",
            json!({ "url": "${resources.database.outputs.endpoint}" }),
        ),
    ]);
    let view = deploy(&host, &second).await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(view.revision, 2);
    assert_eq!(
        world.engines.world("web"),
        ["database", "worker"],
        "what vanished is destroyed"
    );
    assert_eq!(
        world.engines.calls_of(Function::Apply, "database").len(),
        1,
        "unchanged is untouched"
    );
    // A changed output reaches its consumer, although its own config text is the same.
    world.engines.script(
        "database",
        Behaviour::ready([("endpoint", json!("new.internal")), ("port", json!(1))]),
    );
    second["resources"][0]["config"]["size"] = json!(2);
    deploy(&host, &second).await;
    assert_eq!(
        world
            .engines
            .existing("web", "worker")
            .expect("there")
            .config,
        json!({ "url": "new.internal" })
    );
    let revisions = host.revisions("web").await.expect("there");
    assert_eq!(
        revisions.iter().map(|r| r.revision).collect::<Vec<_>>(),
        [3, 2, 1]
    );
    assert_eq!(
        (revisions[1].added.clone(), revisions[1].removed.clone()),
        (vec!["worker".into()], vec!["app".into()])
    );
    assert_eq!(revisions[0].changed, ["database"]);
}

#[tokio::test]
async fn transient_errors_are_retried_with_backoff() {
    let world = World::new();
    world.engines.script("database", database().transient(3));
    let host = world.host().await;
    let view = deploy(&host, &two()).await;
    assert_status(&view, DeploymentStatus::Ready);
    assert_eq!(resource(&view, "database").attempts, 4);
    // 250 + 500 + 1000 ms without jitter.
    assert!(
        world.clock.elapsed() >= Duration::from_millis(1_750),
        "{:?}",
        world.clock.elapsed()
    );
    let ids: std::collections::BTreeSet<_> = world
        .engines
        .calls_of(Function::Apply, "database")
        .iter()
        .map(|c| c.operation_id.clone())
        .collect();
    assert_eq!(ids.len(), 1, "attempts are of one operation");
}

#[tokio::test]
async fn retries_end() {
    let world = World::new();
    world.engines.script("database", database().transient(99));
    let mut body = two();
    body["policy"] = json!({ "onFailure": "halt", "retries": 2 });
    let host = world.host().await;
    let view = deploy(&host, &body).await;
    assert_status(&view, DeploymentStatus::Failed);
    assert_eq!(world.engines.calls_of(Function::Apply, "database").len(), 3);
    assert_eq!(resource(&view, "app").status, ResourceStatus::Skipped);
}

#[tokio::test]
async fn pending_is_polled_and_the_timeout_ends_it() {
    let world = World::new();
    world.engines.script(
        "database",
        database().pending(3).poll_after(Duration::from_secs(60)),
    );
    let host = world.host().await;
    assert_status(&deploy(&host, &two()).await, DeploymentStatus::Ready);
    assert!(world.clock.elapsed() >= Duration::from_secs(180));
    assert_eq!(
        world.engines.calls_of(Function::Observe, "database").len(),
        3
    );

    let world = World::new();
    world.engines.script(
        "database",
        database()
            .pending(u32::MAX)
            .poll_after(Duration::from_secs(60)),
    );
    let mut body = two();
    body["policy"] = json!({ "onFailure": "halt", "timeout": "5m" });
    let host = world.host().await;
    let view = deploy(&host, &body).await;
    assert_status(&view, DeploymentStatus::Failed);
    let reason = view.reason.expect("says why");
    assert!(reason.contains("timeout of 300 s"), "{reason}");
}

#[tokio::test]
async fn an_engine_that_breaks_its_promise_fails_the_resource() {
    for (outputs, expected) in [
        (
            Behaviour::ready([("endpoint", json!("x"))]),
            "returned no output",
        ),
        (
            Behaviour::ready([("endpoint", json!(7)), ("port", json!(1))]),
            "is declared as string",
        ),
    ] {
        let world = World::new();
        world.engines.script("database", outputs);
        let host = world.host().await;
        let view = deploy(&host, &two()).await;
        let reason = view.reason.expect("says why");
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_resource_that_its_engine_refuses_stops_everything_before_it_begins() {
    let world = World::new();
    let violation = nestor_core::engine::EngineViolation {
        path: "/size".into(),
        message: "too small".into(),
    };
    world.engines.script(
        "app",
        Behaviour::default().invalid(EngineError::Invalid(vec![violation])),
    );
    let host = world.host().await;
    let view = deploy(&host, &two()).await;
    assert_status(&view, DeploymentStatus::Failed);
    let reason = view.reason.expect("says why");
    assert!(
        reason.contains("app: the engine refused the resource: /size too small"),
        "{reason}"
    );
    assert!(world.engines.effects_by_operation().is_empty());
    // Mended, the same deployment goes through.
    world.engines.script("app", Behaviour::default());
    world.engines.script("database", database());
    host.retry("web", RequestMeta::default())
        .await
        .expect("retries");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
}

#[tokio::test]
async fn a_crash_at_any_moment_loses_nothing_and_repeats_nothing() {
    for hang in [Hang::BeforeEffect, Hang::AfterEffect] {
        for at in ["database", "app"] {
            let world = World::new();
            world.engines.script("database", database());
            let scripted = if at == "database" {
                database()
            } else {
                Behaviour::default()
            };
            world.engines.script(at, scripted.clone().hang(hang));
            let first = world.host().await;
            post(&first, &two()).await;
            world.engines.wait_for_call(Function::Apply, at).await;
            // The process is gone: its tasks stop wherever they are.
            drop(first);
            world.engines.script(at, scripted);
            let second = world.host().await;
            let view = settle(&second, "web").await;
            assert_status(&view, DeploymentStatus::Ready);
            for name in ["database", "app"] {
                assert_eq!(
                    world.engines.existing("web", name).expect("there").effects,
                    1,
                    "{hang:?} at {at}: {name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn deleting_destroys_in_reverse_order_also_without_the_catalog_entry() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    deploy(&host, &two()).await;
    let emptied = World {
        catalog: std::sync::Arc::default(),
        ..world.clone()
    };
    let host = emptied.host().await;
    host.delete("web", RequestMeta::default())
        .await
        .expect("accepted");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Deleted);
    let destroyed: Vec<_> = world
        .engines
        .calls()
        .iter()
        .filter(|c| c.function == Function::Destroy)
        .map(|c| c.resource.to_string())
        .collect();
    assert_eq!(destroyed, ["app", "database"]);
    assert!(world.engines.world("web").is_empty());
    // Again is fine, and the id can be used anew.
    host.delete("web", RequestMeta::default())
        .await
        .expect("still fine");
    let host = world.host().await;
    assert_status(&deploy(&host, &two()).await, DeploymentStatus::Ready);
}

#[tokio::test]
async fn deleting_in_flight_stops_and_unwinds() {
    let world = World::new();
    world.engines.script("database", database());
    world
        .engines
        .script("app", Behaviour::default().hang(Hang::AfterEffect));
    let host = world.host().await;
    post(&host, &two()).await;
    world.engines.wait_for_call(Function::Apply, "app").await;
    assert_eq!(
        host.delete("web", RequestMeta::default())
            .await
            .expect("accepted")
            .status,
        DeploymentStatus::Cancelling
    );
    world.engines.release("app");
    let view = settle(&host, "web").await;
    assert_status(&view, DeploymentStatus::Cancelled);
    assert!(world.engines.world("web").is_empty());
}

#[tokio::test]
async fn manifests_are_delivered_and_withdrawn() {
    let world = World::new();
    let host = world.host().await;
    let body = web(&[("site", "chart:1.0.0", json!({ "replicas": 2 }))]);
    let view = deploy(&host, &body).await;
    assert_status(&view, DeploymentStatus::Ready);
    let delivery = resource(&view, "site").delivery.clone().expect("delivered");
    assert!(
        world.delivery.folder(&delivery.path).is_some(),
        "{delivery:?}"
    );
    host.delete("web", RequestMeta::default())
        .await
        .expect("accepted");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Deleted);
    assert!(world.delivery.folder(&delivery.path).is_none());
}

#[tokio::test]
async fn an_idempotency_key_makes_one_revision_of_many_requests() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    let body = serde_json::to_vec(&two()).expect("JSON");
    let meta = RequestMeta {
        idempotency_key: Some("k1".into()),
        ..RequestMeta::default()
    };
    let first = host.submit(&body, meta.clone()).await.expect("accepted");
    assert_eq!(
        host.submit(&body, meta.clone()).await.expect("the same"),
        first
    );
    let other = serde_json::to_vec(&web(&[])).expect("JSON");
    assert_eq!(
        host.submit(&other, meta.clone()).await,
        Err(Rejection::IdempotencyMismatch)
    );
    world.clock.advance(Duration::from_secs(24 * 3600 + 1));
    assert_eq!(
        host.submit(&body, meta).await.expect("forgotten").revision,
        2
    );
}

#[tokio::test]
async fn events_can_be_resumed_from_any_point() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    deploy(&host, &two()).await;
    let all: Vec<_> = host
        .events("web", None, false)
        .await
        .expect("there")
        .collect()
        .await;
    let ids: Vec<u64> = all.iter().filter_map(|e| e.id).collect();
    assert_eq!(
        ids,
        (1..=ids.len() as u64).collect::<Vec<_>>(),
        "no gap, no repetition"
    );
    assert_eq!(all.first().map(|e| e.kind.as_str()), Some("accepted"));
    assert_eq!(
        all.last().and_then(|e| e.status),
        Some(DeploymentStatus::Ready)
    );
    let rest: Vec<_> = host
        .events("web", Some(3), false)
        .await
        .expect("there")
        .collect()
        .await;
    assert_eq!(rest, all[3..]);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_say_why() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    assert_eq!(
        host.get("web").await.err(),
        Some(Rejection::NotFound("web".into()))
    );
    assert_eq!(
        host.get("../etc").await.err(),
        Some(Rejection::NotFound("../etc".into()))
    );
    deploy(&host, &two()).await;
    let meta = RequestMeta::default;
    for (answer, expected) in [
        (
            host.retry("web", meta()).await,
            "deployment web is ready; there is nothing to retry",
        ),
        (
            host.cancel("web", meta()).await,
            "deployment web is ready; there is nothing to cancel",
        ),
        (
            host.rollback("web", Some(9), meta()).await,
            "deployment web is ready; there is no revision 9 to go back to",
        ),
    ] {
        assert_eq!(answer.err(), Some(Rejection::Conflict(expected.into())));
    }
    let mut moved = two();
    moved["environment"] = json!("staging");
    let refused = host
        .submit(&serde_json::to_vec(&moved).expect("JSON"), meta())
        .await;
    assert!(
        matches!(&refused, Err(Rejection::Invalid(v)) if v[0].pointer == "/environment"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn rolling_back_posts_an_earlier_revision_again() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    deploy(&host, &two()).await;
    let mut second = two();
    second["resources"][0]["config"]["size"] = json!(2);
    deploy(&host, &second).await;
    assert_eq!(
        host.rollback("web", None, RequestMeta::default())
            .await
            .expect("accepted")
            .revision,
        3
    );
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
    assert_eq!(
        world
            .engines
            .existing("web", "database")
            .expect("there")
            .config,
        json!({ "size": 1 })
    );
}

#[tokio::test]
async fn rolling_back_passes_over_what_was_not_applied_whole() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    let sized = |size: u64| {
        let mut body = two();
        body["resources"][0]["config"]["size"] = json!(size);
        body
    };
    let back = async || host.rollback("web", None, RequestMeta::default()).await;
    deploy(&host, &sized(1)).await;
    assert_eq!(
        back().await.err(),
        Some(Rejection::Conflict(
            "deployment web is ready; no revision before it was applied whole; name one to go back to".into()
        ))
    );
    let no = EngineError::Failed("no".into());
    world.engines.script("extra", Behaviour::default().fail(no));
    let mut failing = sized(2);
    let extra = json!({ "name": "extra", "catalogRef": "app:1.0.0", "config": {} });
    failing["resources"]
        .as_array_mut()
        .expect("some")
        .push(extra);
    let view = deploy(&host, &failing).await;
    assert_status(&view, DeploymentStatus::RolledBack);
    // Nor what an engine would not even begin.
    let no = EngineError::Invalid(vec![]);
    world.engines.script("database", database().invalid(no));
    assert_status(&deploy(&host, &sized(3)).await, DeploymentStatus::Failed);
    world.engines.script("database", database());
    deploy(&host, &sized(4)).await;
    let accepted = back().await.expect("accepted");
    assert_eq!(accepted.revision, 5);
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
    let database = world.engines.existing("web", "database");
    assert_eq!(database.expect("there").config, json!({ "size": 1 }));
    let outcomes: Vec<(u64, String)> = host
        .revisions("web")
        .await
        .expect("there")
        .into_iter()
        .map(|r| (r.revision, r.outcome))
        .collect();
    let word = |n: u64, word: &str| (n, word.to_owned());
    assert_eq!(
        outcomes,
        [
            word(5, "ready"),
            word(4, "superseded"),
            word(3, "failed"),
            word(2, "rolled_back"),
            word(1, "superseded"),
        ]
    );
}

#[tokio::test]
async fn a_revision_that_is_retried_is_under_way_again() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    let no = EngineError::Failed("no".into());
    world.engines.script("app", Behaviour::default().fail(no));
    let view = deploy(&host, &two()).await;
    assert_status(&view, DeploymentStatus::RolledBack);
    let outcome = async || {
        host.revisions("web").await.expect("there")[0]
            .outcome
            .clone()
    };
    assert_eq!(outcome().await, "rolled_back");
    let hangs = Behaviour::default().hang(Hang::BeforeEffect);
    world.engines.script("app", hangs);
    let retried = host.retry("web", RequestMeta::default()).await;
    retried.expect("accepted");
    common::until("it is under way", async || {
        host.get("web").await.expect("there").status == DeploymentStatus::InProgress
    })
    .await;
    assert_eq!(outcome().await, "in_progress");
    world.engines.release("app");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
    assert_eq!(outcome().await, "ready");
}

#[tokio::test]
async fn a_plan_changes_nothing_and_carries_unknowns() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    let body = serde_json::to_vec(&two()).expect("JSON");
    let plan = host
        .plan(&body, RequestMeta::default())
        .await
        .expect("planned");
    let actions: Vec<_> = plan
        .resources
        .iter()
        .map(|r| (r.name.as_str(), r.action.as_str()))
        .collect();
    assert_eq!(actions, [("database", "create"), ("app", "create")]);
    assert!(world.engines.world("web").is_empty());
    assert_eq!(
        host.get("web").await.err(),
        Some(Rejection::NotFound("web".into()))
    );
    let asked = world.engines.calls_of(Function::Plan, "app");
    let url: &Value = &asked[0].config["url"];
    assert!(
        url == &json!({ "$unknown": "string" }) || url == "db.internal",
        "{url}"
    );
    deploy(&host, &two()).await;
    let plan = host
        .plan(&body, RequestMeta::default())
        .await
        .expect("planned");
    assert_eq!(plan.summary, [("noop".to_string(), 2)].into());
}

#[tokio::test]
async fn the_latest_revision_is_planned_again_against_the_catalog_of_now() {
    let world = World::new();
    world.engines.script("database", database());
    let host = world.host().await;
    let again = || host.plan_again("web", RequestMeta::default());
    assert_eq!(again().await.err(), Some(Rejection::NotFound("web".into())));
    deploy(&host, &two()).await;
    let plan = again().await.expect("planned");
    assert_eq!(plan.summary, [("noop".to_string(), 2)].into());
    assert_eq!(plan.revision, 2);
    // The platform changes a definition behind the same version: applying the
    // same text again is no longer nothing.
    let mut changed = nestor_testkit::catalog::simple("app:1.0.0", "fake", &[]);
    changed.digest = nestor_core::ids::Digest::of(b"another text");
    world.catalog.add(changed);
    let plan = again().await.expect("planned");
    let app = plan.resources.iter().find(|r| r.name == "app");
    assert_eq!(
        world.engines.calls_of(Function::Plan, "app").len(),
        1,
        "the engine is asked: {app:?}"
    );
    let database = plan.resources.iter().find(|r| r.name == "database");
    assert_eq!(database.expect("planned").action.as_str(), "noop");
    assert_eq!(host.revisions("web").await.expect("there").len(), 1);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let world = World::new();
    let host = world.host().await;
    for i in 0..5 {
        let mut body = web(&[("app", "app:1.0.0", json!({}))]);
        body["id"] = json!(format!("web-{i}"));
        body["composer"] = json!(if i % 2 == 0 { "team-even" } else { "team-odd" });
        body["labels"] = json!({ "tier": "web", "n": format!("{}", i / 2) });
        post(&host, &body).await;
    }
    let page = host
        .list(ListFilter::default(), None, 2)
        .await
        .expect("a page");
    assert_eq!(
        page.items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(),
        ["web-0", "web-1"]
    );
    let page = host
        .list(ListFilter::default(), page.next, 10)
        .await
        .expect("a page");
    assert_eq!((page.items.len(), page.next), (3, None));
    let filter = ListFilter {
        composer: Some("team-odd".parse().expect("a name")),
        ..ListFilter::default()
    };
    assert_eq!(
        host.list(filter, None, 10)
            .await
            .expect("a page")
            .items
            .len(),
        2
    );
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (labels, listed) in [
        (vec![label("tier", "web")], 5),
        (vec![label("tier", "web"), label("n", "1")], 2),
        (vec![label("tier", "web"), label("n", "9")], 0),
        (vec![label("other", "web")], 0),
    ] {
        let filter = ListFilter {
            labels: labels.into_iter().collect(),
            ..ListFilter::default()
        };
        let page = host.list(filter, None, 10).await.expect("a page");
        assert_eq!(page.items.len(), listed);
    }
}

#[tokio::test]
async fn an_engine_that_is_not_ready_yet_is_waited_for() {
    use nestor_core::engine::Features;
    use nestor_core::ports::EngineStatus;
    let world = World::new();
    world.engines.script("database", database());
    world
        .engines
        .add_with("fake", Features::default(), EngineStatus::Preparing);
    let host = world.host().await;
    post(&host, &two()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let view = host.get("web").await.expect("there");
    assert_eq!(view.phase, Phase::Validating, "{view:#?}");
    world.engines.add("fake");
    assert_status(&settle(&host, "web").await, DeploymentStatus::Ready);
}

#[tokio::test]
async fn idempotency_keys_are_forgotten_after_a_day() {
    let world = World::new();
    let host = world.host().await;
    let body = serde_json::to_vec(&two()).expect("JSON");
    let posted = async |key: &str| {
        let meta = RequestMeta {
            idempotency_key: Some(key.into()),
            ..RequestMeta::default()
        };
        host.submit(&body, meta).await.expect("accepted")
    };
    let kept = async || world.store.scan("idm/", None, 10_000).await.expect("kept");
    posted("first").await;
    // What a host does at its start is done.
    settle(&host, "web").await;
    let (_, record) = kept().await.remove(0);
    // More than are read at once.
    let mut batch = Batch::new();
    for number in 0..2_500 {
        batch.put(format!("idm/old-{number}"), record.clone());
    }
    world.store.commit(batch).await.expect("written");
    world.clock.advance(Duration::from_secs(25 * 3_600));
    posted("second").await;
    until("only the new one is kept", async || kept().await.len() == 1).await;
}
