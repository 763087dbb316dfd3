//! Small deployments for tests.

use serde_json::json;

use super::{Dependency, DeploymentSpec, Policy, ResourceSpec};

pub(crate) fn resource(name: &str) -> ResourceSpec {
    ResourceSpec {
        name: name.parse().unwrap(),
        catalog_ref: "noop:1.0.0".parse().unwrap(),
        config: json!({}),
        engine: None,
        policy: None,
    }
}

pub(crate) fn deployment(
    resources: Vec<ResourceSpec>,
    dependencies: Vec<Dependency>,
) -> DeploymentSpec {
    DeploymentSpec {
        id: "web-app".parse().unwrap(),
        composer: "team-a".parse().unwrap(),
        environment: "test".parse().unwrap(),
        resources,
        dependencies,
        priority: 0,
        strategy: Default::default(),
        policy: Policy::default(),
        ttl: None,
        labels: Default::default(),
        delivery: None,
    }
}
