//! What cannot change between revisions.
//!
//! A revision is looked at when it is accepted, against what there is then, and
//! once more before it begins: what was accepted before it has become something
//! meanwhile.

use nestor_core::planner::ExecutionPlan;
use nestor_core::ports::StoreError;
use nestor_core::spec::DeploymentSpec;
use nestor_core::violation::{Violation, ViolationCode};

use crate::driver::Driver;
use crate::neighbours;
use crate::ownership::halted;
use crate::records::{
    DeploymentRecord, Request, ResourceRecord, RevisionRecord, StatusRecord, key,
};
use crate::service::Rejection;
use crate::submit::Checked;

/// Holds a revision against what there is. Read the status before the
/// resources: until the record changes, nothing begins that makes some.
pub(crate) fn check(
    existing: Option<&DeploymentRecord>,
    status: Option<&StatusRecord>,
    resources: &[ResourceRecord],
    checked: &Checked,
) -> Result<(), Rejection> {
    let Checked { spec, plan } = checked;
    let mut violations = of_resources(resources, spec, plan);
    if let Some(record) = existing {
        let may_move = may_move(record, status, resources);
        violations.extend(of_deployment(record, spec, may_move));
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Rejection::Invalid(violations))
    }
}

/// Whether nothing of the deployment is, or can come to be, anywhere: then it
/// may move to another environment.
fn may_move(
    record: &DeploymentRecord,
    status: Option<&StatusRecord>,
    resources: &[ResourceRecord],
) -> bool {
    let rests = status.is_none_or(|s| !s.active && s.gate.is_none() && !halted(s));
    let begins = |request: &Request| match request {
        Request::Apply { .. } | Request::Approve | Request::Retry => true,
        Request::Delete
        | Request::Cancel
        | Request::Expiring { .. }
        | Request::Expire { .. }
        | Request::CheckDrift { .. } => false,
    };
    rests && resources.is_empty() && !record.inbox.iter().any(begins)
}

/// What of a deployment a revision would change although it cannot.
fn of_deployment(
    record: &DeploymentRecord,
    spec: &DeploymentSpec,
    may_move: bool,
) -> Vec<Violation> {
    let composer = (
        "/composer",
        record.composer.as_str(),
        spec.composer.as_str(),
    );
    let environment = (
        "/environment",
        record.environment.as_str(),
        spec.environment.as_str(),
    );
    let fixed = [(composer, true), (environment, !may_move)];
    let changed = fixed
        .into_iter()
        .filter(|((_, was, is), fixed)| *fixed && was != is);
    changed
        .map(|((pointer, was, _), _)| {
            Violation::new(
                ViolationCode::ImmutableField,
                pointer,
                format!(
                    "deployment {} has {was:?} here, and that cannot change; use another id",
                    record.id
                ),
            )
        })
        .collect()
}

/// What of its resources as they are deployed.
fn of_resources(
    resources: &[ResourceRecord],
    spec: &DeploymentSpec,
    plan: &ExecutionPlan,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for planned in &plan.resources {
        let Some(record) = resources.iter().find(|r| r.name == planned.name) else {
            continue;
        };
        let place = spec
            .resources
            .iter()
            .position(|r| r.name == planned.name)
            .unwrap_or_default();
        if record.engine != planned.engine {
            violations.push(Violation::new(
                ViolationCode::ImmutableField,
                format!("/resources/{place}/engine"),
                format!(
                    "resource {} belongs to engine {}, which holds its state; to move it to {}, give it another name",
                    planned.name, record.engine, planned.engine
                ),
            ));
        } else if record.delivery != planned.delivery {
            violations.push(Violation::new(
                ViolationCode::ImmutableField,
                "/delivery",
                format!(
                    "resource {} was delivered another way before; give it another name",
                    planned.name
                ),
            ));
        }
    }
    violations
}

impl Driver {
    /// Why a revision that was accepted cannot begin any more.
    pub(crate) async fn outdated(
        &self,
        revision: &RevisionRecord,
        resources: &[ResourceRecord],
    ) -> Result<Option<String>, StoreError> {
        let (spec, plan) = (&revision.spec, &revision.plan);
        let record = self
            .context
            .read::<DeploymentRecord>(&key::deployment(&self.id))
            .await?;
        let mut violations =
            record.map_or_else(Vec::new, |record| of_deployment(&record, spec, false));
        violations.extend(of_resources(resources, spec, plan));
        match violations.into_iter().next() {
            Some(first) => Ok(Some(first.message)),
            None => neighbours::misfit(&self.context, revision).await,
        }
    }
}
