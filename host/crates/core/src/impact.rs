//! What a change of some resources would touch.
//!
//! Seeds are what is known to change, or may. From there it spreads along
//! links: a reference to an output that is known to change changes a config
//! for certain; one to an output of which nobody knows, an order, a shared
//! real thing or a requirement may. What no path leads to is not touched.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{DeploymentId, OutputName, ResourceName};
use crate::spec::{Reference, Template};

/// How sure it is that a resource is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    /// Nothing of it changes.
    Not,
    /// It may change.
    Possibly,
    /// It changes.
    Certainly,
}

/// A resource of some deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Whose it is.
    pub deployment: DeploymentId,
    /// Its name there.
    pub resource: ResourceName,
}

/// What becomes of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It keeps its value.
    Same,
    /// It may have another one.
    Unknown,
    /// It has another one.
    Changes,
}

/// Where a change begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// How sure it is.
    pub touch: Touch,
    /// Why, for people.
    pub reason: String,
    /// Of outputs that are not named nobody knows.
    pub outputs: BTreeMap<OutputName, Fate>,
}

/// Why a change of one resource may reach another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Its config takes an output.
    Reference {
        /// Which one.
        output: OutputName,
        /// Another value of it is certain to be another config: the whole
        /// value goes in, and nothing beside it that may make up for it.
        exact: bool,
    },
    /// It only comes after.
    Order,
    /// Both are the same real thing.
    SameThing {
        /// Its name.
        identity: String,
    },
    /// It requires the other's definition in its environment.
    Requires {
        /// What is required, in words.
        what: String,
    },
}

/// How far a change reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// How sure it is.
    pub touch: Touch,
    /// Why, for people; empty for what is not touched.
    pub reason: String,
    /// The resource from which it came; none where it began.
    pub via: Option<usize>,
}

/// Passes until what is told of outputs settles; after that none of it counts,
/// which is never wrong, only less sure.
const PASSES: usize = 8;

/// Resources and links between them, by number.
#[derive(Debug, Clone, Default)]
pub struct Impact {
    places: Vec<Place>,
    numbers: BTreeMap<Place, usize>,
    /// By where they come from.
    links: Vec<Vec<(usize, Link)>>,
    seeds: BTreeMap<usize, Seed>,
}

impl Impact {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of a resource, which is added if it is new.
    pub fn place(&mut self, place: Place) -> usize {
        if let Some(&number) = self.numbers.get(&place) {
            return number;
        }
        let number = self.places.len();
        self.numbers.insert(place.clone(), number);
        self.places.push(place);
        self.links.push(Vec::new());
        number
    }

    /// All resources by number.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// A change of `from` may reach `to`. Numbers come from [`Impact::place`].
    pub fn link(&mut self, from: usize, to: usize, link: Link) {
        self.links[from].push((to, link));
    }

    /// Links for every reference of a config to another resource of the same
    /// deployment; `number` answers none for what is not among them.
    pub fn link_config(
        &mut self,
        to: usize,
        config: &Value,
        number: &dyn Fn(&ResourceName) -> Option<usize>,
    ) {
        let mut texts = vec![config];
        while let Some(value) = texts.pop() {
            match value {
                Value::String(text) if Template::has_markup(text) => {
                    let Ok(template) = Template::parse(text) else {
                        continue;
                    };
                    let alone = template.references().count() == 1;
                    for reference in template.references() {
                        if let Reference::Output {
                            resource,
                            output,
                            path,
                        } = reference
                            && let Some(from) = number(resource)
                        {
                            let link = Link::Reference {
                                output: output.clone(),
                                exact: alone && path.is_empty(),
                            };
                            self.link(from, to, link);
                        }
                    }
                }
                Value::Array(items) => texts.extend(items),
                Value::Object(fields) => texts.extend(fields.values()),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
    }

    /// A change begins here. The surer of two seeds of one resource counts.
    pub fn seed(&mut self, at: usize, seed: Seed) {
        let surer = self
            .seeds
            .get(&at)
            .is_none_or(|before| before.touch < seed.touch);
        if surer {
            self.seeds.insert(at, seed);
        }
    }

    /// How far it reaches, for every resource by number. Takes a few steps per
    /// link.
    #[must_use]
    pub fn reach(&self) -> Vec<Reach> {
        // What a seed says of its outputs counts only as long as no other
        // change reaches it.
        let mut disturbed = vec![false; self.places.len()];
        for pass in 0.. {
            let (all, hit) = self.pass(&disturbed);
            let mut settled = true;
            for &at in self.seeds.keys() {
                if !disturbed[at] && (hit[at] || pass >= PASSES) {
                    disturbed[at] = true;
                    settled = false;
                }
            }
            if settled {
                return all;
            }
        }
        Vec::new()
    }

    /// The way to a resource from where the change began, both included.
    #[must_use]
    pub fn path(&self, all: &[Reach], to: usize) -> Vec<&Place> {
        let mut path = vec![&self.places[to]];
        let mut at = to;
        while let Some(from) = all[at].via.filter(|_| path.len() <= all.len()) {
            path.push(&self.places[from]);
            at = from;
        }
        path.reverse();
        path
    }

    fn pass(&self, disturbed: &[bool]) -> (Vec<Reach>, Vec<bool>) {
        let nothing = Reach {
            touch: Touch::Not,
            reason: String::new(),
            via: None,
        };
        let mut all = vec![nothing; self.places.len()];
        let mut hit = vec![false; self.places.len()];
        let mut queue = VecDeque::new();
        for (&at, seed) in self.seeds.iter().filter(|(_, s)| s.touch > Touch::Not) {
            all[at].touch = seed.touch;
            all[at].reason.clone_from(&seed.reason);
            queue.push_back(at);
        }
        while let Some(from) = queue.pop_front() {
            for (to, link) in &self.links[from] {
                let touch = self.through(from, all[from].touch, link, disturbed[from]);
                hit[*to] |= touch > Touch::Not;
                if touch > all[*to].touch {
                    all[*to] = Reach {
                        touch,
                        reason: self.reason(from, touch, link),
                        via: Some(from),
                    };
                    queue.push_back(*to);
                }
            }
        }
        (all, hit)
    }

    fn through(&self, from: usize, touched: Touch, link: &Link, disturbed: bool) -> Touch {
        let most = match link {
            Link::Reference { output, exact } => {
                // Of what is only reached nobody knows the outputs.
                let seed = self.seeds.get(&from).filter(|_| !disturbed);
                let fate = seed
                    .and_then(|seed| seed.outputs.get(output))
                    .copied()
                    .unwrap_or(Fate::Unknown);
                match (fate, exact) {
                    (Fate::Same, _) => Touch::Not,
                    (Fate::Changes, true) => Touch::Certainly,
                    (Fate::Changes, false) | (Fate::Unknown, _) => Touch::Possibly,
                }
            }
            Link::Order | Link::SameThing { .. } | Link::Requires { .. } => Touch::Possibly,
        };
        most.min(touched)
    }

    fn reason(&self, from: usize, touch: Touch, link: &Link) -> String {
        let Place {
            deployment,
            resource,
        } = &self.places[from];
        match (link, touch) {
            (Link::Reference { output, .. }, Touch::Certainly) => {
                format!("its config takes output {output:?} of {resource}, which changes")
            }
            (Link::Reference { output, .. }, Touch::Possibly | Touch::Not) => {
                format!("its config takes output {output:?} of {resource}, which may change")
            }
            (Link::Order, _) => format!("it comes after {resource}"),
            (Link::SameThing { identity }, _) => format!(
                "it is the same real thing ({identity:?}) as resource {resource} of deployment {deployment}"
            ),
            (Link::Requires { what }, _) => format!(
                "it requires {what} in its environment, such as resource {resource} of deployment {deployment}"
            ),
        }
    }
}

#[cfg(test)]
#[path = "impact_tests.rs"]
mod tests;
