//! `nestor webhooks`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nestor_client::{Client, DeadLetters, Webhook, Webhooks};
use serde_json::{Map, Value, json};

use super::out::{Cell, Colour, Table};
use super::{Code, Failure, Format, Out, OutputArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List all webhooks
    List(OutputArgs),
    /// Show one webhook
    Get(OneArgs),
    /// Make a webhook, or change one: what is not said stays as it is
    Put(PutArgs),
    /// Take a webhook away, with what waits for it
    Delete(OneArgs),
    /// Post a test message and show what comes of it
    Test(OneArgs),
    /// List the events that were given up, oldest first
    DeadLetters(LettersArgs),
    /// Send events again that were given up
    Redeliver(RedeliverArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// Its name
    name: String,
    /// Where events are posted to
    #[arg(long)]
    url: String,
    /// A file with the secret, or - for standard input: whsec_ and random bytes in base64; without it a webhook keeps what it has
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A file with the secret before, which signs as well
    #[arg(long, value_name = "FILE", requires = "secret_file")]
    previous_secret_file: Option<PathBuf>,
    /// Only of this composer
    #[arg(long)]
    composer: Option<String>,
    /// Only in this environment
    #[arg(long)]
    environment: Option<String>,
    /// Only of this deployment
    #[arg(long)]
    deployment: Option<String>,
    /// Only of these types: deployment.ready, deployment.*, resource.*, *; a new webhook has deployment.*
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Forget what it was restricted to, and begin with what stands here
    #[arg(long)]
    any: bool,
    /// A private address is meant; only as far as the server's config allows
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    allow_private: Option<bool>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LettersArgs {
    /// The webhook
    name: String,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// What the page before ended with
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RedeliverArgs {
    /// The webhook
    name: String,
    /// Ids of events; without any, all
    ids: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl WebhooksCommand {
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::List(output) => output.output,
            Self::Get(args) | Self::Delete(args) | Self::Test(args) => args.output.output,
            Self::Put(args) => args.output.output,
            Self::DeadLetters(args) => args.output.output,
            Self::Redeliver(args) => args.output.output,
        }
    }
}

pub(crate) async fn run(
    command: &WebhooksCommand,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    match command {
        WebhooksCommand::List(_) => {
            let all = client.webhooks().await?;
            out.answer(&all.raw, |out| list(&all, out))?;
        }
        WebhooksCommand::Get(args) => {
            let webhook = client.webhook(&args.name).await?;
            out.answer(&webhook.raw, |out| detail(&webhook, out))?;
        }
        WebhooksCommand::Put(args) => {
            let before = match client.webhook(&args.name).await {
                Ok(before) => before.raw,
                Err(error) if error.problem().is_some_and(|p| p.status == 404) => Value::Null,
                Err(error) => return Err(error.into()),
            };
            let body = body(args, &before)?;
            let webhook = client.put_webhook(&args.name, &body).await?;
            out.answer(&webhook.raw, |out| detail(&webhook, out))?;
        }
        WebhooksCommand::Delete(args) => {
            client.delete_webhook(&args.name).await?;
            if out.format == Format::Table {
                out.line(&format!("{} is deleted", args.name))?;
            }
        }
        WebhooksCommand::Test(args) => {
            let test = client.test_webhook(&args.name).await?;
            out.answer(&test.raw, |_| match &test.reason {
                None => format!("{} took the message\n", args.name),
                Some(reason) => format!("{} did not take the message: {reason}\n", args.name),
            })?;
            if !test.delivered {
                return Ok(Code::Failed);
            }
        }
        WebhooksCommand::DeadLetters(args) => {
            let cursor = args.cursor.as_deref();
            let page = client.dead_letters(&args.name, cursor, args.limit).await?;
            out.answer(&page.raw, |out| letters(&args.name, &page, out))?;
        }
        WebhooksCommand::Redeliver(args) => {
            let ids = (!args.ids.is_empty()).then_some(args.ids.as_slice());
            let queued = client.redeliver(&args.name, ids).await?;
            out.answer(&queued.raw, |_| {
                format!("{} wait for delivery again\n", queued.queued)
            })?;
        }
    }
    Ok(Code::Done)
}

/// The whole of a webhook: what it was before, with what is said over it.
fn body(args: &PutArgs, before: &Value) -> Result<Value, Failure> {
    let mut filter = match &before["filter"] {
        Value::Object(filter) if !args.any => filter.clone(),
        _ => Map::new(),
    };
    let allowed = before["allowPrivate"].as_bool().unwrap_or(false);
    for (field, value) in [
        ("composer", &args.composer),
        ("environment", &args.environment),
        ("deployment", &args.deployment),
    ] {
        if let Some(value) = value {
            filter.insert(field.into(), json!(value));
        }
    }
    if !args.types.is_empty() {
        filter.insert("types".into(), json!(args.types));
    }
    let secret = |file: &Option<PathBuf>| file.as_deref().map(read).transpose();
    Ok(json!({
        "url": args.url,
        "secret": secret(&args.secret_file)?,
        "previousSecret": secret(&args.previous_secret_file)?,
        "filter": filter,
        "allowPrivate": args.allow_private.unwrap_or(allowed),
    }))
}

/// A secret from a file: on a command line everybody could read it.
fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let shown = path.display();
    text.map(|text| text.trim().to_owned())
        .map_err(|e| Failure::invalid(format!("{shown} cannot be read: {e}")))
}

fn state(webhook: &Webhook) -> Cell {
    let colour = if webhook.state == "active" {
        Colour::Good
    } else {
        Colour::Bad
    };
    Cell::of(&webhook.state, colour)
}

fn list(all: &Webhooks, out: &Out) -> String {
    if all.items.is_empty() {
        return "There is no webhook; make one with: nestor webhooks put NAME --url URL --secret-file FILE\n".into();
    }
    let mut table = Table::new(["NAME", "STATE", "WAITING", "DEAD", "TYPES", "URL"]);
    for webhook in &all.items {
        table.row([
            webhook.name.as_str().into(),
            state(webhook),
            webhook.pending.to_string().into(),
            webhook.dead_letters.to_string().into(),
            webhook.filter.types.join(",").into(),
            webhook.url.as_str().into(),
        ]);
    }
    table.show(out, None)
}

fn detail(webhook: &Webhook, out: &Out) -> String {
    let mut table = Table::default();
    let mut row = |name: &str, value: Cell| table.row([Cell::of(name, Colour::Dim), value]);
    row("name", webhook.name.as_str().into());
    row("state", state(webhook));
    if let Some(reason) = &webhook.reason {
        row("reason", reason.as_str().into());
    }
    row("url", webhook.url.as_str().into());
    row("types", webhook.filter.types.join(", ").into());
    for (name, value) in [
        ("composer", &webhook.filter.composer),
        ("environment", &webhook.filter.environment),
        ("deployment", &webhook.filter.deployment),
        ("delivered", &webhook.last_delivery),
    ] {
        if let Some(value) = value {
            row(name, value.as_str().into());
        }
    }
    if webhook.allow_private {
        row(
            "private",
            "allowed, as far as the server's config goes".into(),
        );
    }
    row("waiting", webhook.pending.to_string().into());
    row("dead letters", webhook.dead_letters.to_string().into());
    if let Some(failure) = &webhook.last_failure {
        row(
            "last failure",
            format!("{}: {}", failure.at, failure.reason).into(),
        );
    }
    table.show(out, None)
}

fn letters(name: &str, page: &DeadLetters, out: &Out) -> String {
    if page.items.is_empty() {
        return format!("Nothing was given up for {name}\n");
    }
    let mut table = Table::new(["ID", "TYPE", "GIVEN UP", "ATTEMPTS", "REASON"]);
    for letter in &page.items {
        table.row([
            letter.id.as_str().into(),
            letter.event_type.as_str().into(),
            letter.at.as_str().into(),
            letter.attempts.to_string().into(),
            letter.reason.as_str().into(),
        ]);
    }
    let mut text = table.show(out, None);
    if let Some(next) = &page.next {
        text.push_str(&format!("There may be more: --cursor {next}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let before = json!({
            "url": "https://old.example/", "allowPrivate": true,
            "filter": {"environment": "production", "types": ["deployment.ready"]},
        });
        let put = |words: &str, before: &Value| {
            let words = std::iter::once("nestor webhooks put a --url u").chain([words]);
            let words = words.flat_map(str::split_whitespace);
            let cli = <super::super::Cli as clap::Parser>::parse_from(words);
            let super::super::Command::Webhooks(WebhooksCommand::Put(args)) = cli.command else {
                panic!("it is another command");
            };
            body(&args, before).unwrap()
        };
        let moved = put("", &before);
        assert_eq!(moved["url"], "u");
        assert_eq!(moved["filter"], before["filter"]);
        assert_eq!(moved["allowPrivate"], true);
        let changed = put("--composer web --type *", &before);
        assert_eq!(
            changed["filter"],
            json!({"environment": "production", "composer": "web", "types": ["*"]})
        );
        let anew = put("--any --deployment d --allow-private=false", &before);
        assert_eq!(anew["filter"], json!({"deployment": "d"}));
        assert_eq!(anew["allowPrivate"], false);
        let first = put("--allow-private", &Value::Null);
        assert_eq!(first["filter"], json!({}));
        assert_eq!(first["allowPrivate"], true);
    }
}
