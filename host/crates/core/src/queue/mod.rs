//! Who goes next when not everything can go at once.
//!
//! The order, exactly:
//!
//! 1. Work goes before background work, which never takes a place that waiting
//!    work could use.
//! 2. Between composers: by the priority of what each would do next, plus one
//!    for every [`AGE_MS`] that it waited since the later of its arrival and
//!    the composer's last turn. Among equals the composer whose last turn is
//!    longest ago goes first, so ten thousand deployments of one composer
//!    delay the single one of another by at most one turn.
//! 3. Within a composer: by priority, plus one for every [`AGE_MS`] since its
//!    arrival; among equals, first come, first served.
//!
//! So nobody starves: whatever waits gains a step of priority each
//! [`AGE_MS`], and priorities are bounded.
//!
//! What is out of bounds for now (its engine or environment has as many calls
//! under way as it may) is passed over and keeps its place.

mod bounds;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use crate::execution::mutation::{Mutation, active};
use crate::ids::{ComposerId, EngineId, EnvironmentName, Timestamp};
pub use bounds::{Bounds, Usage};

/// What half a minute of waiting is worth: one step of priority. Short enough
/// that nobody waits for hours, long enough that a burst does not undo what
/// priorities say.
pub const AGE_MS: u64 = 30_000;

/// Who asks for a turn, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Turns are shared out among composers.
    pub composer: ComposerId,
    /// Where to.
    pub environment: EnvironmentName,
    /// Who would be called; none when it is not about a call.
    pub engine: Option<EngineId>,
    /// Higher goes first.
    pub priority: i32,
    /// Whether somebody waits for it.
    pub class: Class,
}

/// Whether somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody does.
    Work,
    /// Nobody does: it has time.
    Background,
}

/// A place in the queue, for giving it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    composer: ComposerId,
    group: Group,
    order: Order,
}

/// What is bounded alike stands together: a group that has no room is passed
/// over whole.
type Group = (Class, EnvironmentName, Option<EngineId>);
/// Within a lane: arrival less what the priority is worth, then the number.
type Order = (i64, u64);
/// Among the lanes of a group: the same by the composer's turns, then the
/// number of its last turn, then the number of what it would do next.
type Rank = (i64, u64, u64);

/// Waiting turns, and the count of those under way.
#[derive(Debug)]
pub struct FairQueue<T> {
    usage: Usage,
    composers: HashMap<ComposerId, Composer<T>>,
    groups: BTreeMap<Group, BTreeMap<Rank, ComposerId>>,
    waiting: usize,
    arrivals: u64,
    turns: u64,
}

#[derive(Debug)]
struct Composer<T> {
    last_turn: Timestamp,
    turn: u64,
    lanes: BTreeMap<Group, Lane<T>>,
}

/// What one composer has waiting in one group. Never empty.
#[derive(Debug)]
struct Lane<T> {
    items: BTreeMap<Order, Item<T>>,
    rank: Rank,
}

#[derive(Debug)]
struct Item<T> {
    arrived: Timestamp,
    priority: i32,
    item: T,
}

fn millis(at: Timestamp) -> i64 {
    if active(Mutation::NobodyStarves) {
        return 0;
    }
    i64::try_from(at.0).unwrap_or(i64::MAX / 2)
}

fn worth(priority: i32) -> i64 {
    if active(Mutation::HigherPriorityFirst) {
        return 0;
    }
    i64::from(priority) * AGE_MS.cast_signed()
}

impl<T> Lane<T> {
    fn rank(&self, last_turn: Timestamp, turn: u64) -> Rank {
        let Some((&(_, number), head)) = self.items.first_key_value() else {
            return (i64::MAX, turn, u64::MAX);
        };
        let since = millis(head.arrived.max(last_turn));
        (since - worth(head.priority), turn, number)
    }
}

impl<T> FairQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            usage: Usage::new(bounds),
            composers: HashMap::new(),
            groups: BTreeMap::new(),
            waiting: 0,
            arrivals: 0,
            turns: 0,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many turns are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.usage.total()
    }

    /// From now on an engine has so many turns at once; those under way go on.
    pub fn bound_engine(&mut self, engine: EngineId, turns: usize) {
        self.usage.bound_engine(engine, turns);
    }

    /// Waits for a turn, from `now` on.
    pub fn push(&mut self, ticket: &Ticket, now: Timestamp, item: T) -> Place {
        self.arrivals += 1;
        self.waiting += 1;
        let order = (millis(now) - worth(ticket.priority), self.arrivals);
        let group: Group = (
            ticket.class,
            ticket.environment.clone(),
            ticket.engine.clone(),
        );
        let composer = self
            .composers
            .entry(ticket.composer.clone())
            .or_insert_with(|| Composer {
                last_turn: Timestamp(0),
                turn: 0,
                lanes: BTreeMap::new(),
            });
        let lane = composer.lanes.entry(group.clone()).or_insert_with(|| Lane {
            items: BTreeMap::new(),
            rank: (i64::MAX, 0, 0),
        });
        lane.items.insert(
            order,
            Item {
                arrived: now,
                priority: ticket.priority,
                item,
            },
        );
        let place = Place {
            composer: ticket.composer.clone(),
            group,
            order,
        };
        self.rank_again(&place.composer, &place.group);
        place
    }

    /// Waits no longer. None when its turn came already.
    pub fn remove(&mut self, place: &Place) -> Option<T> {
        let composer = self.composers.get_mut(&place.composer)?;
        let lane = composer.lanes.get_mut(&place.group)?;
        let item = lane.items.remove(&place.order)?;
        self.waiting -= 1;
        self.rank_again(&place.composer, &place.group);
        self.forget(&place.composer);
        Some(item.item)
    }

    /// The next turn, if there is room for anybody that waits. It is under way
    /// until [`FairQueue::release`].
    pub fn next(&mut self, now: Timestamp) -> Option<(Ticket, T)> {
        let (group, composer_id) = self.candidate()?;
        self.turns += 1;
        let composer = self.composers.get_mut(&composer_id)?;
        composer.last_turn = composer.last_turn.max(now);
        composer.turn = self.turns;
        let (_, item) = composer.lanes.get_mut(&group)?.items.pop_first()?;
        self.waiting -= 1;
        let groups: Vec<Group> = composer.lanes.keys().cloned().collect();
        for group in &groups {
            self.rank_again(&composer_id, group);
        }
        let (class, environment, engine) = group;
        let ticket = Ticket {
            composer: composer_id,
            environment,
            engine,
            priority: item.priority,
            class,
        };
        self.usage.begin(&ticket);
        self.forget(&ticket.composer);
        Some((ticket, item.item))
    }

    /// Whether the end of that turn is all that `waiting` needs.
    #[must_use]
    pub fn in_the_way(&self, turn: &Ticket, waiting: &Ticket) -> bool {
        self.usage.in_the_way(turn, waiting)
    }

    /// A turn is over.
    pub fn release(&mut self, ticket: &Ticket) {
        self.usage.end(ticket);
        self.forget(&ticket.composer);
    }

    /// The lane whose turn it is.
    fn candidate(&self) -> Option<(Group, ComposerId)> {
        let mut best: Option<(Class, Rank, &Group, &ComposerId)> = None;
        for (group, lanes) in &self.groups {
            let (class, environment, engine) = group;
            if !self.usage.has_room(*class, environment, engine.as_ref()) {
                continue;
            }
            let first = lanes
                .iter()
                .find(|(_, composer)| self.usage.composer_has_room(composer));
            let Some((&rank, composer)) = first else {
                continue;
            };
            if best.is_none_or(|(c, r, ..)| (*class, rank) < (c, r)) {
                best = Some((*class, rank, group, composer));
            }
        }
        best.map(|(_, _, group, composer)| (group.clone(), composer.clone()))
    }

    /// Puts a composer's lane where it now belongs among the lanes of its group.
    fn rank_again(&mut self, composer_id: &ComposerId, group: &Group) {
        let Some(composer) = self.composers.get_mut(composer_id) else {
            return;
        };
        let (last_turn, turn) = (composer.last_turn, composer.turn);
        let Some(lane) = composer.lanes.get_mut(group) else {
            return;
        };
        let old = lane.rank;
        lane.rank = lane.rank(last_turn, turn);
        let new = (!lane.items.is_empty()).then_some(lane.rank);
        if new.is_none() {
            composer.lanes.remove(group);
        }
        let lanes = self.groups.entry(group.clone()).or_default();
        if lanes.get(&old).is_some_and(|there| there == composer_id) {
            lanes.remove(&old);
        }
        if let Some(rank) = new {
            lanes.insert(rank, composer_id.clone());
        }
        if lanes.is_empty() {
            self.groups.remove(group);
        }
    }

    /// A composer without anything waiting or under way has no past: when it
    /// comes back, it waits from then on.
    fn forget(&mut self, composer: &ComposerId) {
        let idle = self
            .composers
            .get(composer)
            .is_some_and(|c| c.lanes.is_empty())
            && self.usage.of_composer(composer) == 0;
        if idle {
            self.composers.remove(composer);
        }
    }
}
