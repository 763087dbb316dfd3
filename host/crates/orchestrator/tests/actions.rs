//! Every action in every state: once, twice, and with a crash right after it or
//! after any commit of what follows.
//! What the answer is, and where the deployment ends once its engines are well
//! again.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::expect;
use nestor_core::engine::EngineError;
use nestor_core::ports::Function;
use nestor_orchestrator::Orchestrator;
use nestor_orchestrator::service::{Approving, Rejection, RequestMeta};
use nestor_orchestrator::view::Accepted;
use nestor_testkit::engines::{Behaviour, Hang};
use serde_json::{Value, json};

use common::{World, post, settle, two, until};

/// Every status that a deployment can be left in, or be caught in; and `queued`
/// is ready, with another revision that waits.
const STATES: [&str; 13] = [
    "pending",
    "in_progress",
    "awaiting",
    "ready",
    "queued",
    "failed",
    "cancelling",
    "rolling_back",
    "rolled_back",
    "cancelled",
    "deleting",
    "deleted",
    "stuck",
];

fn failed() -> EngineError {
    EngineError::Failed("no".into())
}

/// What its status is in a state.
fn shown(state: &str) -> &str {
    match state {
        "awaiting" => "awaiting_approval",
        "queued" => "ready",
        other => other,
    }
}

fn status(view: &nestor_orchestrator::view::DeploymentView) -> String {
    let word = serde_json::to_value(view.status).expect("a word");
    word.as_str().unwrap_or_default().to_owned()
}

/// `two` with another config, so that a run has something to do.
fn another() -> Value {
    let mut body = two();
    body["resources"][0]["config"]["size"] = json!(2);
    body
}

/// A deployment in a state, and a host on it. What hangs goes on with `heal`.
async fn brought_to(state: &str, world: &mut World) -> Orchestrator {
    let database = Behaviour::ready([("endpoint", json!("db")), ("port", json!(1))]);
    let engines = world.engines.clone();
    engines.script("database", database.clone());
    let hang = || Behaviour::default().hang(Hang::BeforeEffect);
    let meta = RequestMeta::default;
    match state {
        "pending" => {
            world.limits.runs = 1;
            engines.script("blocker", hang());
            let host = world.host().await;
            let mut blocker = common::web(&[("blocker", "app:1.0.0", json!({}))]);
            blocker["id"] = json!("blocker");
            post(&host, &blocker).await;
            engines.wait_for_call(Function::Apply, "blocker").await;
            post(&host, &two()).await;
            return host;
        }
        "queued" => {
            world.limits.runs = 1;
            let host = world.host().await;
            post(&host, &two()).await;
            settle(&host, "web").await;
            engines.script("blocker", hang());
            let mut blocker = common::web(&[("blocker", "app:1.0.0", json!({}))]);
            blocker["id"] = json!("blocker");
            post(&host, &blocker).await;
            engines.wait_for_call(Function::Apply, "blocker").await;
            post(&host, &another()).await;
            return host;
        }
        "awaiting" => {
            let host = world.host().await;
            post(&host, &two()).await;
            settle(&host, "web").await;
            let mut body = another();
            body["strategy"] = json!({ "approval": "required" });
            post(&host, &body).await;
            until("it waits", async || {
                let view = host.get("web").await.expect("there");
                status(&view) == shown(state)
            })
            .await;
            return host;
        }
        "in_progress" | "cancelling" => {
            engines.script("app", hang());
            let host = world.host().await;
            post(&host, &two()).await;
            engines.wait_for_call(Function::Apply, "app").await;
            if state == "cancelling" {
                host.cancel("web", meta()).await.expect("cancels");
            }
            return host;
        }
        _ => {}
    }
    let mut body = two();
    match state {
        "failed" => {
            body["policy"] = json!({ "onFailure": "halt" });
            engines.script("app", Behaviour::default().fail(failed()));
        }
        "rolled_back" => engines.script("app", Behaviour::default().fail(failed())),
        "rolling_back" => {
            engines.script("app", Behaviour::default().fail(failed()));
            let undo = database.clone().fail_destroy(EngineError::Transient {
                message: "busy".into(),
                retry_after: Some(std::time::Duration::from_secs(5)),
            });
            engines.script("database", undo);
            world.clock.hold(true);
            let host = world.host().await;
            post(&host, &two()).await;
            engines.wait_for_call(Function::Destroy, "database").await;
            return host;
        }
        "stuck" => {
            engines.script("app", Behaviour::default().fail(failed()));
            engines.script("database", database.clone().fail_destroy(failed()));
        }
        "cancelled" => engines.script("app", hang()),
        _ => {}
    }
    let host = world.host().await;
    post(&host, &body).await;
    match state {
        "cancelled" => {
            engines.wait_for_call(Function::Apply, "app").await;
            host.cancel("web", meta()).await.expect("cancels");
            engines.release("app");
            settle(&host, "web").await;
        }
        "deleting" => {
            settle(&host, "web").await;
            engines.script("app", hang());
            host.delete("web", meta()).await.expect("deletes");
            engines.wait_for_call(Function::Destroy, "app").await;
        }
        "deleted" => {
            settle(&host, "web").await;
            host.delete("web", meta()).await.expect("deletes");
            settle(&host, "web").await;
        }
        _ => {
            settle(&host, "web").await;
        }
    }
    host
}

/// The engines are well again.
fn heal(world: &World) {
    let database = Behaviour::ready([("endpoint", json!("db")), ("port", json!(1))]);
    world.engines.script("database", database);
    world.engines.script("app", Behaviour::default());
    world.engines.script("blocker", Behaviour::default());
    world.engines.release("app");
    world.engines.release("blocker");
    world.clock.hold(false);
}

async fn act(host: &Orchestrator, action: &str) -> Result<Accepted, Rejection> {
    let meta = RequestMeta::default();
    match action {
        "post" => {
            let body = serde_json::to_vec(&another()).expect("JSON");
            host.submit(&body, meta).await
        }
        "cancel" => host.cancel("web", meta).await,
        "retry" => host.retry("web", meta).await,
        "rollback" => host.rollback("web", Some(1), meta).await,
        "delete" => host.delete("web", meta).await,
        "approve" => host.approve("web", Approving::default(), meta).await,
        other => unreachable!("{other}"),
    }
}

/// The last word: nothing waits, nothing is under way.
async fn end(world: &World, host: &Orchestrator) -> String {
    until("everything is at rest", async || {
        let resting = host.occupancy();
        resting.active + resting.queued + resting.parked == 0
    })
    .await;
    let view = host.get("web").await.expect("there");
    let there = world.engines.world("web");
    assert!(
        world.engines.overlaps().is_empty(),
        "{:?}",
        world.engines.overlaps()
    );
    // What the status says is what is there.
    match status(&view).as_str() {
        "ready" => assert_eq!(there, ["app", "database"], "{view:#?}"),
        "deleted" => assert!(there.is_empty(), "{view:#?}"),
        _ => {}
    }
    format!("{} ({})", status(&view), there.len())
}

async fn row(state: &str, action: &str) -> String {
    let mut world = World::new();
    let host = brought_to(state, &mut world).await;
    until("the state is reached", async || {
        status(&host.get("web").await.expect("there")) == shown(state)
    })
    .await;
    let answer = match act(&host, action).await {
        Ok(accepted) => serde_json::to_value(accepted.status).expect("a word"),
        Err(Rejection::Conflict(_)) => json!("409"),
        Err(other) => panic!("{state} {action}: {other}"),
    };
    heal(&world);
    let once = end(&world, &host).await;

    let mut world = World::new();
    let host = brought_to(state, &mut world).await;
    let _ = act(&host, action).await;
    let _ = act(&host, action).await;
    heal(&world);
    let twice = end(&world, &host).await;

    let killed = killed(state, action).await;
    let answer = answer.as_str().unwrap_or_default().to_owned();
    format!("{state:<13}{answer:<18}{once:<22}{twice:<22}{killed}")
}

/// Where it ends when the host is killed after the action was answered: at
/// once, or after any number of its commits until it is at rest.
async fn killed(state: &str, action: &str) -> String {
    let mut ends = BTreeSet::new();
    for commits in 0.. {
        let mut world = World::new();
        let next = world.clone();
        let store = world.mortal(usize::MAX);
        let host = brought_to(state, &mut world).await;
        let _ = act(&host, action).await;
        store.dies_after(commits);
        heal(&world);
        until("it died, or is at rest", async || {
            let resting = host.occupancy();
            store.is_dead() || resting.active + resting.queued + resting.parked == 0
        })
        .await;
        // The next host finds what is in the store.
        ends.insert(end(&world, &next.host().await).await);
        if !store.is_dead() {
            break;
        }
    }
    ends.into_iter().collect::<Vec<_>>().join(" or ")
}

async fn table(action: &str) -> String {
    let mut table = String::new();
    let _ = writeln!(
        table,
        "{action:<13}{:<18}{:<22}{:<22}killed",
        "answer", "once", "twice"
    );
    for state in STATES {
        let _ = writeln!(table, "{}", row(state, action).await.trim_end());
    }
    table
}

#[tokio::test]
async fn cancel_in_every_state() {
    expect![[r#"
        cancel       answer            once                  twice                 killed
        pending      cancelling        cancelled (0)         cancelled (0)         cancelled (0)
        in_progress  cancelling        cancelled (0)         cancelled (0)         cancelled (0)
        awaiting     cancelling        ready (2)             ready (2)             ready (2)
        ready        409               ready (2)             ready (2)             ready (2)
        queued       ready             ready (2)             ready (2)             ready (2)
        failed       cancelling        cancelled (0)         cancelled (0)         cancelled (0)
        cancelling   cancelling        cancelled (0)         cancelled (0)         cancelled (0)
        rolling_back rolling_back      rolled_back (0)       rolled_back (0)       rolled_back (0)
        rolled_back  409               rolled_back (0)       rolled_back (0)       rolled_back (0)
        cancelled    409               cancelled (0)         cancelled (0)         cancelled (0)
        deleting     409               deleted (0)           deleted (0)           deleted (0)
        deleted      409               deleted (0)           deleted (0)           deleted (0)
        stuck        409               stuck (1)             stuck (1)             stuck (1)
    "#]]
    .assert_eq(&table("cancel").await);
}

#[tokio::test]
async fn what_is_cancelled_before_it_begins_begins_nothing() {
    let mut world = World::new();
    let host = brought_to("pending", &mut world).await;
    act(&host, "cancel").await.expect("accepted");
    heal(&world);
    assert_eq!(end(&world, &host).await, "cancelled (0)");
    assert!(
        world
            .engines
            .calls_of(Function::Apply, "database")
            .is_empty()
    );
}

#[tokio::test]
async fn retry_in_every_state() {
    expect![[r#"
        retry        answer            once                  twice                 killed
        pending      409               ready (2)             ready (2)             ready (2)
        in_progress  409               ready (2)             ready (2)             ready (2)
        awaiting     409               awaiting_approval (2) awaiting_approval (2) awaiting_approval (2)
        ready        409               ready (2)             ready (2)             ready (2)
        queued       409               ready (2)             ready (2)             ready (2)
        failed       in_progress       ready (2)             ready (2)             ready (2)
        cancelling   409               cancelled (0)         cancelled (0)         cancelled (0)
        rolling_back 409               rolled_back (0)       rolled_back (0)       rolled_back (0)
        rolled_back  in_progress       ready (2)             ready (2)             ready (2)
        cancelled    in_progress       ready (2)             ready (2)             ready (2)
        deleting     409               deleted (0)           deleted (0)           deleted (0)
        deleted      409               deleted (0)           deleted (0)           deleted (0)
        stuck        in_progress       rolled_back (0)       rolled_back (0)       rolled_back (0)
    "#]]
    .assert_eq(&table("retry").await);
}

#[tokio::test]
async fn rollback_in_every_state() {
    expect![[r#"
        rollback     answer            once                  twice                 killed
        pending      pending           ready (2)             ready (2)             ready (2)
        in_progress  in_progress       ready (2)             ready (2)             ready (2)
        awaiting     awaiting_approval awaiting_approval (2) awaiting_approval (2) awaiting_approval (2)
        ready        ready             ready (2)             ready (2)             ready (2)
        queued       ready             ready (2)             ready (2)             ready (2)
        failed       failed            ready (2)             ready (2)             ready (2)
        cancelling   cancelling        ready (2)             ready (2)             ready (2)
        rolling_back rolling_back      ready (2)             ready (2)             ready (2)
        rolled_back  rolled_back       ready (2)             ready (2)             ready (2)
        cancelled    cancelled         ready (2)             ready (2)             ready (2)
        deleting     deleting          ready (2)             ready (2)             ready (2)
        deleted      deleted           ready (2)             ready (2)             ready (2)
        stuck        stuck             ready (2)             ready (2)             ready (2)
    "#]]
    .assert_eq(&table("rollback").await);
}

#[tokio::test]
async fn delete_in_every_state() {
    expect![[r#"
        delete       answer            once                  twice                 killed
        pending      deleting          deleted (0)           deleted (0)           deleted (0)
        in_progress  cancelling        cancelled (0)         cancelled (0)         cancelled (0)
        awaiting     deleting          deleted (0)           deleted (0)           deleted (0)
        ready        deleting          deleted (0)           deleted (0)           deleted (0)
        queued       deleting          deleted (0)           deleted (0)           deleted (0)
        failed       deleting          deleted (0)           deleted (0)           deleted (0)
        cancelling   cancelling        cancelled (0)         cancelled (0)         cancelled (0)
        rolling_back rolling_back      rolled_back (0)       rolled_back (0)       rolled_back (0)
        rolled_back  deleting          deleted (0)           deleted (0)           deleted (0)
        cancelled    deleting          deleted (0)           deleted (0)           deleted (0)
        deleting     deleting          deleted (0)           deleted (0)           deleted (0)
        deleted      deleted           deleted (0)           deleted (0)           deleted (0)
        stuck        deleting          deleted (0)           deleted (0)           deleted (0)
    "#]]
    .assert_eq(&table("delete").await);
}

#[tokio::test]
async fn post_in_every_state() {
    expect![[r#"
        post         answer            once                  twice                 killed
        pending      pending           ready (2)             ready (2)             ready (2)
        in_progress  in_progress       ready (2)             ready (2)             ready (2)
        awaiting     awaiting_approval awaiting_approval (2) awaiting_approval (2) awaiting_approval (2)
        ready        ready             ready (2)             ready (2)             ready (2)
        queued       ready             ready (2)             ready (2)             ready (2)
        failed       failed            ready (2)             ready (2)             ready (2)
        cancelling   cancelling        ready (2)             ready (2)             ready (2)
        rolling_back rolling_back      ready (2)             ready (2)             ready (2)
        rolled_back  rolled_back       ready (2)             ready (2)             ready (2)
        cancelled    cancelled         ready (2)             ready (2)             ready (2)
        deleting     deleting          ready (2)             ready (2)             ready (2)
        deleted      deleted           ready (2)             ready (2)             ready (2)
        stuck        stuck             ready (2)             ready (2)             ready (2)
    "#]]
    .assert_eq(&table("post").await);
}

#[tokio::test]
async fn approve_in_every_state() {
    expect![[r#"
        approve      answer            once                  twice                 killed
        pending      409               ready (2)             ready (2)             ready (2)
        in_progress  409               ready (2)             ready (2)             ready (2)
        awaiting     in_progress       ready (2)             ready (2)             ready (2)
        ready        409               ready (2)             ready (2)             ready (2)
        queued       409               ready (2)             ready (2)             ready (2)
        failed       409               failed (1)            failed (1)            failed (1)
        cancelling   409               cancelled (0)         cancelled (0)         cancelled (0)
        rolling_back 409               rolled_back (0)       rolled_back (0)       rolled_back (0)
        rolled_back  409               rolled_back (0)       rolled_back (0)       rolled_back (0)
        cancelled    409               cancelled (0)         cancelled (0)         cancelled (0)
        deleting     409               deleted (0)           deleted (0)           deleted (0)
        deleted      409               deleted (0)           deleted (0)           deleted (0)
        stuck        409               stuck (1)             stuck (1)             stuck (1)
    "#]]
    .assert_eq(&table("approve").await);
}
