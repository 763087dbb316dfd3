//! Plans that wait for a person.

mod common;

use std::time::Duration;

use serde_json::{Value, json};

use common::{Mortal, World, post, settle, two, web};
use nestor_core::engine::EngineError;
use nestor_core::environment::{Approval, EnvironmentPolicy};
use nestor_core::ids::Digest;
use nestor_core::ports::Function;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Approving, Rejection, RequestMeta};
use nestor_orchestrator::view::{DeploymentStatus as Is, DeploymentView, Phase, ResourceStatus};
use nestor_testkit::catalog::simple;
use nestor_testkit::engines::{Behaviour, Hang};

fn database() -> Behaviour {
    Behaviour::ready([("endpoint", json!("db.internal")), ("port", json!(3306))])
}

/// A world in whose `production` everything has to be approved.
fn strict() -> World {
    let mut world = World::new();
    let policy = EnvironmentPolicy {
        approval: Approval::Required,
        ..EnvironmentPolicy::DEFAULT
    };
    let production = "production".parse().expect("a name");
    world.environments.insert(production, policy);
    world.engines.script("database", database());
    world
}

/// Waits until the deployment is somewhere; what it does in the background is
/// a few microseconds of work.
async fn until(
    host: &Orchestrator,
    what: &str,
    there: impl Fn(&DeploymentView) -> bool,
) -> DeploymentView {
    for _ in 0..2_000 {
        let view = host.get("web").await.expect("there");
        if there(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never {what}: {:#?}", host.get("web").await);
}

async fn waits(host: &Orchestrator, revision: u64) -> DeploymentView {
    until(host, "waiting for approval", |view| {
        view.status == Is::AwaitingApproval && view.revision == revision
    })
    .await
}

fn by(actor: &str) -> RequestMeta {
    RequestMeta {
        actor: Some(actor.into()),
        ..RequestMeta::default()
    }
}

async fn approve(host: &Orchestrator, view: &DeploymentView) {
    let plan = view
        .approval
        .as_ref()
        .expect("something waits")
        .plan
        .parse();
    let approving = Approving {
        plan: Some(plan.expect("a digest")),
        ..Approving::default()
    };
    host.approve("web", approving, by("ada"))
        .await
        .expect("approved");
}

fn sized(size: u64) -> Value {
    let mut body = two();
    body["resources"][0]["config"]["size"] = json!(size);
    body
}

fn applied(world: &World) -> usize {
    let calls = world.engines.calls();
    calls
        .iter()
        .filter(|c| c.function == Function::Apply)
        .count()
}

#[tokio::test]
async fn nothing_is_done_before_the_plan_is_approved() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    let view = waits(&host, 1).await;
    assert_eq!(view.phase, Phase::Planning);
    assert_eq!(view.resources[0].status, ResourceStatus::Pending);
    let approval = view.approval.clone().expect("waits");
    assert_eq!(
        (approval.action.as_str(), approval.summary["create"]),
        ("apply", 2)
    );
    assert_eq!(approval.approved_by, None);
    let plan = host.waiting_plan("web").await.expect("a plan");
    assert_eq!(plan.digest, approval.plan);
    assert_eq!(plan.resources[1].name, "app");
    assert_eq!(applied(&world), 0);

    let approving = Approving {
        comment: Some("looks right".into()),
        ..Approving::default()
    };
    host.approve("web", approving, by("ada"))
        .await
        .expect("approved");
    let view = settle(&host, "web").await;
    assert_eq!(view.status, Is::Ready);
    let approval = view.approval.expect("was approved");
    assert_eq!(approval.approved_by.as_deref(), Some("ada"));
    assert_eq!(approval.comment.as_deref(), Some("looks right"));
    assert_eq!(applied(&world), 2);
}

#[tokio::test]
async fn a_deployment_may_ask_for_more_than_its_environment_and_not_for_less() {
    let mut asks = two();
    asks["strategy"] = json!({ "approval": "required" });
    let lenient = World::new();
    lenient.engines.script("database", database());
    let host = lenient.host().await;
    post(&host, &asks).await;
    waits(&host, 1).await;

    let mut asks = two();
    asks["strategy"] = json!({ "approval": "automatic" });
    let host = strict().host().await;
    post(&host, &asks).await;
    waits(&host, 1).await;
}

#[tokio::test]
async fn a_revision_without_changes_needs_no_approval() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    approve(&host, &waits(&host, 1).await).await;
    settle(&host, "web").await;
    post(&host, &two()).await;
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (Is::Ready, 2));
    assert!(view.approval.is_none(), "nothing was approved for it");
}

#[tokio::test]
async fn waiting_survives_a_restart_and_holds_nothing() {
    let world = strict();
    let first = world.host().await;
    post(&first, &two()).await;
    let view = waits(&first, 1).await;
    first.shutdown(Duration::from_secs(1)).await;
    let todo = world.store.scan("todo/", None, 10).await.expect("reads");
    assert!(todo.is_empty(), "nothing is to do while it waits");
    let second = world.host().await;
    assert_eq!(
        second.get("web").await.expect("there").approval,
        view.approval
    );
    approve(&second, &view).await;
    assert_eq!(settle(&second, "web").await.status, Is::Ready);
}

#[tokio::test]
async fn approving_makes_sense_only_where_something_waits() {
    enum Get {
        Failed,
        Ready,
        Deleted,
        Refused,
        Running,
    }
    for (name, get) in [
        ("failed", Get::Failed),
        ("ready", Get::Ready),
        ("deleted", Get::Deleted),
        ("refused", Get::Refused),
        ("running", Get::Running),
    ] {
        let world = strict();
        let host = world.host().await;
        if matches!(get, Get::Failed) {
            let fails = EngineError::Failed("no".into());
            world
                .engines
                .script("app", Behaviour::default().fail(fails));
        }
        if matches!(get, Get::Running) {
            let hangs = database().hang(Hang::BeforeEffect);
            world.engines.script("database", hangs);
        }
        post(&host, &two()).await;
        let first = waits(&host, 1).await;
        match get {
            Get::Refused => {
                host.cancel("web", by("bob")).await.expect("refused");
                let view = settle(&host, "web").await;
                assert_eq!(view.status, Is::Cancelled);
                let reason = view.reason.expect("says why");
                assert_eq!(reason, "revision 1 was refused by bob");
            }
            Get::Running => {
                approve(&host, &first).await;
                world
                    .engines
                    .wait_for_call(Function::Apply, "database")
                    .await;
            }
            Get::Failed | Get::Ready | Get::Deleted => {
                approve(&host, &first).await;
                settle(&host, "web").await;
            }
        }
        if matches!(get, Get::Deleted) {
            host.delete("web", RequestMeta::default())
                .await
                .expect("asked");
            let view = waits(&host, 1).await;
            assert_eq!(view.approval.as_ref().expect("waits").action, "delete");
            approve(&host, &view).await;
            assert_eq!(settle(&host, "web").await.status, Is::Deleted);
        }
        let whatever = host.approve("web", Approving::default(), by("ada")).await;
        assert!(
            matches!(whatever, Err(Rejection::Conflict(_))),
            "{name}: {whatever:?}"
        );
        if matches!(get, Get::Running | Get::Ready | Get::Failed) {
            // The very same once more, by a client that missed the answer.
            approve(&host, &first).await;
        }
        if matches!(get, Get::Running) {
            world.engines.release("database");
            assert_eq!(settle(&host, "web").await.status, Is::Ready);
        }
        assert!(world.engines.overlaps().is_empty());
        assert!(
            world
                .engines
                .effects_by_operation()
                .values()
                .all(|n| *n == 1)
        );
    }
}

#[tokio::test]
async fn approving_twice_is_approving_once() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    let view = waits(&host, 1).await;
    let (one, two) = tokio::join!(
        host.approve("web", Approving::default(), by("ada")),
        host.approve("web", Approving::default(), by("eve")),
    );
    assert!(one.is_ok() && two.is_ok());
    let view_after = settle(&host, "web").await;
    assert_eq!(view_after.status, Is::Ready);
    assert_eq!(applied(&world), 2);
    let approval = view_after.approval.expect("was approved");
    assert_eq!(approval.plan, view.approval.expect("waited").plan);
}

#[tokio::test]
async fn another_plan_than_the_one_that_was_looked_at_is_not_approved() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    waits(&host, 1).await;
    for approving in [
        Approving {
            plan: Some(Digest::of(b"another")),
            ..Approving::default()
        },
        Approving {
            revision: Some(7),
            ..Approving::default()
        },
    ] {
        let refused = host.approve("web", approving, by("ada")).await;
        assert!(
            matches!(refused, Err(Rejection::PlanMoved(_))),
            "{refused:?}"
        );
    }
    assert_eq!(applied(&world), 0);
}

#[tokio::test]
async fn an_approved_plan_is_refused_when_the_world_moved() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    let first = waits(&host, 1).await;
    world.engines.swap("fake", b"another component");
    approve(&host, &first).await;
    let moved = until(&host, "a new plan", |view| {
        view.approval.as_ref().map(|a| &a.plan) != first.approval.as_ref().map(|a| &a.plan)
    })
    .await;
    assert_eq!(moved.status, Is::AwaitingApproval);
    let reason = moved.reason.clone().expect("says why");
    assert!(
        reason.contains("engine fake is another one now"),
        "{reason}"
    );
    assert_eq!(applied(&world), 0);
    // The old approval does not count for the new plan; a new one does.
    approve(&host, &moved).await;
    assert_eq!(settle(&host, "web").await.status, Is::Ready);
}

#[tokio::test]
async fn what_became_ready_meanwhile_and_does_not_go_with_it_refuses_an_approved_plan() {
    let world = strict();
    let mut alone = simple("alone:1.0.0", "fake", &[]);
    alone.relations = serde_json::from_value(json!({
        "conflicts": [{ "definition": "app", "scope": "environment" }],
    }))
    .expect("relations");
    world.catalog.add(alone);
    let host = world.host().await;
    post(&host, &web(&[("alone", "alone:1.0.0", json!({}))])).await;
    let first = waits(&host, 1).await;
    let mut other = web(&[("app", "app:1.0.0", json!({}))]);
    other["id"] = json!("other");
    post(&host, &other).await;
    common::until("the other waits", async || {
        let view = host.get("other").await.expect("there");
        view.status == Is::AwaitingApproval
    })
    .await;
    host.approve("other", Approving::default(), by("ada"))
        .await
        .expect("approved");
    assert_eq!(settle(&host, "other").await.status, Is::Ready);
    approve(&host, &first).await;
    let view = until(&host, "refused", |view| view.status == Is::Failed).await;
    assert_eq!(
        view.reason.as_deref(),
        Some(
            "alone:1.0.0 of resource alone does not go with app:1.0.0 (resource app of deployment other), which has become ready in the same environment; take that away first, or use another version"
        )
    );
    assert_eq!(world.engines.calls_of(Function::Apply, "alone"), []);
}

#[tokio::test]
async fn an_engine_that_is_swapped_in_the_middle_applies_nothing_of_an_approved_plan() {
    let world = strict();
    let hangs = database().hang(Hang::BeforeEffect);
    world.engines.script("database", hangs);
    let host = world.host().await;
    post(&host, &two()).await;
    approve(&host, &waits(&host, 1).await).await;
    world
        .engines
        .wait_for_call(Function::Apply, "database")
        .await;
    world.engines.swap("fake", b"another component");
    world.engines.release("database");
    let view = settle(&host, "web").await;
    assert_eq!(view.status, Is::RolledBack, "{view:#?}");
    assert_eq!(
        view.reason.as_deref(),
        Some(
            "app: engine fake is another component than the one that the plan was made with; post the revision again for a new plan"
        )
    );
    assert_eq!(world.engines.calls_of(Function::Apply, "app"), []);
    assert_eq!(world.engines.world("web"), Vec::<String>::new());
}

#[tokio::test]
async fn refusing_leaves_everything_as_it_was() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    approve(&host, &waits(&host, 1).await).await;
    settle(&host, "web").await;
    post(&host, &sized(2)).await;
    waits(&host, 2).await;
    host.cancel("web", by("bob")).await.expect("refused");
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (Is::Ready, 1));
    assert_eq!(view.resources[0].status, ResourceStatus::Ready);
    let revisions = host.revisions("web").await.expect("there");
    let outcomes: Vec<_> = revisions.iter().map(|r| r.outcome.as_str()).collect();
    assert_eq!(outcomes, ["refused", "ready"]);
    // A deletion can be refused as well.
    host.delete("web", by("eve")).await.expect("asked");
    let view = waits(&host, 1).await;
    assert_eq!(view.approval.expect("waits").summary["delete"], 2);
    host.cancel("web", by("bob")).await.expect("refused");
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (Is::Ready, 1));
    assert_eq!(applied(&world), 2);
}

#[tokio::test]
async fn later_revisions_wait_behind_or_take_the_place() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    let first = waits(&host, 1).await;
    post(&host, &sized(2)).await;
    let view = until(&host, "queued", |view| view.queued_revision == Some(2)).await;
    assert_eq!(view.approval, first.approval, "each waits for its turn");
    let mut latest = sized(3);
    latest["strategy"] = json!({ "queued": "latest" });
    post(&host, &latest).await;
    let third = waits(&host, 3).await;
    approve(&host, &third).await;
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (Is::Ready, 3));
    let sizes: Vec<_> = world.engines.calls_of(Function::Apply, "database");
    assert_eq!(sizes.len(), 1);
    let revisions = host.revisions("web").await.expect("there");
    let outcomes: Vec<_> = revisions.iter().map(|r| r.outcome.as_str()).collect();
    assert_eq!(outcomes, ["ready", "skipped", "skipped"]);
}

#[tokio::test]
async fn what_waited_behind_comes_when_the_first_is_refused() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    waits(&host, 1).await;
    post(&host, &sized(2)).await;
    host.cancel("web", by("bob")).await.expect("refused");
    let second = waits(&host, 2).await;
    assert_eq!(second.queued_revision, None);
    approve(&host, &second).await;
    let view = settle(&host, "web").await;
    assert_eq!((view.status, view.revision), (Is::Ready, 2));
    assert_eq!(
        world
            .engines
            .existing("web", "database")
            .expect("there")
            .config,
        json!({ "size": 2 })
    );
}

#[tokio::test]
async fn deleting_what_was_never_approved_needs_no_approval() {
    let world = strict();
    let host = world.host().await;
    post(&host, &two()).await;
    waits(&host, 1).await;
    host.delete("web", RequestMeta::default())
        .await
        .expect("asked");
    let view = until(&host, "deleted", |view| view.status == Is::Deleted).await;
    assert!(view.approval.is_none());
    assert_eq!(applied(&world), 0);
}

#[tokio::test]
async fn a_placeholder_is_never_applied() {
    let world = strict();
    world.catalog.add_simple(
        "odd:1.0.0",
        "fake",
        &[("o", nestor_core::definition::JsonType::Object)],
    );
    // An engine that answers with what stands for a value that is not known.
    let odd = Behaviour::ready([("o", json!({ "in": [{ "$unknown": "string" }] }))]);
    world.engines.script("odd", odd);
    let host = world.host().await;
    let body = web(&[
        ("odd", "odd:1.0.0", json!({})),
        (
            "app",
            "app:1.0.0",
            json!({ "url": "${resources.odd.outputs.o}" }),
        ),
    ]);
    post(&host, &body).await;
    // The plan has placeholders, and can be approved.
    let view = waits(&host, 1).await;
    let plan = host.waiting_plan("web").await.expect("a plan");
    assert_eq!(
        plan.resources[0].outputs["o"],
        json!({ "$unknown": "object" })
    );
    approve(&host, &view).await;
    let view = settle(&host, "web").await;
    assert_eq!(view.status, Is::RolledBack);
    let reason = view.reason.expect("says why");
    assert!(reason.contains("no value at \"/url/in/0\" yet"), "{reason}");
    assert!(world.engines.calls_of(Function::Apply, "app").is_empty());

    // Nor one that somebody writes.
    let body = web(&[(
        "app",
        "app:1.0.0",
        json!({ "a": [{ "$unknown": "string" }] }),
    )]);
    let body = serde_json::to_vec(&body).expect("JSON");
    match host.submit(&body, RequestMeta::default()).await {
        Err(Rejection::Invalid(found)) => assert_eq!(found[0].pointer, "/resources/0/config/a/0"),
        other => panic!("{other:?}"),
    }
}

/// Somebody who wants revision 1 deployed, and repeats what was not answered.
/// None when the host died.
async fn persist(host: &Orchestrator, store: &Mortal) -> Option<DeploymentView> {
    let body = serde_json::to_vec(&two()).expect("JSON");
    let meta = RequestMeta {
        idempotency_key: Some("once".into()),
        ..by("ada")
    };
    host.submit(&body, meta).await.ok()?;
    while !store.is_dead() {
        let view = host.get("web").await.ok()?;
        match view.status {
            Is::Ready => return Some(view),
            Is::AwaitingApproval => {
                host.approve("web", Approving::default(), by("ada"))
                    .await
                    .ok()?;
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

#[tokio::test]
async fn a_crash_after_any_commit_loses_no_approval_and_repeats_nothing() {
    let mut died = 0;
    for commits in 0.. {
        let world = strict();
        let mut first = world.clone();
        let store = first.mortal(commits);
        let alive = match first.try_host().await {
            Some(host) => persist(&host, &store).await,
            None => None,
        };
        if alive.is_none() {
            died += 1;
            let second = world.host().await;
            let view = persist(&second, &world.clone().mortal(usize::MAX))
                .await
                .expect("goes on");
            assert_eq!(
                (view.status, view.revision),
                (Is::Ready, 1),
                "after {commits}"
            );
        }
        let effects = world.engines.effects_by_operation();
        assert!(
            effects.values().all(|n| *n == 1),
            "after {commits}: {effects:?}"
        );
        assert_eq!(effects.len(), 2, "after {commits}");
        if alive.is_some() {
            break;
        }
    }
    assert!(died > 6, "the host died only {died} times");
}
