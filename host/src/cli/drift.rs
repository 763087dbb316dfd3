//! `nestor drift`.

use std::time::{Duration, Instant};

use clap::Args;
use nestor_client::{Client, Drift};

use super::out::{Cell, Colour, Table, one_line};
use super::plan::difference;
use super::{Code, Failure, Format, Out, OutputArgs};

/// Between two looks at whether the server has looked.
const POLL: Duration = Duration::from_millis(250);
/// Differences of one resource that are shown.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// The deployment
    id: String,
    /// Look now, in place of showing what the last look saw
    #[arg(long)]
    now: bool,
    /// Look now, and apply again what is not as it was applied
    #[arg(long)]
    remediate: bool,
    /// Give up waiting for the look after this; it is made all the same
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = nestor_core::units::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

impl DriftArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

pub(crate) async fn run(args: &DriftArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    if args.now || args.remediate {
        client.check_drift(&args.id, args.remediate).await?;
    }
    let until = Instant::now() + args.timeout;
    let mut seen = client.drift(&args.id).await?;
    while seen.pending && (args.now || args.remediate) {
        if Instant::now() >= until {
            let text = format!(
                "{} was not looked at in time: it is busy, or the server is; the look is made later: nestor drift {}",
                args.id, args.id
            );
            return Err(Failure::new(Code::TooLate, text));
        }
        tokio::time::sleep(POLL).await;
        seen = client.drift(&args.id).await?;
    }
    out.answer(&seen.raw, |out| report(&seen, out))?;
    let drifted = seen.status == "drifted";
    if drifted && args.remediate {
        out.note(&format!(
            "what drifted is applied again; follow it with: nestor watch {}",
            args.id
        ));
    }
    Ok(if drifted { Code::Different } else { Code::Done })
}

fn report(seen: &Drift, out: &Out) -> String {
    let Some(at) = &seen.checked_at else {
        let next = match &seen.next_check_at {
            Some(at) => format!("; the first look is due at {}", one_line(at)),
            None => String::new(),
        };
        return format!(
            "{}: nobody has looked{next}; look now with --now\n",
            one_line(&seen.id)
        );
    };
    let outdated = if seen.outdated {
        ", before the deployment changed"
    } else {
        ""
    };
    let mut text = format!(
        "{}  {}  looked at {}{outdated}\n\n",
        out.paint(Colour::Bold, &one_line(&seen.id)),
        out.paint(colour(&seen.status), &one_line(&seen.status)),
        one_line(at),
    );
    let mut table = Table::new(["NAME", "DRIFT", "ENGINE", "MESSAGE"]);
    for resource in &seen.resources {
        table.row([
            resource.name.as_str().into(),
            Cell::of(resource.status.as_str(), colour(&resource.status)),
            resource.engine.as_str().into(),
            resource.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    text.push_str(&table.show(out, None));
    for resource in &seen.resources {
        for change in resource.changes.iter().take(SHOWN) {
            text.push_str(&format!(
                "{}: {}\n",
                one_line(&resource.name),
                difference(change, ["(nothing)", "gone"])
            ));
        }
        let more = resource.changes.len().saturating_sub(SHOWN) + resource.more_changes;
        if more > 0 {
            text.push_str(&format!("{}: and {more} more\n", one_line(&resource.name)));
        }
    }
    text
}

fn colour(status: &str) -> Colour {
    match status {
        "in_sync" => Colour::Good,
        "drifted" | "missing" => Colour::Bad,
        _ => Colour::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_was_seen_is_shown() {
        let seen = |json| serde_json::from_value::<Drift>(json).unwrap();
        let never = seen(serde_json::json!({
            "id": "web", "status": "not_checked", "pending": false, "outdated": false, "resources": [],
        }));
        expect![[r#"
            web: nobody has looked; look now with --now
        "#]]
        .assert_eq(&report(&never, &Out::plain()));
        let drifted = seen(serde_json::json!({
            "id": "web", "status": "drifted", "pending": false, "outdated": true,
            "checkedAt": "2026-01-01T00:00:00.000Z", "revision": 3,
            "resources": [
                {"name": "app", "engine": "helm", "status": "unsupported", "reason": "delivered through Git"},
                {"name": "db", "engine": "terraform", "status": "drifted", "reason": "1 changed outside",
                 "changes": [{"path": "a#/size", "before": 1, "after": 2}, {"path": "a#/key", "before": "x", "after": "y", "sensitive": true},
                             {"path": "a#/zone", "before": "z"}, {"path": "a#/tag", "after": 1}], "moreChanges": 4},
            ],
        }));
        expect![[r#"
            web  drifted  looked at 2026-01-01T00:00:00.000Z, before the deployment changed

            NAME  DRIFT        ENGINE     MESSAGE
            app   unsupported  helm       delivered through Git
            db    drifted      terraform  1 changed outside
            db: a#/size: 1 → 2
            db: a#/key: (sensitive) → (sensitive)
            db: a#/zone: z → gone
            db: a#/tag: (nothing) → 1
            db: and 4 more
        "#]]
        .assert_eq(&report(&drifted, &Out::plain()));
    }
}
