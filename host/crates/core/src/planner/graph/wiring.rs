//! Which resource of a deployment waits for which, and why.

use super::{Graph, Names};
use crate::spec::{DeploymentSpec, Found, Reference, no_such_resource, scan};
use crate::violation::{MAX_VIOLATIONS, Violation, ViolationCode};

/// The edges of a deployment: those asked for, and those that references imply.
/// Node numbers are places in the request.
#[derive(Debug, Default)]
pub struct Wiring<'a> {
    /// The resources' names.
    pub names: Names<'a>,
    /// In the order of the request: explicit ones, then by referring resource.
    pub wires: Vec<Wire>,
    /// Every reference in every config, in the order of the request.
    pub references: Vec<FoundReference>,
    /// What names nothing, or cannot be read.
    pub violations: Vec<Violation>,
}

/// One edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// Goes first.
    pub from: u32,
    /// Depends on it.
    pub to: u32,
    /// Asked for under `dependencies`, rather than implied by a reference.
    pub explicit: bool,
}

/// A reference in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundReference {
    /// The resource in whose config it stands.
    pub consumer: u32,
    /// JSON pointer of the text within the config.
    pub pointer: String,
    /// Whether the text is nothing but this reference, so that the value keeps its type.
    pub whole: bool,
    /// What it refers to.
    pub reference: Reference,
    /// The resource it refers to, if that is one of the deployment's.
    pub producer: Option<u32>,
}

impl<'a> Wiring<'a> {
    /// Reads a deployment's edges. This and [`Graph::order`] are what planning
    /// costs before any definition is looked at: `make bench` times
    /// `Wiring::of(&spec).graph().order()`.
    #[must_use]
    pub fn of(spec: &'a DeploymentSpec) -> Self {
        let mut wiring = Self {
            names: Names::with_capacity(spec.resources.len()),
            wires: Vec::with_capacity(spec.dependencies.len()),
            ..Self::default()
        };
        for (i, resource) in spec.resources.iter().enumerate() {
            let (_, new) = wiring.names.intern(resource.name.as_str());
            // A parsed deployment has no such pair; one from elsewhere is not trusted.
            if !new {
                let message = format!("a second resource is named {:?}", resource.name);
                wiring.violation(
                    ViolationCode::DuplicateResource,
                    format!("/resources/{i}/name"),
                    message,
                );
                return wiring;
            }
        }
        wiring.explicit(spec);
        for (consumer, resource) in (0..).zip(&spec.resources) {
            scan(&resource.config, &mut |pointer, found| {
                wiring.implied(consumer, pointer, found)
            });
        }
        wiring
    }

    /// The graph of these edges.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let edges: Vec<(u32, u32)> = self.wires.iter().map(|wire| (wire.from, wire.to)).collect();
        Graph::new(self.names.len(), &edges)
    }

    fn explicit(&mut self, spec: &DeploymentSpec) {
        for (i, dependency) in spec.dependencies.iter().enumerate() {
            let from = self.names.number(dependency.from.as_str());
            let to = self.names.number(dependency.to.as_str());
            if let (Some(from), Some(to)) = (from, to) {
                self.wires.push(Wire {
                    from,
                    to,
                    explicit: true,
                });
                continue;
            }
            for (key, name, found) in [("from", &dependency.from, from), ("to", &dependency.to, to)]
            {
                if found.is_none() {
                    let message = no_such_resource(name.as_str(), self.names.iter());
                    let pointer = format!("/dependencies/{i}/{key}");
                    self.violation(ViolationCode::UnknownDependency, pointer, message);
                }
            }
        }
    }

    fn implied(&mut self, consumer: u32, pointer: String, found: Found) {
        let place = || format!("/resources/{consumer}/config{pointer}");
        let (whole, reference) = match found {
            Found::Reference { whole, reference } => (whole, reference),
            Found::Unreadable(message) => {
                return self.violation(ViolationCode::InvalidReference, place(), message);
            }
        };
        let mut producer = None;
        if let Reference::Output { resource, .. } = &reference {
            producer = self.names.number(resource.as_str());
            match producer {
                Some(from) => self.wires.push(Wire {
                    from,
                    to: consumer,
                    explicit: false,
                }),
                None => {
                    let problem = no_such_resource(resource.as_str(), self.names.iter());
                    let message = format!("${{{reference}}}: {problem}");
                    self.violation(ViolationCode::UnknownResource, place(), message);
                }
            }
        }
        self.references.push(FoundReference {
            consumer,
            pointer,
            whole,
            reference,
            producer,
        });
    }

    fn violation(&mut self, code: ViolationCode, pointer: String, message: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation::new(code, pointer, message));
        }
    }
}
