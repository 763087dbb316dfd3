//! `nestor report`: what a run did, for people, programs and test reports.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use nestor_client::Client;
use serde_json::Value;

use super::out::{Cell, Colour, Table};
use super::{Code, Failure, Format, Out};

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The deployment
    id: String,
    /// The run's number; without it the last
    #[arg(long, value_name = "RUN", value_parser = clap::value_parser!(u64).range(1..))]
    run: Option<u64>,
    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: ReportFormat,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people
    #[default]
    Table,
    /// As the server answered
    Json,
    /// The same as YAML
    Yaml,
    /// As JUnit's XML: a resource is a test case
    Junit,
}

impl ReportArgs {
    pub(crate) fn format(&self) -> Format {
        match self.output {
            ReportFormat::Table | ReportFormat::Junit => Format::Table,
            ReportFormat::Json => Format::Json,
            ReportFormat::Yaml => Format::Yaml,
        }
    }
}

pub(crate) async fn run(args: &ReportArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    let report = client.report(&args.id, args.run).await?;
    match args.output {
        ReportFormat::Junit => out.raw(&junit(&report.raw))?,
        ReportFormat::Table | ReportFormat::Json | ReportFormat::Yaml => {
            out.answer(&report.raw, |out| table(&report.raw, out))?;
        }
    }
    Ok(Code::Done)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn seconds(value: &Value) -> String {
    match value["durationMs"].as_u64() {
        Some(ms) => format!("{}.{:03}", ms / 1_000, ms % 1_000),
        None => String::new(),
    }
}

fn table(report: &Value, out: &Out) -> String {
    let mut head = Table::default();
    let mut row = |name: &str, value: Cell| head.row([Cell::of(name, Colour::Dim), value]);
    let run = report["run"]
        .as_u64()
        .map_or("none".to_owned(), |n| n.to_string());
    row("deployment", text(report, "id").into());
    row(
        "run",
        format!(
            "{run}, {} of revision {}",
            text(report, "kind"),
            report["revision"]
        )
        .into(),
    );
    let colour = match text(report, "outcome") {
        "completed" => Colour::Good,
        "in_progress" | "not_begun" => Colour::Busy,
        _ => Colour::Bad,
    };
    row("outcome", Cell::of(text(report, "outcome"), colour));
    for (name, field) in [
        ("reason", "reason"),
        ("by", "by"),
        ("started", "startedAt"),
        ("ended", "endedAt"),
    ] {
        if !text(report, field).is_empty() {
            row(name, text(report, field).into());
        }
    }
    let took = seconds(report);
    if !took.is_empty() {
        row("took", format!("{took} s").into());
    }
    for mark in list(report, "marks") {
        row(text(mark, "what"), text(mark, "at").into());
    }
    let mut rows = Table::new([
        "RESOURCE", "ACTION", "ATTEMPTS", "WAITS", "SECONDS", "ENGINE", "REASON",
    ]);
    for resource in list(report, "resources") {
        rows.row([
            text(resource, "name").into(),
            text(resource, "action").into(),
            list(resource, "attempts").len().to_string().into(),
            list(resource, "waits").len().to_string().into(),
            seconds(resource).into(),
            text(resource, "engine").into(),
            text(resource, "reason").into(),
        ]);
    }
    format!("{}\n{}", head.show(out, None), rows.show(out, None))
}

/// One suite for the run, one case for each resource.
fn junit(report: &Value) -> String {
    let resources = list(report, "resources");
    let failed = |r: &&Value| matches!(text(r, "action"), "failed" | "undo_failed");
    let skipped = |r: &&Value| {
        matches!(
            text(r, "action"),
            "skipped" | "waiting" | "creating" | "updating" | "deleting" | "undoing"
        )
    };
    let time = |value: &Value| match seconds(value) {
        took if took.is_empty() => "0".to_owned(),
        took => took,
    };
    let suite = escaped(text(report, "id"));
    let (all, failures, skips) = (
        resources.len(),
        resources.iter().filter(failed).count(),
        resources.iter().filter(skipped).count(),
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuites><testsuite name=\"{suite}\" tests=\"{all}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skips}\" time=\"{}\" timestamp=\"{}\">",
        time(report),
        escaped(text(report, "startedAt"))
    );
    for resource in resources {
        let action = text(resource, "action");
        let reason = match text(resource, "reason") {
            "" => action,
            reason => reason,
        };
        let _ = write!(
            xml,
            "  <testcase classname=\"{suite}\" name=\"{}\" time=\"{}\">",
            escaped(text(resource, "name")),
            time(resource)
        );
        if failed(&resource) {
            let _ = write!(
                xml,
                "<failure type=\"{action}\" message=\"{}\"/>",
                escaped(reason)
            );
        } else if skipped(&resource) {
            let _ = write!(xml, "<skipped message=\"{}\"/>", escaped(reason));
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite></testsuites>\n");
    xml
}

/// For an attribute; what XML cannot hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_as_a_test_report() {
        let report = json!({
            "id": "web", "startedAt": "2026-01-01T00:00:00.000Z", "durationMs": 61_005,
            "resources": [
                {"name": "db", "action": "created", "durationMs": 5},
                {"name": "app", "action": "failed", "reason": "\"<no>\" & \u{1b}[31m\nmore"},
                {"name": "dns", "action": "skipped", "reason": "not begun, because app failed"},
            ],
        });
        expect_test::expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites><testsuite name="web" tests="3" failures="1" errors="0" skipped="1" time="61.005" timestamp="2026-01-01T00:00:00.000Z">
              <testcase classname="web" name="db" time="0.005"></testcase>
              <testcase classname="web" name="app" time="0"><failure type="failed" message="&quot;&lt;no&gt;&quot; &amp; �[31m&#10;more"/></testcase>
              <testcase classname="web" name="dns" time="0"><skipped message="not begun, because app failed"/></testcase>
            </testsuite></testsuites>
        "#]]
        .assert_eq(&junit(&report));
    }
}
