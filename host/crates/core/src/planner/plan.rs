//! Checks a specification against what it names, and orders it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::graph::{Cycle, FoundReference, Wire, Wiring};
use super::select::{deliver, select_engine};
use super::{Definitions, ExecutionPlan, PlannedEdge, PlannedResource, UNKNOWN_KEY, placeholder};
use crate::definition::{Definition, JsonType};
use crate::ids::{Digest, EngineId};
use crate::ports::{CatalogError, EngineHead};
use crate::schema::{ConfigSchema, Wildcard, type_name};
use crate::spec::{DeploymentSpec, Reference};
use crate::text::{did_you_mean, listed};
use crate::violation::{MAX_VIOLATIONS, Violation, ViolationCode};

/// Plans a deployment.
///
/// `definitions` must hold an answer for each of [`catalog_refs`](super::catalog_refs),
/// `engines` the head of every engine there is.
///
/// # Errors
/// Every violation at once, up to [`MAX_VIOLATIONS`]; never empty: names of
/// resources, definitions, engines and outputs that do not exist, configs that
/// their schema refuses, references of a type that is refused where they
/// stand, definitions that do not go with each other, resources that are one
/// and the same thing, and every cycle.
pub fn plan(
    spec: &DeploymentSpec,
    definitions: &Definitions,
    engines: &BTreeMap<EngineId, EngineHead>,
) -> Result<ExecutionPlan, Vec<Violation>> {
    let mut wiring = Wiring::of(spec);
    let mut planner = Planner {
        spec,
        violations: std::mem::take(&mut wiring.violations),
    };
    if wiring.names.len() < spec.resources.len() {
        return Err(planner.violations);
    }
    let chosen: Vec<Option<Chosen>> = (0..spec.resources.len())
        .map(|i| planner.choose(i, definitions, engines))
        .collect();
    let references = planner.check_references(&wiring, &chosen);
    planner.check_configs(&chosen, references);
    planner.check_relations(&chosen, definitions.neighbours());
    planner.check_identities(&chosen);
    let order = planner.order(&wiring);
    match (order, chosen.into_iter().collect::<Option<Vec<Chosen>>>()) {
        (Some(order), Some(chosen)) if planner.violations.is_empty() => {
            Ok(assemble(spec, &wiring, &order, &chosen, engines))
        }
        _ => {
            planner
                .violations
                .sort_by_key(|violation| rank(&violation.pointer));
            Err(planner.violations)
        }
    }
}

/// What runs a resource.
pub(super) struct Chosen {
    pub(super) definition: Arc<Definition>,
    pub(super) engine: EngineId,
}

pub(super) struct Planner<'s> {
    pub(super) spec: &'s DeploymentSpec,
    violations: Vec<Violation>,
}

impl Planner<'_> {
    pub(super) fn violation(&mut self, code: ViolationCode, pointer: String, message: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation::new(code, pointer, message));
        }
    }

    fn choose(
        &mut self,
        i: usize,
        definitions: &Definitions,
        engines: &BTreeMap<EngineId, EngineHead>,
    ) -> Option<Chosen> {
        let resource = &self.spec.resources[i];
        let place = format!("/resources/{i}/catalogRef");
        let definition = match definitions.get(&resource.catalog_ref) {
            Some(Ok(definition)) => Arc::clone(definition),
            Some(Err(error)) => {
                let message = match error {
                    CatalogError::UnknownName { .. } | CatalogError::NoMatchingVersion { .. } => {
                        error.to_string()
                    }
                    CatalogError::Broken(why) => {
                        format!("the definition is broken; its author must mend it: {why}")
                    }
                    // Why is the operator's to know.
                    CatalogError::Unavailable(_) => {
                        "the catalog cannot be read at the moment; try again".into()
                    }
                };
                self.violation(ViolationCode::UnknownCatalogRef, place, message);
                return None;
            }
            None => {
                let message = format!("{} was not looked up", resource.catalog_ref);
                self.violation(ViolationCode::UnknownCatalogRef, place, message);
                return None;
            }
        };
        match select_engine(&definition, resource.engine.as_ref(), engines) {
            Ok(engine) => Some(Chosen { definition, engine }),
            Err((code, message)) => {
                let key = if resource.engine.is_some() {
                    "engine"
                } else {
                    "catalogRef"
                };
                self.violation(code, format!("/resources/{i}/{key}"), message);
                None
            }
        }
    }

    /// Checks what references name, and answers where in each config values of
    /// which type will be put in; none for a config that cannot be checked.
    fn check_references(
        &mut self,
        wiring: &Wiring<'_>,
        chosen: &[Option<Chosen>],
    ) -> Vec<Vec<Reach>> {
        let mut reaches: Vec<Vec<Reach>> = vec![Vec::new(); chosen.len()];
        for found in &wiring.references {
            let json_type = self.type_of(found, chosen);
            let inner = json_type
                .filter(|t| !found.whole && matches!(t, JsonType::Object | JsonType::Array));
            if let Some(inner) = inner {
                let message = format!(
                    "${{{}}} is {}, which cannot stand within a longer text; make it the whole value",
                    found.reference,
                    type_name(inner)
                );
                let place = format!("/resources/{}/config{}", found.consumer, found.pointer);
                self.violation(ViolationCode::ReferenceType, place, message);
            }
            let reach = Reach {
                wildcard: Wildcard {
                    pointer: found.pointer.clone(),
                    json_type: if found.whole {
                        json_type
                    } else {
                        Some(JsonType::String)
                    },
                },
                reference: found.whole.then(|| found.reference.clone()),
            };
            let of_consumer = &mut reaches[found.consumer as usize];
            // A text with several references is one place.
            if of_consumer
                .last()
                .is_none_or(|last| last.wildcard.pointer != reach.wildcard.pointer)
            {
                of_consumer.push(reach);
            }
        }
        reaches
    }

    /// The type of a reference's value; none when it can be any, or when
    /// something is wrong with it, which is told.
    fn type_of(&mut self, found: &FoundReference, chosen: &[Option<Chosen>]) -> Option<JsonType> {
        let Reference::Output {
            resource,
            output,
            path,
        } = &found.reference
        else {
            let number = found.reference == Reference::Revision;
            return Some(if number {
                JsonType::Integer
            } else {
                JsonType::String
            });
        };
        let definition = &chosen[found.producer? as usize].as_ref()?.definition;
        let place = || format!("/resources/{}/config{}", found.consumer, found.pointer);
        let Some(declared) = definition.outputs.get(output) else {
            let names = || definition.outputs.keys().map(|name| name.as_str());
            let hint = did_you_mean(output.as_str(), names());
            let all = match (hint.is_empty(), definition.outputs.is_empty()) {
                (false, _) => String::new(),
                (true, true) => "; it declares none".to_owned(),
                (true, false) => format!("; it declares {}", listed(names())),
            };
            let message = format!(
                "${{{}}}: {} of resource {resource:?} declares no output {output:?}{hint}{all}",
                found.reference,
                definition.reference()
            );
            self.violation(ViolationCode::UnknownOutput, place(), message);
            return None;
        };
        match declared.json_type {
            json_type if path.is_empty() => Some(json_type),
            JsonType::Object | JsonType::Array => None,
            json_type => {
                let message = format!(
                    "${{{}}}: output {output:?} is {}, so nothing can stand behind it",
                    found.reference,
                    type_name(json_type)
                );
                self.violation(ViolationCode::ReferenceType, place(), message);
                None
            }
        }
    }

    fn check_configs(&mut self, chosen: &[Option<Chosen>], references: Vec<Vec<Reach>>) {
        let mut compiled: HashMap<Digest, Result<ConfigSchema, String>> = HashMap::new();
        for (i, (chosen, reaches)) in chosen.iter().zip(references).enumerate() {
            if self.violations.len() >= MAX_VIOLATIONS {
                return;
            }
            // It would be taken for a value that is not known yet, and never be applied.
            if let Some(pointer) = placeholder(&self.spec.resources[i].config) {
                let message = format!(
                    "an object with the key {UNKNOWN_KEY:?} stands for a value that is not known yet; give the key another name"
                );
                let pointer = format!("/resources/{i}/config{pointer}");
                self.violation(ViolationCode::InvalidValue, pointer, message);
            }
            let Some(Chosen { definition, .. }) = chosen else {
                continue;
            };
            let schema = compiled
                .entry(definition.digest)
                .or_insert_with(|| ConfigSchema::compile(&definition.config_schema));
            let schema = match schema {
                Ok(schema) => schema,
                Err(why) => {
                    let message = format!(
                        "the config schema of {} is broken; its author must mend it: {why}",
                        definition.reference()
                    );
                    self.violation(
                        ViolationCode::UnknownCatalogRef,
                        format!("/resources/{i}/catalogRef"),
                        message,
                    );
                    continue;
                }
            };
            let wildcards: Vec<Wildcard> =
                reaches.iter().map(|reach| reach.wildcard.clone()).collect();
            for refusal in schema.check(&self.spec.resources[i].config, &wildcards) {
                let pointer = format!("/resources/{i}/config{}", refusal.pointer);
                let reach = reaches
                    .iter()
                    .find(|reach| reach.wildcard.pointer == refusal.pointer);
                match reach.filter(|_| refusal.reference_type) {
                    None => self.violation(ViolationCode::ConfigSchema, pointer, refusal.message),
                    Some(reach) => {
                        let subject = match &reach.reference {
                            Some(reference) => format!("${{{reference}}} {}", refusal.message),
                            None => format!("a text with references {}", refusal.message),
                        };
                        self.violation(ViolationCode::ReferenceType, pointer, subject);
                    }
                }
            }
        }
    }

    fn order(&mut self, wiring: &Wiring<'_>) -> Option<Vec<u32>> {
        let graph = wiring.graph();
        if let Ok(order) = graph.order() {
            return Some(order);
        }
        for cycle in graph.cycles() {
            let path = cycle.show(|node| wiring.names.name(node));
            let (pointer, remedy) = self.edge_in(&cycle, wiring);
            let what = if cycle.0.len() == 1 {
                "a resource depends on itself"
            } else {
                "the dependencies form a cycle"
            };
            self.violation(
                ViolationCode::DependencyCycle,
                pointer,
                format!("{what}: {path}; {remedy}"),
            );
        }
        None
    }

    /// Where in the request an edge of a cycle stands, preferring one that was
    /// asked for, and what to do about it.
    fn edge_in(&self, cycle: &Cycle, wiring: &Wiring<'_>) -> (String, String) {
        let nodes = &cycle.0;
        let next = |i: usize| nodes[(i + 1) % nodes.len()];
        let on_cycle: HashSet<(u32, u32)> = nodes
            .iter()
            .enumerate()
            .map(|(i, &node)| (node, next(i)))
            .collect();
        let explicit = self.spec.dependencies.iter().position(|dependency| {
            let number = |name: &crate::ids::ResourceName| wiring.names.number(name.as_str());
            number(&dependency.from)
                .zip(number(&dependency.to))
                .is_some_and(|pair| on_cycle.contains(&pair))
        });
        if let Some(place) = explicit {
            return (
                format!("/dependencies/{place}"),
                "remove one of these dependencies".into(),
            );
        }
        let implied = |found: &&FoundReference| {
            found
                .producer
                .is_some_and(|from| on_cycle.contains(&(from, found.consumer)))
        };
        let reference = wiring.references.iter().find(implied);
        match reference {
            Some(found) => (
                format!("/resources/{}/config{}", found.consumer, found.pointer),
                "remove one of the references that make it".into(),
            ),
            None => (
                "/dependencies".into(),
                "remove one of these dependencies".into(),
            ),
        }
    }
}

/// A place in a config that a reference fills.
#[derive(Debug, Clone)]
struct Reach {
    wildcard: Wildcard,
    /// When it fills all of it.
    reference: Option<Reference>,
}

/// Resources in the order of the request, then dependencies: `(part, index)`.
fn rank(pointer: &str) -> (usize, usize) {
    let mut steps = pointer.split('/').skip(1);
    let part = match steps.next() {
        Some("resources") => 0,
        _ => 1,
    };
    (
        part,
        steps
            .next()
            .and_then(|index| index.parse().ok())
            .unwrap_or(0),
    )
}

fn assemble(
    spec: &DeploymentSpec,
    wiring: &Wiring<'_>,
    order: &[u32],
    chosen: &[Chosen],
    engines: &BTreeMap<EngineId, EngineHead>,
) -> ExecutionPlan {
    let mut place = vec![0_u32; order.len()];
    for (position, &node) in (0..).zip(order) {
        place[node as usize] = position;
    }
    let edges = merged(wiring, &place);
    let mut depends_on: Vec<Vec<u32>> = vec![Vec::new(); order.len()];
    for edge in &edges {
        depends_on[edge.to as usize].push(edge.from);
    }
    let mut warnings = Vec::new();
    let resources = order.iter().zip(depends_on).map(|(&node, depends_on)| {
        let resource = &spec.resources[node as usize];
        let Chosen { definition, engine } = &chosen[node as usize];
        let (delivery, warning) = deliver(spec.delivery, definition, engine, engines.get(engine));
        warnings.extend(warning.map(|warning| format!("{}: {warning}", resource.name)));
        PlannedResource {
            name: resource.name.clone(),
            catalog_ref: definition.reference(),
            definition_digest: definition.digest,
            definition_folder: definition.folder.clone(),
            engine: engine.clone(),
            section: definition.section(engine).cloned().unwrap_or_default(),
            declared_outputs: definition.outputs.clone(),
            config: resource.config.clone(),
            depends_on,
            policy: resource
                .policy
                .clone()
                .unwrap_or_else(|| spec.policy.clone()),
            delivery,
            relations: definition.relations.clone(),
        }
    });
    ExecutionPlan {
        resources: resources.collect(),
        edges,
        warnings,
        schemas: schemas(wiring, chosen),
    }
}

/// Of the definitions whose configs are whole only once outputs are known:
/// those configs are checked again then.
fn schemas(wiring: &Wiring<'_>, chosen: &[Chosen]) -> BTreeMap<Digest, Value> {
    let outputs = wiring
        .references
        .iter()
        .filter(|found| found.producer.is_some());
    outputs
        .map(|found| {
            let definition = &chosen[found.consumer as usize].definition;
            (definition.digest, definition.config_schema.as_ref().clone())
        })
        .collect()
}

/// The edges in plan numbers, one per pair, with every reason for it.
fn merged(wiring: &Wiring<'_>, place: &[u32]) -> Vec<PlannedEdge> {
    let in_plan = |wire: &Wire| PlannedEdge {
        from: place[wire.from as usize],
        to: place[wire.to as usize],
        explicit: wire.explicit,
        reference: !wire.explicit,
    };
    let mut edges: Vec<PlannedEdge> = wiring.wires.iter().map(in_plan).collect();
    edges.sort_unstable_by_key(|edge| (edge.to, edge.from));
    edges.dedup_by(|later, first| {
        let same = (later.from, later.to) == (first.from, first.to);
        if same {
            first.explicit |= later.explicit;
            first.reference |= later.reference;
        }
        same
    });
    edges
}
