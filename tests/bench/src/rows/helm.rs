//! Charts rendered by the helm component and by the helm command.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use nestor_core::ports::{Engines, Function, Reply};
use serde_json::json;

use crate::engines;
use crate::row::{Bench, Line, Row, Target};
use crate::stats::Samples;

/// As many subcharts as make the size of the largest charts in use: some
/// hundred manifests.
const SUBCHARTS: usize = 40;

pub(crate) struct Helm;

#[async_trait]
impl Row for Helm {
    fn name(&self) -> &'static str {
        "helm"
    }

    fn about(&self) -> &'static str {
        "charts: helm component against helm command"
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<Vec<Line>> {
        let Some(program) = std::env::var_os("NESTOR_HELM")
            .filter(|p| !p.is_empty())
            .map(PathBuf::from)
        else {
            let why = "not measured: NESTOR_HELM is not set; `make bench` builds helm and sets it";
            return Ok(vec![Line::missing(self.about(), why)]);
        };
        let host = match engines::start(bench, "helm").await? {
            Ok(host) => host,
            Err(why) => return Ok(vec![Line::missing(self.about(), &why)]),
        };
        let mut lines = Vec::new();
        for chart in charts(bench, &program).await? {
            let section = json!({ "chart": "./chart", "includeHooks": true });
            let (mut ours, mut theirs, mut manifests) = (Vec::new(), Vec::new(), 0);
            // In turns, so that noise meets both; the first of each warms up.
            for round in 0..=bench.runs(chart.runs) {
                let call = engines::call(
                    "helm",
                    Function::Render,
                    round,
                    section.clone(),
                    Some(&chart.folder),
                )?;
                let began = Instant::now();
                let reply = host.call(call).await.with_context(|| chart.what.clone())?;
                ours.push(began.elapsed());
                let Reply::Rendered(rendered) = reply else {
                    anyhow::bail!("not rendered")
                };
                manifests = rendered.manifests.len();
                theirs.push(
                    template(&program, &chart.folder.join("chart"))
                        .await
                        .with_context(|| chart.what.clone())?,
                );
            }
            anyhow::ensure!(manifests > 0, "{} rendered nothing", chart.what);
            ours.remove(0);
            theirs.remove(0);
            let (ours, theirs) = (Samples::new(ours), Samples::new(theirs));
            let (mine, helms) = (ours.median().as_secs_f64(), theirs.median().as_secs_f64());
            let (ratio, target) = match chart.judged {
                Judged::Small => (helms / mine, Some(Target::AtLeast(8.0))),
                Judged::Large => (mine / helms, Some(Target::AtMost(2.0))),
                Judged::Seen => (helms / mine, None),
            };
            let what = match chart.judged {
                Judged::Large => format!(
                    "{} ({manifests} files): ours takes how much longer",
                    chart.what
                ),
                Judged::Small | Judged::Seen => format!("{} ({manifests} files)", chart.what),
            };
            lines.push(Line::ratio(
                what,
                ours.text(),
                format!("helm template: {}", theirs.text()),
                ratio,
                target,
            ));
        }
        Ok(lines)
    }
}

#[derive(Clone, Copy)]
enum Judged {
    Small,
    Large,
    Seen,
}

struct Chart {
    what: String,
    /// Has the chart in `chart/`.
    folder: PathBuf,
    judged: Judged,
    runs: usize,
}

/// A `helm create` chart, the project's own that use every construct, and one
/// as large as charts get.
async fn charts(bench: &Bench, program: &Path) -> anyhow::Result<Vec<Chart>> {
    let made = bench.folder("helm-")?;
    command(program, &made, &["create", "web"]).await?;
    let mut charts = vec![Chart {
        what: "chart of helm create".into(),
        folder: definition(bench, &made.join("web"))?,
        judged: Judged::Small,
        runs: 30,
    }];
    let own = bench.root().join("tests/charts/renders");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&own)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    names.sort();
    for path in names
        .into_iter()
        .filter(|path| path.join("Chart.yaml").is_file())
    {
        charts.push(Chart {
            what: format!("chart {}", path.file_name().unwrap_or_default().display()),
            folder: definition(bench, &path)?,
            judged: Judged::Seen,
            runs: 10,
        });
    }
    let large = bench.folder("helm-")?.join("large");
    std::fs::create_dir_all(large.join("charts"))?;
    std::fs::write(
        large.join("Chart.yaml"),
        "apiVersion: v2\nname: large\nversion: 1.0.0\n",
    )?;
    for number in 0..SUBCHARTS {
        let subchart = large.join(format!("charts/web{number}"));
        copy(&made.join("web"), &subchart)?;
        rename(&subchart, number)?;
    }
    charts.push(Chart {
        what: format!("chart of {SUBCHARTS} subcharts"),
        folder: definition(bench, &large)?,
        judged: Judged::Large,
        runs: 10,
    });
    Ok(charts)
}

/// Gives a copy of the chart names of its own, and turns on what it can make.
fn rename(folder: &Path, number: usize) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rename(&path, number)?;
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let text = text.replace("name: web\n", &format!("name: web{number}\n"));
        let text = text.replace("\"web.", &format!("\"web{number}."));
        let text = text.replace("enabled: false", "enabled: true");
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// A definition's folder with the chart in it.
fn definition(bench: &Bench, chart: &Path) -> anyhow::Result<PathBuf> {
    let folder = bench.folder("definition-")?;
    copy(chart, &folder.join("chart"))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

async fn template(program: &Path, chart: &Path) -> anyhow::Result<Duration> {
    let chart = chart.to_str().context("a path that is not text")?;
    let began = Instant::now();
    command(program, Path::new("/"), &["template", "bench", chart]).await?;
    Ok(began.elapsed())
}

async fn command(program: &Path, folder: &Path, args: &[&str]) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {}", program.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "helm {args:?}: {errors}");
    Ok(())
}
