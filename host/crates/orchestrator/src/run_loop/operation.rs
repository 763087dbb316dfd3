//! What a step's operation is to bring about, and whether it needs one.

use std::sync::Arc;

use nestor_core::execution::mutation::{Mutation, active};
use nestor_core::execution::{Call, Direction, Event, Failure, StepKind, StepState};
use nestor_core::ids::ResourceName;
use nestor_core::planner::{ExecutionPlan, PlannedResource, Resolved, resolve_config};
use nestor_core::ports::EngineHead;
use nestor_core::schema::ConfigSchema;
use nestor_core::spec::DeliveryMode;

use super::{RunLoop, Turn};
use crate::driver::{Driver, Stop};
use crate::job::{Target, failure_of};
use crate::lookup::recorded;
use crate::ownership::{Beginning, Late};
use crate::records::{OpenOperation, ResourceRecord, encode, key};
use crate::surroundings::LONGEST_WAIT_MS;

/// Places in a config that one reason names; the rest are counted.
const PLACES_SHOWN: usize = 5;

impl RunLoop {
    /// Whether a step needs an operation; if so, the intent goes into the batch.
    pub(super) fn decide(&mut self, driver: &Driver, step: u32, turn: &mut Turn) -> Event {
        let now = driver.context.now();
        let jitter = driver.context.surroundings.jitter();
        let decided = match self.refused.remove(&step) {
            Some(reason) => Err(reason),
            None => self.target(step),
        };
        let target = match decided {
            Ok(Some(target)) => target,
            Ok(None) => return Event::Unchanged { step },
            Err(reason) => {
                return Event::CallFailed {
                    step,
                    failure: Failure::Permanent,
                    reason,
                    at: now,
                    jitter,
                };
            }
        };
        let name = target.record().name.clone();
        let current = self.resources.get(&name);
        let wanted = match &target {
            Target::Apply(record) => Some(record.target()),
            Target::Destroy(_) => None,
        };
        let forward = self.run.steps()[step as usize].direction == Direction::Forward;
        if forward
            && let (Target::Apply(planned), Some(current)) = (&target, current)
            && current.applied.is_some()
            && current.applied == wanted
            && current.open.is_none()
            && !current.drifted
        {
            // The same thing; only what it stands after may be new.
            let mut kept = current.clone();
            kept.depends_on = planned.depends_on.clone();
            kept.policy = planned.policy.clone();
            if &kept != current {
                turn.batch
                    .put(key::resource(&driver.id, &name), encode(&kept));
                self.resources.insert(name, kept);
            }
            return Event::Unchanged { step };
        }
        let head = match driver.context.engines.head(&target.record().engine) {
            Ok(head) => head,
            Err(error) => {
                let (failure, reason) = (failure_of(&error, Call::Act), error.to_string());
                return Event::CallFailed {
                    step,
                    failure,
                    reason,
                    at: now,
                    jitter,
                };
            }
        };
        if forward && let Some(reason) = self.other_component(&head) {
            return Event::CallFailed {
                step,
                failure: Failure::Permanent,
                reason,
                at: now,
                jitter,
            };
        }
        if forward && !self.before.contains_key(&name) {
            let before = current.cloned();
            turn.batch.put(
                key::before(&driver.id, self.record.number, &name),
                encode(&before),
            );
            self.before.insert(name.clone(), before);
        }
        // A retry of the same operation stays on the component it began with.
        let id = self.operation_id(driver, step);
        let open = current
            .and_then(|c| c.open.clone())
            .filter(|open| open.id == id);
        let open = open.unwrap_or(OpenOperation {
            id,
            engine_digest: Some(head.digest),
            target: wanted,
        });
        let mut record = match (current, &target) {
            (Some(current), _) => current.clone(),
            (None, Target::Apply(planned)) => planned.as_ref().clone(),
            (None, Target::Destroy(gone)) => gone.as_ref().clone(),
        };
        if let Target::Apply(planned) = &target {
            // Whatever becomes of the operation, the resource may stand on both.
            let new = planned
                .depends_on
                .iter()
                .filter(|name| !record.depends_on.contains(name));
            let new: Vec<ResourceName> = new.cloned().collect();
            record.depends_on.extend(new);
        }
        record.open = Some(open);
        turn.batch
            .put(key::resource(&driver.id, &name), encode(&record));
        self.resources.insert(name, record);
        self.decided.insert(step, target);
        Event::Started { step, at: now }
    }

    /// What was approved is applied with the engines that it was planned with,
    /// or not at all.
    fn other_component(&self, head: &EngineHead) -> Option<String> {
        let planned = self.record.engines.get(&head.id)?;
        (*planned != head.digest).then(|| {
            format!(
                "engine {} is another component than the one that the plan was made with; post the revision again for a new plan",
                head.id
            )
        })
    }

    /// Makes the real things this deployment's that steps are about to begin
    /// with, before any intent to do so is written.
    pub(super) async fn own(&mut self, driver: &mut Driver, turn: &mut Turn) -> Result<(), Stop> {
        let steps: Vec<u32> = self.ready.iter().copied().collect();
        for step in steps {
            let planned = &self.record.plan.steps[step as usize];
            let run = &self.run.steps()[step as usize];
            let begins =
                run.direction == Direction::Forward && matches!(run.state, StepState::Due { .. });
            if !begins || planned.kind != StepKind::Apply || self.owned.contains(&step) {
                continue;
            }
            let place = planned.place.unwrap_or(step) as usize;
            let relations = &self.revision.plan.resources[place].relations;
            let Some(identity) = relations.identity.clone() else {
                continue;
            };
            // What is wrong with it is told where it is decided on.
            let Ok(Some(target)) = self.target(step) else {
                continue;
            };
            let record = target.record();
            let revision = Arc::clone(&self.revision);
            let beginning = Beginning {
                revision: &revision,
                resource: &record.name,
                config: &record.config,
                identity: &identity,
            };
            // Or may stand again, should the run be unwound.
            let stands = |name: &ResourceName| {
                let before = self.before.get(name).is_some_and(Option::is_some);
                before || self.resources.contains_key(name)
            };
            match driver.own_now(&beginning, stands).await? {
                Late::Owned => {
                    self.owned.insert(step);
                }
                Late::Adopted(record, told) => {
                    turn.events.extend(told);
                    self.resources.insert(record.name.clone(), *record);
                    self.owned.insert(step);
                }
                Late::Refused(reason) => {
                    self.refused.insert(step, reason);
                }
                Late::Waits(told) => {
                    turn.events.extend(told);
                    self.blocked = true;
                    self.held.insert(step);
                    // Whoever lets go rings, in the same host; this is for who
                    // waits in another.
                    let until = driver.context.now().plus_millis(LONGEST_WAIT_MS);
                    self.held_until = Some(until);
                }
            }
        }
        let held = &self.held;
        self.ready.retain(|step| !held.contains(step));
        Ok(())
    }

    /// Somebody may have let go of what steps wait for.
    pub(super) fn look_again(&mut self) {
        self.held_until = None;
        let mut held: Vec<u32> = self.held.drain().collect();
        held.sort_unstable();
        self.ready.extend(held);
    }

    /// What the step's operation is to bring about; none when there is nothing
    /// to do. An error is for the person who wrote the deployment.
    pub(super) fn target(&self, step: u32) -> Result<Option<Target>, String> {
        let planned = &self.record.plan.steps[step as usize];
        let current = || {
            self.resources
                .get(&planned.name)
                .cloned()
                .map(|r| Target::Destroy(Box::new(r)))
        };
        match (self.run.steps()[step as usize].direction, planned.kind) {
            (Direction::Forward, StepKind::Destroy) => Ok(current()),
            (Direction::Forward, StepKind::Apply) => {
                let plan = &self.revision.plan;
                let place = planned.place.unwrap_or(step);
                let resource = &plan.resources[place as usize];
                let resolved = resolve_config(&resource.config, &mut |reference| {
                    recorded(
                        &self.revision.spec,
                        self.revision.revision,
                        reference,
                        |name| self.resources.get(name),
                    )
                })
                .map_err(|unresolved| {
                    unresolved
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; ")
                })?;
                whole(plan, resource, &resolved)?;
                nothing_sensitive_in_git(resource, &resolved)?;
                let mut record = ResourceRecord::planned(resource, plan, resolved.config);
                let current = self.resources.get(&record.name);
                record.home = self.homes.of(&self.revision.spec.id, &record.name, current);
                Ok(Some(Target::Apply(Box::new(record))))
            }
            (Direction::Undo, _) => match self.before.get(&planned.name) {
                Some(Some(before)) if before.applied.is_some() => {
                    Ok(Some(Target::Apply(Box::new(before.clone()))))
                }
                Some(_) | None => Ok(current()),
            },
        }
    }

    /// Stable over retries and crashes, and another one for undoing.
    pub(super) fn operation_id(&self, driver: &Driver, step: u32) -> String {
        let direction = match self.run.steps()[step as usize].direction {
            Direction::Forward => "do",
            Direction::Undo => "undo",
        };
        let name = &self.record.plan.steps[step as usize].name;
        let id = format!("{}/{}/{}/{direction}", driver.id, self.record.number, name);
        if active(Mutation::NoEffectTwice) {
            return format!("{id}/{}", self.run.steps()[step as usize].attempts);
        }
        id
    }
}

/// That an output is sensitive may be known to its engine alone, so only now.
/// Git forgets nothing.
fn nothing_sensitive_in_git(resource: &PlannedResource, resolved: &Resolved) -> Result<(), String> {
    if resource.delivery != DeliveryMode::Gitops || resolved.sensitive.is_empty() {
        return Ok(());
    }
    let shown = resolved.sensitive.iter().take(PLACES_SHOWN);
    let mut places = shown
        .map(|pointer| format!("config{pointer}"))
        .collect::<Vec<_>>()
        .join(", ");
    let more = resolved.sensitive.len().saturating_sub(PLACES_SHOWN);
    if more > 0 {
        places.push_str(&format!(" (and {more} more)"));
    }
    Err(format!(
        "it is delivered through Git, and an output that its engine marks as sensitive goes into {places}: \
         that would commit it in clear text, so nothing was rendered; hand over the name of a secret instead, \
         or use \"delivery\": \"direct\" for a resource of another name"
    ))
}

/// Holds a config with its outputs in against its schema: what hangs on the
/// value of an output could not be checked before.
fn whole(
    plan: &ExecutionPlan,
    resource: &PlannedResource,
    resolved: &Resolved,
) -> Result<(), String> {
    let Some(schema) = plan.schemas.get(&resource.definition_digest) else {
        return Ok(());
    };
    let schema = ConfigSchema::compile(&Arc::new(schema.clone()))?;
    let refusals = schema.check_whole(&resolved.config, &resolved.sensitive);
    let Some(first) = refusals.first() else {
        return Ok(());
    };
    let mut reason = format!(
        "with the outputs put in, the config is not one that {} takes: config{}: {}",
        resource.catalog_ref, first.pointer, first.message
    );
    if refusals.len() > 1 {
        reason.push_str(&format!(" (and {} more)", refusals.len() - 1));
    }
    Err(reason)
}
