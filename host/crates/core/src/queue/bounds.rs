//! How much may be under way at once, and how much is.

use std::collections::{BTreeMap, HashMap};

use super::{Class, Ticket};
use crate::ids::{ComposerId, EngineId, EnvironmentName};

/// How much may be under way at once. A bound of zero lets nothing through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Altogether.
    pub total: usize,
    /// Of that, background work.
    pub background: usize,
    /// Of one composer; keeps a place free for the others.
    pub per_composer: usize,
    /// By engine; one that is not named is bounded by the total alone.
    pub engines: BTreeMap<EngineId, usize>,
    /// By environment, in the same way.
    pub environments: BTreeMap<EnvironmentName, usize>,
}

impl Bounds {
    /// So many altogether, a quarter of them (at least one) in the background,
    /// and no other bound.
    #[must_use]
    pub fn of(total: usize) -> Self {
        Self {
            total,
            background: (total / 4).max(1),
            per_composer: usize::MAX,
            engines: BTreeMap::new(),
            environments: BTreeMap::new(),
        }
    }
}

/// How much is under way.
#[derive(Debug)]
pub struct Usage {
    bounds: Bounds,
    total: usize,
    background: usize,
    composers: HashMap<ComposerId, usize>,
    engines: HashMap<EngineId, usize>,
    environments: HashMap<EnvironmentName, usize>,
}

impl Usage {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            total: 0,
            background: 0,
            composers: HashMap::new(),
            engines: HashMap::new(),
            environments: HashMap::new(),
        }
    }

    /// Altogether.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    pub(super) fn of_composer(&self, composer: &ComposerId) -> usize {
        self.composers.get(composer).copied().unwrap_or(0)
    }

    pub(super) fn composer_has_room(&self, composer: &ComposerId) -> bool {
        self.of_composer(composer) < self.bounds.per_composer
    }

    pub(super) fn has_room(
        &self,
        class: Class,
        environment: &EnvironmentName,
        engine: Option<&EngineId>,
    ) -> bool {
        // Background work leaves the last place of everything to work.
        let spare = match class {
            Class::Work => 0,
            Class::Background => 1,
        };
        let within = |used: usize, bound: usize| match bound {
            0 => false,
            1 => used == 0,
            more => used + spare < more,
        };
        let engine = engine.is_none_or(|engine| {
            let used = self.engines.get(engine).copied().unwrap_or(0);
            let bound = self.bounds.engines.get(engine);
            bound.is_none_or(|bound| within(used, *bound))
        });
        let used = self.environments.get(environment).copied().unwrap_or(0);
        let bound = self.bounds.environments.get(environment);
        let environment = bound.is_none_or(|bound| within(used, *bound));
        let background = match class {
            Class::Work => true,
            Class::Background => self.background < self.bounds.background,
        };
        engine && environment && background && within(self.total, self.bounds.total)
    }

    pub(super) fn in_the_way(&self, turn: &Ticket, waiting: &Ticket) -> bool {
        let full = |used: Option<&usize>, bound: Option<&usize>| {
            bound.is_some_and(|bound| used.copied().unwrap_or(0) >= *bound)
        };
        let of_engine = |id: &EngineId| full(self.engines.get(id), self.bounds.engines.get(id));
        let engine = waiting.engine.as_ref().is_some_and(of_engine);
        let name = &waiting.environment;
        let environment = full(
            self.environments.get(name),
            self.bounds.environments.get(name),
        );
        let total = self.total >= self.bounds.total;
        (total || engine || environment)
            && (!engine || turn.engine == waiting.engine)
            && (!environment || turn.environment == waiting.environment)
    }

    pub(super) fn bound_engine(&mut self, engine: EngineId, turns: usize) {
        self.bounds.engines.insert(engine, turns);
    }

    pub(super) fn begin(&mut self, ticket: &Ticket) {
        self.total += 1;
        if ticket.class == Class::Background {
            self.background += 1;
        }
        *self.composers.entry(ticket.composer.clone()).or_default() += 1;
        let environment = ticket.environment.clone();
        *self.environments.entry(environment).or_default() += 1;
        if let Some(engine) = &ticket.engine {
            *self.engines.entry(engine.clone()).or_default() += 1;
        }
    }

    pub(super) fn end(&mut self, ticket: &Ticket) {
        self.total = self.total.saturating_sub(1);
        if ticket.class == Class::Background {
            self.background = self.background.saturating_sub(1);
        }
        less(&mut self.composers, &ticket.composer);
        less(&mut self.environments, &ticket.environment);
        if let Some(engine) = &ticket.engine {
            less(&mut self.engines, engine);
        }
    }
}

/// One less; nobody is kept at zero.
fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
