//! Planning of graphs, from parsed input, against the least work possible.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hashbrown::HashMap;
use nestor_core::definition::JsonType;
use nestor_core::ids::{EngineId, ResourceName};
use nestor_core::planner::graph::Wiring;
use nestor_core::planner::{Definitions, plan};
use nestor_core::ports::{EngineHead, Engines};
use nestor_core::spec::{Dependency, DeploymentSpec, ResourceSpec, parse};
use nestor_testkit::FakeEngines;
use serde_json::json;

use crate::row::{Bench, Line, Row, Target};
use crate::stats::Samples;

const EDGES: usize = 3;
/// The target is for graphs of this size.
const JUDGED: usize = 100_000;

pub(crate) struct Planning;

#[async_trait]
impl Row for Planning {
    fn name(&self) -> &'static str {
        "planning"
    }

    fn about(&self) -> &'static str {
        "order of a graph with 3 edges per node, from parsed input"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for nodes in [1_000, 10_000, JUDGED, 1_000_000] {
            let spec = Arc::new(graph(nodes)?);
            let runs = bench.runs(if nodes > JUDGED { 5 } else { 11 });
            let measured = tokio::task::spawn_blocking({
                let spec = spec.clone();
                move || order(&spec, runs)
            });
            let (ours, least) = measured.await??;
            let ratio = ours.median().as_secs_f64() / least.median().as_secs_f64();
            lines.push(Line::ratio(
                format!("graph of {nodes} nodes in order, from parsed input"),
                ours.text(),
                format!("least work: {}", least.text()),
                ratio,
                (nodes == JUDGED).then_some(Target::AtMost(2.5)),
            ));
            if nodes == JUDGED {
                let whole =
                    tokio::task::spawn_blocking(move || whole(&spec, runs.min(5))).await??;
                lines.push(Line::ratio(
                    format!("the whole plan of {nodes}: also catalog, engines, schemas, types"),
                    whole.text(),
                    format!("least work: {}", least.text()),
                    whole.median().as_secs_f64() / least.median().as_secs_f64(),
                    None,
                ));
            }
        }
        Ok(lines)
    }
}

/// Ours and the least work in turns, so that noise meets both.
fn order(spec: &DeploymentSpec, runs: usize) -> anyhow::Result<(Samples, Samples)> {
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let began = Instant::now();
        let wiring = Wiring::of(spec);
        anyhow::ensure!(wiring.violations.is_empty(), "{:?}", wiring.violations);
        let graph = wiring.graph();
        let order = graph
            .order()
            .map_err(|cycle| anyhow::anyhow!("{cycle:?}"))?;
        ours.push(began.elapsed());
        drop((wiring, graph));

        let began = Instant::now();
        let fewest = least_work(spec);
        least.push(began.elapsed());
        anyhow::ensure!(
            order.len() == fewest.len(),
            "{} and {} nodes",
            order.len(),
            fewest.len()
        );
        check(spec, &order)?;
    }
    // The first of each warms up.
    Ok((Samples::new(warm(ours)), Samples::new(warm(least))))
}

fn warm(mut samples: Vec<Duration>) -> Vec<Duration> {
    samples.remove(0);
    samples
}

/// Every name hashed once per appearance, then Kahn's algorithm over arrays.
fn least_work(spec: &DeploymentSpec) -> Vec<u32> {
    let nodes = spec.resources.len();
    let mut numbers: HashMap<&str, u32, foldhash::fast::RandomState> =
        HashMap::with_capacity_and_hasher(nodes, foldhash::fast::RandomState::default());
    for (number, resource) in (0..).zip(&spec.resources) {
        numbers.insert(resource.name.as_str(), number);
    }
    let edges: Vec<(u32, u32)> = spec
        .dependencies
        .iter()
        .map(|edge| (numbers[edge.from.as_str()], numbers[edge.to.as_str()]))
        .collect();
    let mut starts = vec![0_u32; nodes + 1];
    let mut waiting = vec![0_u32; nodes];
    for &(from, to) in &edges {
        starts[from as usize + 1] += 1;
        waiting[to as usize] += 1;
    }
    for node in 0..nodes {
        starts[node + 1] += starts[node];
    }
    let mut free = starts.clone();
    let mut targets = vec![0_u32; edges.len()];
    for &(from, to) in &edges {
        targets[free[from as usize] as usize] = to;
        free[from as usize] += 1;
    }
    let mut order: Vec<u32> = Vec::with_capacity(nodes);
    order.extend(
        (0..)
            .zip(&waiting)
            .filter(|(_, waits)| **waits == 0)
            .map(|(node, _)| node),
    );
    let mut done = 0;
    while done < order.len() {
        let node = order[done] as usize;
        done += 1;
        for &next in &targets[starts[node] as usize..starts[node + 1] as usize] {
            waiting[next as usize] -= 1;
            if waiting[next as usize] == 0 {
                order.push(next);
            }
        }
    }
    order
}

/// An order that is wrong is not fast.
fn check(spec: &DeploymentSpec, order: &[u32]) -> anyhow::Result<()> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, node) in order.iter().enumerate() {
        places.insert(spec.resources[*node as usize].name.as_str(), place);
    }
    let right = |edge: &Dependency| places[edge.from.as_str()] < places[edge.to.as_str()];
    anyhow::ensure!(spec.dependencies.iter().all(right), "the order is wrong");
    Ok(())
}

fn whole(spec: &DeploymentSpec, runs: usize) -> anyhow::Result<Samples> {
    let mut definition =
        nestor_testkit::catalog::simple("node:1.0.0", "fake", &[("value", JsonType::String)]);
    definition.config_schema = Arc::new(json!({
        "type": "object",
        "properties": { "size": { "type": "integer" } },
        "additionalProperties": false
    }));
    let definition = Arc::new(definition);
    let engines = FakeEngines::with(&["fake"]);
    let heads: BTreeMap<EngineId, EngineHead> = engines
        .names()
        .into_iter()
        .filter_map(|id| Some((id.clone(), engines.head(&id).ok()?)))
        .collect();
    let mut samples = Vec::new();
    for _ in 0..=runs {
        let began = Instant::now();
        let mut definitions = Definitions::new();
        for reference in nestor_core::planner::catalog_refs(spec) {
            definitions.insert(&reference, Ok(definition.clone()));
        }
        let planned = plan(spec, &definitions, &heads);
        samples.push(began.elapsed());
        let planned = planned.map_err(|violations| anyhow::anyhow!("{:?}", violations.first()))?;
        anyhow::ensure!(
            planned.resources.len() == spec.resources.len(),
            "a plan of another size"
        );
    }
    Ok(Samples::new(warm(samples)))
}

/// Node `i` waits for three of those before it, some near, some far; names and
/// places are shuffled against each other.
fn graph(nodes: usize) -> anyhow::Result<DeploymentSpec> {
    // As parsed: each name of an edge is a text of its own, not a shared one.
    let name = |i: usize| ResourceName::new(format!("resource-{:07}", (i * 7_919) % nodes));
    let small = json!({
        "id": "bench", "composer": "bench", "environment": "test",
        "resources": [{ "name": "a", "catalogRef": "node:1.0.0", "config": { "size": 3 } }]
    });
    let mut spec = parse(small.to_string().as_bytes()).map_err(|v| anyhow::anyhow!("{v:?}"))?;
    let model = spec.resources.remove(0);
    let mut x = 88_172_645_463_325_252_u64;
    let mut random = |below: usize| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        usize::try_from(x >> 33).map_or(0, |x| x % below)
    };
    for i in 0..nodes {
        spec.resources.push(ResourceSpec {
            name: name(i)?,
            ..model.clone()
        });
        let mut before: Vec<usize> = Vec::with_capacity(EDGES);
        while before.len() < EDGES.min(i) {
            let other = if before.is_empty() {
                i - 1 - random(i.min(10))
            } else {
                random(i)
            };
            if !before.contains(&other) {
                before.push(other);
            }
        }
        for other in before {
            spec.dependencies.push(Dependency {
                from: name(other)?,
                to: name(i)?,
            });
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_work_is_still_right() {
        for nodes in [1, 2, 10, 1_000] {
            let spec = graph(nodes).expect("a graph");
            let order = least_work(&spec);
            assert_eq!(order.len(), nodes);
            check(&spec, &order).expect("an order");
        }
        let mut cyclic = graph(10).expect("a graph");
        let (from, to) = (
            cyclic.resources[9].name.clone(),
            cyclic.resources[0].name.clone(),
        );
        cyclic.dependencies.push(Dependency { from, to });
        assert!(least_work(&cyclic).len() < 10);
    }
}
