//! Many deployments from one: its documents, copied under other ids of the
//! same length. Faster than running each, and the store then holds what the
//! host itself had written.

use std::sync::Arc;

use nestor_core::ports::{Batch, Bytes, Store};

/// Writes of one commit: few enough to stay far below the limits of a batch.
const WRITES: usize = 2_000;
/// Pairs of one read.
const PAGE: usize = 1_000;

/// Every pair of a store whose key holds this id.
pub(crate) async fn documents(
    store: &dyn Store,
    id: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.scan("", after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(found);
        };
        after = Some(last.clone());
        for (key, value) in page {
            if key.contains(id) {
                found.push((key, String::from_utf8(value.to_vec())?));
            }
        }
    }
}

/// Writes them again under each of these ids.
pub(crate) async fn write(
    store: &Arc<dyn Store>,
    documents: &[(String, String)],
    id: &str,
    others: impl Iterator<Item = String>,
) -> anyhow::Result<()> {
    let mut batch = Batch::new();
    for other in others {
        anyhow::ensure!(other.len() == id.len(), "{other} is not as long as {id}");
        for (key, value) in documents {
            batch.put(
                key.replace(id, &other),
                Bytes::from(value.replace(id, &other)),
            );
        }
        if batch.writes.len() >= WRITES {
            store.commit(std::mem::take(&mut batch)).await?;
        }
    }
    store.commit(batch).await?;
    Ok(())
}
