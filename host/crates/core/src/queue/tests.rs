//! The queue against its own words, said again the slow way.

use proptest::prelude::*;

use super::*;

fn ticket(composer: &str, priority: i32) -> Ticket {
    Ticket {
        composer: ComposerId::new(composer).expect("a name"),
        environment: EnvironmentName::new("production").expect("a name"),
        engine: Some(EngineId::new("terraform").expect("a name")),
        priority,
        class: Class::Work,
    }
}

fn bounded(total: usize) -> Bounds {
    Bounds::of(total)
}

/// Takes turns one at a time and says whose they were.
fn all_turns(queue: &mut FairQueue<&'static str>, mut now: u64) -> Vec<&'static str> {
    let mut order = Vec::new();
    while let Some((ticket, item)) = queue.next(Timestamp(now)) {
        order.push(item);
        queue.release(&ticket);
        now += 1;
    }
    order
}

#[test]
fn ten_thousand_of_one_composer_delay_the_single_one_of_another_by_one_turn() {
    let mut queue = FairQueue::new(bounded(1));
    for _ in 0..10_000 {
        queue.push(&ticket("many", 0), Timestamp(0), "many");
    }
    // They have been at it for a while.
    for now in 1..500 {
        let (ticket, _) = queue.next(Timestamp(now)).expect("a turn");
        queue.release(&ticket);
    }
    let (under_way, _) = queue.next(Timestamp(500)).expect("a turn");
    queue.push(&ticket("single", 0), Timestamp(501), "single");
    queue.release(&under_way);
    let next_two: Vec<_> = (502..504)
        .map(|now| {
            let (ticket, item) = queue.next(Timestamp(now)).expect("a turn");
            queue.release(&ticket);
            item
        })
        .collect();
    assert!(next_two.contains(&"single"), "{next_two:?}");
}

#[test]
fn composers_with_equal_priorities_take_turns() {
    let mut queue = FairQueue::new(bounded(1));
    for (composer, item) in [("a", "a"), ("a", "a"), ("a", "a"), ("b", "b"), ("b", "b")] {
        queue.push(&ticket(composer, 0), Timestamp(0), item);
    }
    assert_eq!(all_turns(&mut queue, 0), ["a", "b", "a", "b", "a"]);
}

#[test]
fn higher_priority_first() {
    let mut queue = FairQueue::new(bounded(1));
    queue.push(&ticket("a", -1), Timestamp(0), "low");
    queue.push(&ticket("a", 0), Timestamp(0), "normal");
    queue.push(&ticket("b", 5), Timestamp(0), "high");
    queue.push(&ticket("a", 3), Timestamp(0), "higher than normal");
    let order = all_turns(&mut queue, 0);
    assert_eq!(order, ["high", "higher than normal", "normal", "low"]);
}

#[test]
fn what_waits_long_enough_overtakes_what_is_more_important() {
    let mut queue = FairQueue::new(bounded(1));
    queue.push(&ticket("patient", 0), Timestamp(0), "patient");
    let mut waited = None;
    // Somebody else posts something more important each second.
    for second in 0..3_600 {
        let now = Timestamp(second * 1_000);
        queue.push(&ticket("pushy", 10), now, "pushy");
        let (ticket, item) = queue.next(now).expect("a turn");
        queue.release(&ticket);
        if item == "patient" {
            waited = Some(second * 1_000);
            break;
        }
    }
    let waited = waited.expect("nobody starves");
    assert!(waited <= 10 * AGE_MS + 2_000, "{waited}");
}

#[test]
fn ones_own_more_important_work_does_not_starve_the_rest() {
    let mut queue = FairQueue::new(bounded(1));
    queue.push(&ticket("a", -10), Timestamp(0), "old");
    let second = (0..3_600).find(|second| {
        let now = Timestamp(second * 1_000);
        queue.push(&ticket("a", 0), now, "new");
        let (ticket, item) = queue.next(now).expect("a turn");
        queue.release(&ticket);
        item == "old"
    });
    assert!(second.is_some_and(|s| s * 1_000 <= 10 * AGE_MS + 2_000));
}

#[test]
fn background_work_waits_for_work_and_leaves_a_place() {
    let background = Ticket {
        class: Class::Background,
        ..ticket("a", 100)
    };
    let mut queue = FairQueue::new(bounded(4));
    for _ in 0..4 {
        queue.push(&background, Timestamp(0), "background");
    }
    queue.push(&ticket("a", -100), Timestamp(0), "work");
    let (_, first) = queue.next(Timestamp(1)).expect("a turn");
    assert_eq!(first, "work");
    let (_, second) = queue.next(Timestamp(1)).expect("a turn");
    assert_eq!(second, "background");
    // One of four is all that background work may have.
    assert!(queue.next(Timestamp(1)).is_none());
    queue.push(&ticket("b", 0), Timestamp(2), "more work");
    assert_eq!(queue.next(Timestamp(2)).map(|(_, i)| i), Some("more work"));
}

#[test]
fn a_full_engine_is_passed_over() {
    let terraform = EngineId::new("terraform").expect("a name");
    let mut bounds = bounded(10);
    bounds.engines.insert(terraform, 1);
    let mut queue = FairQueue::new(bounds);
    let helm = Ticket {
        engine: Some(EngineId::new("helm").expect("a name")),
        ..ticket("a", -5)
    };
    queue.push(&ticket("a", 0), Timestamp(0), "first");
    let second = queue.push(&ticket("a", 0), Timestamp(0), "second");
    queue.push(&helm, Timestamp(0), "helm");
    let (first, _) = queue.next(Timestamp(0)).expect("a turn");
    assert_eq!(queue.next(Timestamp(0)).map(|(_, i)| i), Some("helm"));
    assert!(queue.next(Timestamp(0)).is_none());
    queue.release(&first);
    assert_eq!(queue.waiting(), 1);
    assert_eq!(queue.remove(&second), Some("second"));
    assert_eq!(queue.remove(&second), None);
    assert_eq!((queue.waiting(), queue.under_way()), (0, 1));
}

/// What the module says, word by word, looking at everything each time.
#[derive(Default)]
struct Slow {
    waiting: Vec<(u64, Ticket, u64)>,
    last: HashMap<ComposerId, (u64, u64)>,
    under_way: Vec<Ticket>,
    turns: u64,
}

impl Slow {
    fn room(&self, ticket: &Ticket, bounds: &Bounds) -> bool {
        let count = |of: &dyn Fn(&Ticket) -> bool| self.under_way.iter().filter(|t| of(t)).count();
        let spare = usize::from(ticket.class == Class::Background);
        let fits = |used: usize, bound: usize| used < bound && (bound == 1 || used + spare < bound);
        let background = count(&|t| t.class == Class::Background);
        fits(self.under_way.len(), bounds.total)
            && (ticket.class == Class::Work || background < bounds.background)
            && count(&|t| t.composer == ticket.composer) < bounds.per_composer
            && bounds
                .engines
                .get(ticket.engine.as_ref().expect("an engine"))
                .is_none_or(|bound| fits(count(&|t| t.engine == ticket.engine), *bound))
            && bounds
                .environments
                .get(&ticket.environment)
                .is_none_or(|b| fits(count(&|t| t.environment == ticket.environment), *b))
    }

    fn next(&mut self, now: u64, bounds: &Bounds) -> Option<u64> {
        let age = AGE_MS.cast_signed();
        // Each composer's next of each group: aged by its own waiting.
        let heads = self.waiting.iter().filter(|(number, ticket, at)| {
            let own = |t: &Ticket, at: u64| at.cast_signed() - i64::from(t.priority) * age;
            self.room(ticket, bounds)
                && !self.waiting.iter().any(|(other, t, other_at)| {
                    let same = Ticket {
                        priority: ticket.priority,
                        ..t.clone()
                    } == *ticket;
                    same && (own(t, *other_at), *other) < (own(ticket, *at), *number)
                })
        });
        // Among them: aged by the composer's waiting.
        let best = heads.min_by_key(|(number, ticket, at)| {
            let (last, turn) = self.last.get(&ticket.composer).copied().unwrap_or((0, 0));
            let since = (*at).max(last).cast_signed();
            let rank = since - i64::from(ticket.priority) * age;
            (ticket.class, rank, turn, *number)
        });
        let (number, ticket, _) = best.cloned()?;
        self.waiting.retain(|(n, ..)| *n != number);
        self.turns += 1;
        self.last.insert(ticket.composer.clone(), (now, self.turns));
        self.under_way.push(ticket);
        Some(number)
    }

    fn forget(&mut self) {
        let busy: Vec<_> = self.waiting.iter().map(|(_, t, _)| &t.composer).collect();
        let under_way = &self.under_way;
        self.last
            .retain(|c, _| busy.contains(&c) || under_way.iter().any(|t| t.composer == *c));
    }
}

#[derive(Debug, Clone)]
enum Move {
    Push(Ticket),
    Next,
    Release(prop::sample::Index),
    Remove(prop::sample::Index),
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    let name = |from: &'static [&'static str]| prop::sample::select(from);
    let ticket = (
        name(&["a", "b", "c"]),
        name(&["dev", "prod"]),
        name(&["helm", "terraform"]),
        -3..4i32,
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(composer, environment, engine, priority, background)| Ticket {
                composer: ComposerId::new(composer).expect("a name"),
                environment: EnvironmentName::new(environment).expect("a name"),
                engine: Some(EngineId::new(engine).expect("a name")),
                priority,
                class: if background {
                    Class::Background
                } else {
                    Class::Work
                },
            },
        );
    prop_oneof![
        4 => ticket.prop_map(Move::Push),
        4 => Just(Move::Next),
        3 => any::<prop::sample::Index>().prop_map(Move::Release),
        1 => any::<prop::sample::Index>().prop_map(Move::Remove),
        2 => (0..3 * AGE_MS).prop_map(Move::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_its_words_say(
        moves in prop::collection::vec(moves(), 1..80),
        total in 1..6usize, per_composer in 1..6usize, engine in 0..4usize, environment in 0..4usize,
    ) {
        let mut bounds = Bounds { per_composer, ..Bounds::of(total) };
        bounds.engines.insert(EngineId::new("helm").expect("a name"), engine);
        bounds.environments.insert(EnvironmentName::new("prod").expect("a name"), environment);
        let mut queue = FairQueue::new(bounds.clone());
        let mut slow = Slow::default();
        let mut places = Vec::new();
        let (mut now, mut number) = (1_000_000, 0);
        for step in moves {
            match step {
                Move::Push(ticket) => {
                    number += 1;
                    places.push((number, queue.push(&ticket, Timestamp(now), number)));
                    slow.waiting.push((number, ticket, now));
                }
                Move::Next => {
                    let fast = queue.next(Timestamp(now)).map(|(_, n)| n);
                    prop_assert_eq!(fast, slow.next(now, &bounds));
                }
                Move::Release(which) => {
                    if !slow.under_way.is_empty() {
                        let ticket = slow.under_way.swap_remove(which.index(slow.under_way.len()));
                        queue.release(&ticket);
                    }
                }
                Move::Remove(which) => {
                    if !places.is_empty() {
                        let (number, place) = places.swap_remove(which.index(places.len()));
                        let there = slow.waiting.iter().any(|(n, ..)| *n == number);
                        prop_assert_eq!(queue.remove(&place), there.then_some(number));
                        slow.waiting.retain(|(n, ..)| *n != number);
                    }
                }
                Move::Wait(millis) => now += millis,
            }
            slow.forget();
            prop_assert_eq!(queue.waiting(), slow.waiting.len());
            prop_assert_eq!(queue.under_way(), slow.under_way.len());
        }
    }
}
