//! `nestor revisions`.

use clap::Args;
use nestor_client::{Client, Revision};

use super::out::{Cell, Colour, Table};
use super::{Code, Failure, Format, Out, OutputArgs};

#[derive(Debug, Args)]
pub(crate) struct RevisionsArgs {
    /// The deployment
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl RevisionsArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn run(args: &RevisionsArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let revisions = client.revisions(&args.id).await?;
    out.answer(&revisions.raw, |out| show(&revisions, out))?;
    Ok(Code::Done)
}

fn show(revisions: &[Revision], out: &Out) -> String {
    let mut table = Table::new([
        "REVISION", "OUTCOME", "BY", "CREATED", "ADDED", "CHANGED", "REMOVED",
    ]);
    for revision in revisions {
        table.row([
            revision.revision.to_string().into(),
            Cell::of(&revision.outcome, colour(&revision.outcome)),
            revision.by.as_str().into(),
            revision.created_at.as_str().into(),
            revision.added.join(", ").into(),
            revision.changed.join(", ").into(),
            revision.removed.join(", ").into(),
        ]);
    }
    table.show(out, None)
}

fn colour(outcome: &str) -> Colour {
    match outcome {
        "ready" => Colour::Good,
        "failed" | "stuck" | "rolled_back" | "cancelled" => Colour::Bad,
        "superseded" | "skipped" | "refused" | "expired" | "deleted" => Colour::Dim,
        _ => Colour::Busy,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn revisions_read_well() {
        let revisions: Vec<Revision> = serde_json::from_value(serde_json::json!([
            {"revision": 2, "by": "ann", "createdAt": "2026-01-02T00:00:00.000Z", "outcome": "ready",
             "added": ["cache", "queue"], "changed": ["app"], "removed": []},
            {"revision": 1, "by": "somebody", "createdAt": "2026-01-01T00:00:00.000Z", "outcome": "superseded",
             "added": ["app"]},
        ]))
        .unwrap();
        expect![[r#"
            REVISION  OUTCOME     BY        CREATED                   ADDED         CHANGED  REMOVED
            2         ready       ann       2026-01-02T00:00:00.000Z  cache, queue  app
            1         superseded  somebody  2026-01-01T00:00:00.000Z  app
        "#]]
        .assert_eq(&show(&revisions, &Out::plain()));
    }
}
