//! What tests may rely on.

use std::time::Duration;

use nestor_sdk::testing::FakeHost;
use nestor_sdk::{Action, Engine, Error, JsonType, Outcome, Prior, Purpose, Request, Value, json};
use noop::Noop;

fn outputs(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Ready(settled) => settled
            .outputs
            .into_iter()
            .map(|o| (o.name, o.value))
            .collect(),
        Outcome::Pending(pending) => json!({"pending": pending.percent}),
    }
}

#[test]
fn outputs_are_the_config_or_made_up_by_type() {
    let request = Request::for_test("database", json!({"endpoint": "db:5432"}))
        .declares("endpoint", JsonType::String, false)
        .declares("port", JsonType::Integer, false)
        .declares("user", JsonType::String, true);
    let ready = Noop.apply(&FakeHost::new(), &request).expect("applied");
    assert_eq!(
        outputs(ready),
        json!({"endpoint": "db:5432", "port": 4, "user": "database.user"})
    );
    let planned = Noop.plan(&FakeHost::new(), &request).expect("planned");
    assert_eq!(planned.action, Action::Create);
    assert_eq!(
        planned
            .outputs
            .iter()
            .map(|o| o.sensitive)
            .collect::<Vec<_>>(),
        [false, false, true]
    );
}

#[test]
fn transient_failures_are_counted_per_operation() {
    let host = FakeHost::new();
    let mut request = Request::for_test("a", json!({"noop": {"transient": 2}}));
    assert!(matches!(
        Noop.apply(&host, &request),
        Err(Error::Transient { .. })
    ));
    assert!(matches!(
        Noop.apply(&host, &request),
        Err(Error::Transient { .. })
    ));
    assert!(Noop.apply(&host, &request).is_ok());
    request.context.operation_id = "operation-2".into();
    assert!(matches!(
        Noop.apply(&host, &request),
        Err(Error::Transient { .. })
    ));
}

#[test]
fn a_pending_operation_ends_after_so_many_polls() {
    let host = FakeHost::new();
    let mut request = Request::for_test("a", json!({"noop": {"pending": 2}}));
    let mut outcome = Noop.apply(&host, &request).expect("started");
    let mut seen = Vec::new();
    while let Outcome::Pending(pending) = outcome {
        seen.push(pending.percent);
        request.prior = Some(Prior {
            config: request.config.clone(),
            outputs: vec![],
            state: pending.state,
        });
        outcome = Noop.observe(&host, &request).expect("observed");
    }
    assert_eq!(seen, [Some(0), Some(50)]);
    let patient = json!({"noop": {"pending": 1, "poll_ms": 3_600_000}});
    let outcome = Noop.apply(&host, &Request::for_test("a", patient));
    let Ok(Outcome::Pending(pending)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(pending.poll_after, Duration::from_secs(3_600));
}

#[test]
fn observe_tells_a_counted_operation_from_one_that_never_ran() {
    let host = FakeHost::new();
    let mut request = Request::for_test("a", json!({"noop": {"count": true}}));
    assert!(matches!(
        Noop.observe(&host, &request),
        Err(Error::Missing(_))
    ));
    Noop.apply(&host, &request).expect("applied");
    assert!(matches!(
        Noop.observe(&host, &request),
        Ok(Outcome::Ready(_))
    ));
    request.context.purpose = Purpose::Destroy;
    assert!(matches!(
        Noop.observe(&host, &request),
        Ok(Outcome::Ready(_))
    ));
}

#[test]
fn it_fails_as_asked() {
    let host = FakeHost::new();
    let apply =
        |behaviour: Value| Noop.apply(&host, &Request::for_test("a", json!({"noop": behaviour})));
    assert_eq!(apply(json!({"fail": "no"})), Err(Error::failed("no")));
    assert_eq!(
        apply(json!({"invalid": "bad"})),
        Err(Error::invalid("/noop/invalid", "bad"))
    );
    assert!(matches!(
        apply(json!({"explode": 1})),
        Err(Error::Invalid(_))
    ));
    let request = Request::for_test("a", json!({"noop": {"fail_destroy": "held"}}));
    assert_eq!(Noop.destroy(&host, &request), Err(Error::failed("held")));
}
