//! Random batches against a plain map.

use std::collections::BTreeMap;
use std::ops::Bound;

use nestor_core::ports::{Batch, Bytes, CommitError, Guard, Write};

use super::{Factory, Random};

type Map = BTreeMap<String, Bytes>;

pub(super) async fn behaves_like_a_map(factory: &dyn Factory) {
    for seed in 1..=4_u64 {
        let mut random = Random::new(seed * 7_919);
        let mut store = factory.fresh().await;
        let mut model = Map::new();
        for step in 0..250 {
            let batch = random_batch(&mut random, &model);
            let expected = apply(&mut model, &batch);
            let answer = store.commit(batch.clone()).await;
            assert_eq!(answer, expected, "seed {seed}, step {step}: {batch:?}");
            if step % 100 == 99 {
                store = factory.reopen(store).await;
            }
            let key = random_key(&mut random);
            let value = store.get(&key).await.expect("a read");
            assert_eq!(
                value.as_ref(),
                model.get(&key),
                "seed {seed}, step {step}: {key}"
            );
            let (prefix, after) = (random_prefix(&mut random), random_key(&mut random));
            let limit = random.below(12);
            let found = store
                .scan(&prefix, Some(&after), limit)
                .await
                .expect("a scan");
            let range = (Bound::Excluded(after.clone()), Bound::Unbounded);
            let wanted = model
                .range(range)
                .filter(|(key, _)| key.starts_with(&prefix))
                .take(limit);
            let wanted: Vec<_> = wanted.map(|(k, v)| (k.clone(), v.clone())).collect();
            assert_eq!(
                found, wanted,
                "seed {seed}, step {step}: {prefix} after {after}"
            );
        }
        let all = store.scan("", None, 10_000).await.expect("a scan");
        assert_eq!(all, model.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}

fn apply(model: &mut Map, batch: &Batch) -> Result<(), CommitError> {
    for guard in &batch.guards {
        let (key, holds) = match guard {
            Guard::Absent(key) => (key, !model.contains_key(key)),
            Guard::Equals(key, value) => (key, model.get(key) == Some(value)),
        };
        if !holds {
            return Err(CommitError::Guard { key: key.clone() });
        }
    }
    for write in &batch.writes {
        match write {
            Write::Put(key, value) => model.insert(key.clone(), value.clone()),
            Write::Delete(key) => model.remove(key),
        };
    }
    Ok(())
}

fn random_key(random: &mut Random) -> String {
    // Few keys, so that batches meet.
    format!("{}{}", random_prefix(random), random.below(20))
}

fn random_prefix(random: &mut Random) -> String {
    ["a/", "a/b/", "a-", "b/"][random.below(4)].to_owned()
}

fn random_value(random: &mut Random) -> Bytes {
    let size = match random.below(10) {
        0 => random.below(40_000),
        1 => 0,
        _ => random.below(60),
    };
    let byte = u8::try_from(random.below(256)).expect("a byte");
    vec![byte; size].into()
}

fn random_batch(random: &mut Random, model: &Map) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.below(3) {
        let key = random_key(random);
        // Mostly true, or little would ever be written.
        let guard = match model.get(&key) {
            Some(value) if random.below(8) > 0 => Guard::Equals(key, value.clone()),
            Some(_) => Guard::Absent(key),
            None if random.below(8) > 0 => Guard::Absent(key),
            None => Guard::Equals(key, random_value(random)),
        };
        batch.guard(guard);
    }
    for _ in 0..random.below(6) {
        let key = random_key(random);
        if random.below(4) == 0 {
            batch.delete(key);
        } else {
            batch.put(key, random_value(random));
        }
    }
    batch
}
