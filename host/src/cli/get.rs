//! `nestor get`.

use clap::Args;
use nestor_client::{Client, Deployment, DeploymentPage, DeploymentStatus, Filter};
use serde_json::{Value, json};

use super::live::{deployment_colour, headline, resources};
use super::out::{Cell, Colour, Table, clean, one_line};
use super::plan::value_text;
use super::{Code, Failure, Format, Out, OutputArgs};

/// Items asked for at once.
const PAGE: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The deployment; without one, all are listed
    id: Option<String>,
    /// List only those of a composer
    #[arg(long, conflicts_with = "id")]
    composer: Option<String>,
    /// List only those in an environment
    #[arg(long, conflicts_with = "id")]
    environment: Option<String>,
    /// List only those with a status, such as ready or in_progress
    #[arg(long, conflicts_with = "id")]
    status: Option<String>,
    /// List only those with a label; may be given several times
    #[arg(
        short,
        long = "label",
        conflicts_with = "id",
        value_name = "NAME=VALUE"
    )]
    labels: Vec<String>,
    /// List also those that are deleted and still known
    #[arg(long, conflicts_with_all = ["id", "status"])]
    deleted: bool,
    /// List no more than this many
    #[arg(long, conflicts_with = "id", value_name = "N", value_parser = positive)]
    limit: Option<usize>,
    #[command(flatten)]
    output: OutputArgs,
}

impl GetArgs {
    pub(crate) fn format(&self) -> Format {
        self.output.output
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a number from 1".into()),
        Ok(number) => Ok(number),
    }
}

pub(crate) async fn run(args: &GetArgs, client: &Client, out: &Out) -> Result<Code, Failure> {
    match &args.id {
        Some(id) => {
            let deployment = client.deployment(id).await?;
            out.answer(&deployment.raw, |out| {
                format!(
                    "{}{}",
                    overview(&deployment, out),
                    results(&deployment, out)
                )
            })?;
        }
        None => {
            let filter = Filter {
                composer: args.composer.clone(),
                environment: args.environment.clone(),
                status: args.status.clone(),
                labels: args.labels.clone(),
            };
            let also_deleted = args.deleted || args.status.is_some();
            let (page, raw) = all(&filter, also_deleted, args.limit, client).await?;
            out.answer(&raw, |out| list(&page, out))?;
        }
    }
    Ok(Code::Done)
}

/// Page after page, as one.
async fn all(
    filter: &Filter,
    also_deleted: bool,
    limit: Option<usize>,
    client: &Client,
) -> Result<(DeploymentPage, Value), Failure> {
    let mut whole = DeploymentPage {
        items: Vec::new(),
        next: None,
    };
    let mut raw = Vec::new();
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let most = if also_deleted { left.min(PAGE) } else { PAGE };
        let page = client
            .deployments(filter, whole.next.as_deref(), Some(most))
            .await?;
        let items = page.raw["items"].as_array().into_iter().flatten();
        for (item, as_it_came) in page.value.items.into_iter().zip(items) {
            if left > 0 && (also_deleted || item.status != DeploymentStatus::Deleted) {
                left -= 1;
                whole.items.push(item);
                raw.push(as_it_came.clone());
            }
        }
        whole.next = page.value.next;
        if whole.next.is_none() {
            break;
        }
    }
    Ok((whole, json!({ "items": raw })))
}

fn list(page: &DeploymentPage, out: &Out) -> String {
    if page.items.is_empty() {
        return "There are no such deployments.\n".to_owned();
    }
    let mut table = Table::new([
        "ID",
        "STATUS",
        "REVISION",
        "ENVIRONMENT",
        "COMPOSER",
        "UPDATED",
    ]);
    for item in &page.items {
        table.row([
            item.id.as_str().into(),
            Cell::of(item.status.as_str(), deployment_colour(item.status)),
            item.revision.to_string().into(),
            item.environment.as_str().into(),
            item.composer.as_str().into(),
            item.updated_at.as_str().into(),
        ]);
    }
    table.show(out, None)
}

/// Where a deployment and its resources are.
pub(crate) fn overview(deployment: &Deployment, out: &Out) -> String {
    let mut text = headline(deployment, out);
    for warning in &deployment.warnings {
        text.push_str(&format!("warning: {}\n", one_line(warning)));
    }
    text.push('\n');
    text.push_str(&resources(deployment.resources.iter(), false).show(out, None));
    text
}

/// What came of it: outputs, commits, notes.
pub(crate) fn results(deployment: &Deployment, out: &Out) -> String {
    let mut text = String::new();
    let title = |text: &str| format!("\n{}\n", out.paint(Colour::Bold, text));
    let mut outputs = Table::new(["RESOURCE", "OUTPUT", "VALUE"]);
    let mut any = false;
    for resource in &deployment.resources {
        for (name, value) in &resource.outputs {
            any = true;
            outputs.row([
                resource.name.as_str().into(),
                name.as_str().into(),
                value_text(value).into(),
            ]);
        }
    }
    if any {
        text.push_str(&title("Outputs"));
        text.push_str(&outputs.show(out, None));
    }
    let delivered: Vec<_> = deployment
        .resources
        .iter()
        .filter_map(|r| Some((r, r.delivery.as_ref()?)))
        .collect();
    if !delivered.is_empty() {
        text.push_str(&title("Delivered"));
        let mut table = Table::new(["RESOURCE", "REPOSITORY", "BRANCH", "COMMIT", "PATH"]);
        for (resource, delivery) in delivered {
            table.row([
                resource.name.as_str().into(),
                delivery.repository.as_str().into(),
                delivery.branch.as_str().into(),
                delivery.commit.as_str().into(),
                delivery.path.as_str().into(),
            ]);
        }
        text.push_str(&table.show(out, None));
    }
    for resource in &deployment.resources {
        if let Some(notes) = &resource.notes {
            text.push_str(&title(&format!("Notes of {}", one_line(&resource.name))));
            text.push_str(clean(notes).trim_end());
            text.push('\n');
        }
    }
    text
}
