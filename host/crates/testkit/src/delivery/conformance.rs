//! What every adapter of the Delivery port must do.

use nestor_core::engine::Manifest;
use nestor_core::ports::{Delivered, Delivery, DeliveryError, DeliveryRequest, Withdrawal};

/// Runs the whole suite against an adapter that has delivered nothing yet.
///
/// # Panics
/// When the adapter does not keep the port's promises; the message says which.
pub async fn conformance(delivery: &dyn Delivery) {
    a_repeated_delivery_is_the_same_commit(delivery).await;
    a_withdrawal_is_repeatable(delivery).await;
    bad_paths_write_nothing(delivery).await;
}

async fn a_repeated_delivery_is_the_same_commit(delivery: &dyn Delivery) {
    let first = deliver(delivery, "a", 1, &[("x.yaml", "1"), ("y/z.yaml", "2")]).await;
    assert_eq!(first.path, "production/conformance/a");
    assert!(
        first.commit.len() == 40 && first.commit.bytes().all(|b| b.is_ascii_hexdigit()),
        "{:?} is not 40 hex digits",
        first.commit
    );
    let again = deliver(delivery, "a", 1, &[("y/z.yaml", "2"), ("x.yaml", "1")]).await;
    assert_eq!(again, first, "the same manifests, in any order");
    let other = deliver(delivery, "b", 1, &[("x.yaml", "1")]).await;
    assert_ne!(
        other.commit, first.commit,
        "another resource is another commit"
    );
    let again = deliver(delivery, "a", 2, &[("x.yaml", "1"), ("y/z.yaml", "2")]).await;
    assert_eq!(
        again.commit, first.commit,
        "another resource's commit does not matter"
    );
    let changed = deliver(delivery, "a", 2, &[("x.yaml", "1")]).await;
    assert_ne!(changed.commit, first.commit, "a manifest less is a change");
}

async fn a_withdrawal_is_repeatable(delivery: &dyn Delivery) {
    let delivered = deliver(delivery, "gone", 1, &[("x.yaml", "1")]).await;
    let withdrawn = delivery
        .withdraw(withdrawal("gone", 2))
        .await
        .expect("a withdrawal");
    assert_ne!(withdrawn.commit, delivered.commit);
    assert_eq!(withdrawn.path, delivered.path);
    let again = delivery
        .withdraw(withdrawal("gone", 2))
        .await
        .expect("gone already");
    assert_eq!(again.commit, withdrawn.commit, "no commit for nothing");
    delivery
        .withdraw(withdrawal("never", 1))
        .await
        .expect("never there");
    let back = deliver(delivery, "gone", 3, &[("x.yaml", "1")]).await;
    assert_ne!(
        back.commit, delivered.commit,
        "what was withdrawn in between is delivered anew"
    );
}

async fn bad_paths_write_nothing(delivery: &dyn Delivery) {
    let before = deliver(delivery, "paths", 1, &[("x.yaml", "1")]).await;
    for bad in [
        vec![("fine.yaml", ""), ("../x.yaml", "")],
        vec![("a/../../x", "")],
        vec![("/etc/passwd", "")],
        vec![("", "")],
        vec![("a//b", "")],
        vec![(".git/config", "")],
        vec![("x.yaml", "1"), ("x.yaml", "2")],
    ] {
        let answer = delivery.deliver(request("paths", 2, &bad)).await;
        assert!(
            matches!(answer, Err(DeliveryError::Path { .. })),
            "{bad:?}: {answer:?}"
        );
    }
    let after = deliver(delivery, "paths", 2, &[("x.yaml", "1")]).await;
    assert_eq!(
        after.commit, before.commit,
        "a refused delivery changed something"
    );
}

async fn deliver(
    delivery: &dyn Delivery,
    resource: &str,
    revision: u64,
    manifests: &[(&str, &str)],
) -> Delivered {
    delivery
        .deliver(request(resource, revision, manifests))
        .await
        .expect("a delivery")
}

fn request(resource: &str, revision: u64, manifests: &[(&str, &str)]) -> DeliveryRequest {
    let Withdrawal {
        deployment,
        revision,
        environment,
        resource,
        operation_id,
    } = withdrawal(resource, revision);
    let manifests = manifests.iter().map(|(path, content)| Manifest {
        path: (*path).into(),
        content: (*content).into(),
    });
    DeliveryRequest {
        deployment,
        revision,
        environment,
        resource,
        operation_id,
        manifests: manifests.collect(),
    }
}

fn withdrawal(resource: &str, revision: u64) -> Withdrawal {
    Withdrawal {
        deployment: "conformance".parse().expect("an id"),
        revision,
        environment: "production".parse().expect("a name"),
        resource: resource.parse().expect("a name"),
        operation_id: format!("{resource}-{revision}"),
    }
}
