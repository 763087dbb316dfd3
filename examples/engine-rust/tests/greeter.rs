//! The engine's logic, on the machine's own target.

use greeter_rust::Greeter;
use nestor_sdk::testing::FakeHost;
use nestor_sdk::{Action, Engine, Error, Host, JsonType, Outcome, Prior, Request, json};

fn request(config: nestor_sdk::Value) -> Request {
    let mut request = Request::for_test("hello", config).declares("text", JsonType::String, false);
    request.definition = json!({"template": "Hello, {name}! You are no. {number}."});
    request
}

#[test]
fn the_life_of_a_text() {
    let host = FakeHost::new();
    let mut wanted = request(json!({"name": "Ada", "number": 1}));
    let planned = Greeter.plan(&host, &wanted).expect("planned");
    assert_eq!(planned.action, Action::Create);
    assert_eq!(
        planned.outputs[0].known,
        Some(json!("Hello, Ada! You are no. 1."))
    );

    let Ok(Outcome::Ready(settled)) = Greeter.apply(&host, &wanted) else {
        panic!("must be ready")
    };
    assert_eq!(
        settled.outputs[0].value,
        json!("Hello, Ada! You are no. 1.")
    );
    assert_eq!(
        std::fs::read_to_string(host.work().join("text")).expect("written"),
        "Hello, Ada! You are no. 1."
    );

    wanted.prior = Some(Prior {
        config: wanted.config.clone(),
        outputs: settled.outputs,
        state: settled.state,
    });
    assert_eq!(
        Greeter.plan(&host, &wanted).expect("planned").action,
        Action::Noop
    );
    wanted.config = json!({"name": JsonType::String.unknown(), "number": 1});
    let planned = Greeter.plan(&host, &wanted).expect("planned");
    assert_eq!(
        (planned.action, planned.outputs[0].known.as_ref()),
        (Action::Update, None)
    );

    assert!(Greeter.destroy(&host, &wanted).is_ok());
    assert!(
        Greeter.destroy(&host, &wanted).is_ok(),
        "gone already is a success"
    );
}

#[test]
fn a_value_is_never_taken_for_a_template() {
    let wanted = request(json!({"name": "{number}", "number": 1}));
    let planned = Greeter.plan(&FakeHost::new(), &wanted).expect("planned");
    assert_eq!(
        planned.outputs[0].known,
        Some(json!("Hello, {number}! You are no. 1."))
    );
}

#[test]
fn what_the_template_needs_is_named() {
    let missing = Greeter.apply(&FakeHost::new(), &request(json!({"name": "Ada"})));
    assert_eq!(
        missing,
        Err(Error::invalid("", "the template needs `number`"))
    );
}
