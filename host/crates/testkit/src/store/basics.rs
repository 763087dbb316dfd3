//! One batch after the other.

use nestor_core::ports::{
    Batch, CommitError, Guard, MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError, Write,
};

use super::{Factory, get, guarded, keys, puts, text};

pub(super) async fn reads_what_was_written(factory: &dyn Factory) {
    let store = factory.fresh().await;
    assert_eq!(text(&*store, "a").await, None, "a fresh store is empty");
    store
        .commit(puts([("a", "1"), ("b", "")]))
        .await
        .expect("a commit");
    assert_eq!(text(&*store, "a").await.as_deref(), Some("1"));
    assert_eq!(
        text(&*store, "b").await.as_deref(),
        Some(""),
        "an empty value is a value"
    );

    let mut batch = Batch::new();
    batch
        .put("a", "2")
        .delete("a")
        .put("a", "3")
        .put("c", "4")
        .delete("c")
        .delete("never");
    store.commit(batch).await.expect("a commit");
    assert_eq!(
        text(&*store, "a").await.as_deref(),
        Some("3"),
        "a later write of a batch wins"
    );
    assert_eq!(text(&*store, "c").await, None, "a later removal wins");

    store
        .commit(Batch::new())
        .await
        .expect("an empty batch does nothing, successfully");
}

pub(super) async fn a_guard_decides_over_the_whole_batch(factory: &dyn Factory) {
    let store = factory.fresh().await;
    store
        .commit(guarded(Guard::Absent("k".into()), "k", "1"))
        .await
        .expect("k is absent");
    let refused = Err(CommitError::Guard { key: "k".into() });
    let again = store
        .commit(guarded(Guard::Absent("k".into()), "k", "2"))
        .await;
    assert_eq!(again, refused, "k is there");
    let wrong = guarded(Guard::Equals("k".into(), "2".into()), "other", "2");
    assert_eq!(store.commit(wrong).await, refused, "k is 1");
    assert_eq!(
        text(&*store, "other").await,
        None,
        "a refused batch writes nothing"
    );
    store
        .commit(guarded(Guard::Equals("k".into(), "1".into()), "k", "3"))
        .await
        .expect("k is 1");
    let absent = guarded(Guard::Equals("none".into(), "".into()), "other", "2");
    let missing = Err(CommitError::Guard { key: "none".into() });
    assert_eq!(store.commit(absent).await, missing, "absent is not empty");

    let mut several = puts([("x", "1")]);
    several
        .guard(Guard::Equals("k".into(), "3".into()))
        .guard(Guard::Absent("k".into()));
    assert_eq!(store.commit(several).await, refused, "all guards must hold");
    assert_eq!(text(&*store, "x").await, None);

    let mut own = puts([("y", "1")]);
    own.guard(Guard::Absent("y".into()));
    store
        .commit(own)
        .await
        .expect("guards look at the store before the batch");
}

pub(super) async fn limits_are_errors_that_write_nothing(factory: &dyn Factory) {
    let store = factory.fresh().await;
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let longest = "k".repeat(MAX_KEY_BYTES);
    for batch in [
        puts([("fine", "1"), (&long, "1")]),
        puts([("fine", "1"), ("", "1")]),
        guarded(Guard::Absent(long.clone()), "fine", "1"),
        Batch {
            guards: Vec::new(),
            writes: vec![
                Write::Put("fine".into(), "1".into()),
                Write::Delete(long.clone()),
            ],
        },
        Batch {
            guards: Vec::new(),
            writes: vec![Write::Put(
                "fine".into(),
                vec![0; MAX_VALUE_BYTES + 1].into(),
            )],
        },
    ] {
        let answer = store.commit(batch).await;
        assert!(
            matches!(answer, Err(CommitError::Store(StoreError::Limit(_)))),
            "{answer:?}"
        );
        assert_eq!(
            text(&*store, "fine").await,
            None,
            "nothing of it was written"
        );
    }
    assert!(matches!(store.get(&long).await, Err(StoreError::Limit(_))));
    store
        .commit(puts([(longest.as_str(), "1")]))
        .await
        .expect("the longest key is allowed");
    assert_eq!(text(&*store, &longest).await.as_deref(), Some("1"));
}

pub(super) async fn values_of_every_size(factory: &dyn Factory) {
    let mut store = factory.fresh().await;
    // Around every power of two, where adapters change how they store.
    let sizes = (0..21).flat_map(|power| [(1_usize << power) - 1, 1 << power, (1 << power) + 1]);
    let sizes: Vec<usize> = sizes.chain([5_000_003]).collect();
    let value = |size: usize, salt: usize| -> Vec<u8> {
        (0..size)
            .map(|i| u8::try_from((i * 31 + i / 251 + salt) % 256).expect("a byte"))
            .collect()
    };
    for round in 0..2 {
        for &size in &sizes {
            let mut batch = Batch::new();
            batch.put(format!("size/{size}"), value(size, size + round));
            store.commit(batch).await.expect("a commit");
        }
        store = factory.reopen(store).await;
        for &size in &sizes {
            let key = format!("size/{size}");
            assert!(
                get(&*store, &key)
                    .await
                    .is_some_and(|v| v == value(size, size + round)),
                "{key}"
            );
        }
    }
    let mut all = Batch::new();
    for size in &sizes {
        all.delete(format!("size/{size}"));
    }
    store.commit(all).await.expect("a commit");
    assert!(keys(&*store, "size/", None, 100).await.is_empty());
}

pub(super) async fn scans_in_pages(factory: &dyn Factory) {
    let store = factory.fresh().await;
    // `-` sorts before `/`, so a neighbour's keys lie between.
    let sorted = [
        "run-2", "run/a", "run/a/1", "run/a/2", "run/b", "run/ä", "run0",
    ];
    let mut shuffled: Vec<(&str, &str)> = sorted.iter().map(|key| (*key, "v")).collect();
    shuffled.reverse();
    store.commit(puts(shuffled)).await.expect("a commit");

    assert_eq!(keys(&*store, "", None, 100).await, sorted, "byte order");
    assert_eq!(keys(&*store, "run/", None, 100).await, sorted[1..6]);
    assert_eq!(
        keys(&*store, "run/a", None, 100).await,
        sorted[1..4],
        "a prefix is not a folder"
    );
    assert_eq!(
        keys(&*store, "run/", Some("run/a/1"), 2).await,
        sorted[3..5]
    );
    assert_eq!(
        keys(&*store, "run/", Some("run/a/11"), 1).await,
        ["run/a/2"],
        "`after` need not exist"
    );
    assert_eq!(
        keys(&*store, "run/", Some("a"), 1).await,
        ["run/a"],
        "`after` before the prefix"
    );
    assert!(
        keys(&*store, "run/", Some("run0"), 9).await.is_empty(),
        "`after` behind the prefix"
    );
    assert!(keys(&*store, "run/", Some("run/ä"), 9).await.is_empty());
    assert!(keys(&*store, "run/", None, 0).await.is_empty());
    assert!(keys(&*store, "s", None, 9).await.is_empty());

    let mut many = Batch::new();
    for n in 0..1_000 {
        many.put(format!("page/{n:04}"), n.to_string());
    }
    store.commit(many).await.expect("a commit");
    for limit in [1, 7, 64, 65, 1_000, 5_000] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page = keys(&*store, "page/", seen.last().map(String::as_str), limit).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        let all: Vec<String> = (0..1_000).map(|n| format!("page/{n:04}")).collect();
        assert_eq!(seen, all, "pages of {limit} join to the whole");
    }
}

pub(super) async fn keeps_what_was_acknowledged(factory: &dyn Factory) {
    let mut store = factory.fresh().await;
    for generation in 0..3 {
        let mut batch = Batch::new();
        for n in 0..50 {
            batch.put(format!("kept/{generation}/{n}"), n.to_string());
            if generation > 0 && n % 2 == 0 {
                batch.delete(format!("kept/{}/{n}", generation - 1));
            }
        }
        store.commit(batch).await.expect("a commit");
        store = factory.reopen(store).await;
        let expected = if generation == 0 {
            50
        } else {
            50 + 25 * generation
        };
        assert_eq!(keys(&*store, "kept/", None, 1_000).await.len(), expected);
        assert_eq!(
            text(&*store, &format!("kept/{generation}/49"))
                .await
                .as_deref(),
            Some("49")
        );
    }
}
