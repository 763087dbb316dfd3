//! A deployment on its way: drawn in place on a terminal, told line by line
//! elsewhere.

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use futures::StreamExt;
use nestor_client::{
    Client, Deployment, DeploymentStatus, Event, EventOptions, Reply, Resource, ResourceStatus,
};

use super::out::{Cell, Colour, Table, one_line};
use super::{Code, Failure, Format, Out};

/// A terminal is drawn anew no more often than this.
const REDRAW: Duration = Duration::from_millis(150);
/// And at least this often, because not every change is an event.
const REFRESH: Duration = Duration::from_secs(2);
/// Rows that a table of resources may take, when the terminal does not say.
const HEIGHT: usize = 24;

/// What to wait for.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// Events of earlier revisions are history.
    pub(crate) revision: u64,
    /// So are events up to this time (the deployment's `updatedAt` before the
    /// request, so by the server's own clock).
    pub(crate) since: Option<String>,
    /// Where it shall end.
    pub(crate) aim: Aim,
    /// Show the engines' log lines too.
    pub(crate) logs: bool,
    /// None: as long as it takes.
    pub(crate) timeout: Option<Duration>,
}

/// Where a deployment shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// As its revision says.
    Ready,
    /// Gone.
    Deleted,
    /// Still, wherever that is.
    Stopped,
}

impl Goal {
    /// Whether nothing more will come of itself.
    fn is_over(&self, deployment: &Deployment) -> bool {
        let waits = deployment.queued_revision.is_some();
        // A deletion that was asked for begins a moment later; one that was
        // refused left everything as it was.
        let untouched = self
            .since
            .as_ref()
            .is_none_or(|since| deployment.updated_at <= *since);
        let not_yet =
            self.aim == Aim::Deleted && deployment.status == DeploymentStatus::Ready && untouched;
        deployment.status.is_settled() && !waits && !not_yet
    }

    /// Whether it is drawn in place; log lines can only be told one by one.
    pub(crate) fn draws(&self, out: &Out) -> bool {
        out.format == Format::Table && out.is_terminal() && !self.logs
    }

    /// Whether it ended where it should.
    fn is_reached(&self, status: DeploymentStatus) -> bool {
        match self.aim {
            Aim::Ready => status == DeploymentStatus::Ready,
            Aim::Deleted => status == DeploymentStatus::Deleted,
            Aim::Stopped => !matches!(status, DeploymentStatus::Failed | DeploymentStatus::Stuck),
        }
    }
}

/// Follows a deployment until it settles; writes how it goes, and how it ended.
pub(crate) async fn follow(
    id: &str,
    goal: Goal,
    client: &Client,
    out: &Out,
) -> Result<Code, Failure> {
    let work = run(id, &goal, client, out);
    let limit = goal.timeout.unwrap_or(Duration::MAX);
    let settled = tokio::select! {
        settled = work => settled?,
        () = tokio::time::sleep(limit) => return Err(too_late(id, limit, client).await?),
        _ = tokio::signal::ctrl_c() => {
            out.note(&format!("the deployment goes on: nestor watch {id}"));
            return Ok(Code::Interrupted);
        }
    };
    if goal.aim == Aim::Ready && settled.revision < goal.revision {
        let text = format!(
            "revision {} of {id} was not applied: it was refused, or skipped for a later one; {id} is {} with revision {}",
            goal.revision, settled.status, settled.revision
        );
        return Err(Failure::new(Code::Failed, text));
    }
    if goal.is_reached(settled.status) {
        if goal.aim != Aim::Ready && !goal.draws(out) {
            out.line(&format!("{id} is {}", settled.status))?;
        }
        return Ok(Code::Done);
    }
    let reason = settled.reason.as_deref().map(one_line);
    let reason = reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    let mut text = format!("{id} is {}{reason}", settled.status);
    for resource in &settled.resources {
        if matches!(
            resource.status,
            ResourceStatus::Failed | ResourceStatus::Stuck
        ) {
            let why = resource.reason.as_deref().map(one_line).unwrap_or_default();
            text.push_str(&format!("\n  {} {}: {why}", resource.name, resource.status));
        }
    }
    Err(Failure::new(Code::Failed, text))
}

/// Why nothing came of the waiting.
async fn too_late(id: &str, limit: Duration, client: &Client) -> Result<Failure, Failure> {
    let limit = nestor_core::units::show_duration(limit);
    let deployment = client.deployment(id).await?;
    Ok(if deployment.status == DeploymentStatus::AwaitingApproval {
        let text = format!(
            "nobody has approved it within {limit}; it still waits for approval\n{}",
            to_approve(&deployment)
        );
        Failure::new(Code::Unapproved, text)
    } else {
        let text = format!("{id} has not settled within {limit}; it goes on: `nestor watch {id}`");
        Failure::new(Code::TooLate, text)
    })
}

/// What to do with a plan that waits.
fn to_approve(deployment: &Deployment) -> String {
    let id = &deployment.id;
    let plan = deployment.approval.as_ref();
    let plan = plan.map_or_else(String::new, |approval| format!(" · plan {}", approval.plan));
    one_line(&format!(
        "approve: nestor approve {id} · refuse: nestor cancel {id}{plan}"
    ))
}

async fn run(
    id: &str,
    goal: &Goal,
    client: &Client,
    out: &Out,
) -> Result<Reply<Deployment>, Failure> {
    let draws = goal.draws(out);
    let mut screen = Screen::default();
    let mut teller = Teller {
        goal,
        seen: HashMap::new(),
    };
    let mut after = None;
    loop {
        let options = EventOptions {
            after,
            ..EventOptions::default()
        };
        let mut events = client.events(id, options);
        let mut due = Instant::now();
        let mut changed = true;
        loop {
            if draws && changed && Instant::now() >= due {
                screen.draw(&client.deployment(id).await?.value, out)?;
                (changed, due) = (false, Instant::now() + REDRAW);
            }
            let pause = if changed {
                due.saturating_duration_since(Instant::now())
            } else {
                REFRESH
            };
            let next = if draws {
                or_pause(events.next(), pause).await
            } else {
                Some(events.next().await)
            };
            match next {
                None => changed = true,
                Some(None) => break,
                Some(Some(event)) => {
                    let event = event?;
                    after = event.id.or(after);
                    changed = true;
                    match out.format {
                        Format::Table if !draws => teller.tell(&event, out)?,
                        Format::Json | Format::Yaml if teller.wants(&event) => {
                            out.line(&event.raw.to_string())?
                        }
                        Format::Table | Format::Json | Format::Yaml => {}
                    }
                }
            }
        }
        let deployment = client.deployment(id).await?;
        if draws {
            screen.draw(&deployment, out)?;
        }
        if goal.is_over(&deployment) {
            return Ok(deployment);
        }
        // Settled on the way to somewhere else: look again soon.
        tokio::time::sleep(REDRAW).await;
    }
}

/// What the future gives, or nothing when that takes too long.
async fn or_pause<T>(future: impl Future<Output = T>, pause: Duration) -> Option<T> {
    tokio::time::timeout(pause, future).await.ok()
}

/// Events as lines.
struct Teller<'a> {
    goal: &'a Goal,
    /// By resource: what was said last of its progress.
    seen: HashMap<String, String>,
}

impl Teller<'_> {
    fn wants(&self, event: &Event) -> bool {
        event.revision >= self.goal.revision
            && self
                .goal
                .since
                .as_deref()
                .is_none_or(|since| event.at.as_str() > since)
            && (event.kind != "log" || self.goal.logs)
    }

    fn tell(&mut self, event: &Event, out: &Out) -> Result<(), Failure> {
        if !self.wants(event) {
            return Ok(());
        }
        let resource = event.resource.as_deref().unwrap_or("");
        let message = one_line(&event.message);
        let message = match event
            .data
            .get("percent")
            .and_then(serde_json::Value::as_u64)
        {
            Some(percent) if event.kind == "progress" => format!("{percent}% {message}"),
            _ => message,
        };
        if event.kind == "progress"
            && self
                .seen
                .insert(resource.to_owned(), message.clone())
                .as_ref()
                == Some(&message)
        {
            return Ok(());
        }
        let time = clock(&event.at);
        let status = event
            .status
            .map(|status| format!(" → {status}"))
            .unwrap_or_default();
        let place = if resource.is_empty() { "-" } else { resource };
        out.line(&format!(
            "{time}  {:<20}  {:<10}  {message}{status}",
            one_line(place),
            one_line(&event.kind)
        ))
    }
}

/// What was drawn last, to draw over it.
#[derive(Default)]
struct Screen {
    lines: usize,
    last: String,
}

impl Screen {
    fn draw(&mut self, deployment: &Deployment, out: &Out) -> Result<(), Failure> {
        let (width, height) = match terminal_size::terminal_size() {
            Some((width, height)) => (usize::from(width.0), usize::from(height.0)),
            None => (80, HEIGHT),
        };
        let text = frame(deployment, out, width, height);
        if text == self.last {
            return Ok(());
        }
        let up = if self.lines > 0 {
            format!("\x1b[{}A", self.lines)
        } else {
            String::new()
        };
        out.raw(&format!("{up}\r\x1b[J{text}"))?;
        self.lines = text.lines().count();
        self.last = text;
        Ok(())
    }
}

fn frame(deployment: &Deployment, out: &Out, width: usize, height: usize) -> String {
    let head = headline(deployment, out);
    // One line for the head of the table, one for "and more", one for the prompt.
    let room = height.saturating_sub(head.lines().count() + 3).max(1);
    let all = &deployment.resources;
    let shown: Vec<&Resource> = if all.len() <= room {
        all.iter().collect()
    } else {
        let mut sorted: Vec<&Resource> = all.iter().collect();
        sorted.sort_by_key(|resource| urgency(resource.status));
        sorted.truncate(room);
        sorted
    };
    let mut text = format!(
        "{head}{}",
        resources(shown.iter().copied(), true).show(out, Some(width.max(20) - 1))
    );
    if shown.len() < all.len() {
        let more = all.len() - shown.len();
        text.push_str(&out.paint(Colour::Dim, &format!("and {more} more, of {}", all.len())));
        text.push('\n');
    }
    text
}

/// What a person wants to see first.
fn urgency(status: ResourceStatus) -> u8 {
    match status {
        ResourceStatus::Failed | ResourceStatus::Stuck => 0,
        ResourceStatus::InProgress | ResourceStatus::RollingBack | ResourceStatus::Deleting => 1,
        ResourceStatus::Pending | ResourceStatus::Blocked | ResourceStatus::Unknown => 2,
        ResourceStatus::Skipped => 3,
        ResourceStatus::Ready | ResourceStatus::RolledBack | ResourceStatus::Deleted => 4,
    }
}

/// `web-app  in_progress (deploying) 50%  revision 1  production  team-web`
pub(crate) fn headline(deployment: &Deployment, out: &Out) -> String {
    let settled = deployment.status.is_settled();
    let status = out.paint(
        deployment_colour(deployment.status),
        deployment.status.as_str(),
    );
    let doing = if settled {
        String::new()
    } else {
        format!(
            " ({}) {}",
            one_line(&deployment.phase),
            one_line(&deployment.progress)
        )
    };
    let queued = deployment
        .queued_revision
        .map(|n| format!(", {n} waits"))
        .unwrap_or_default();
    let mut text = format!(
        "{}  {status}{doing}  revision {}{queued}  {}  {}\n",
        out.paint(Colour::Bold, &one_line(&deployment.id)),
        deployment.revision,
        one_line(&deployment.environment),
        one_line(&deployment.composer),
    );
    if let Some(reason) = &deployment.reason {
        text.push_str(&format!("{}\n", one_line(reason)));
    }
    if deployment.status == DeploymentStatus::AwaitingApproval {
        text.push_str(&format!("{}\n", to_approve(deployment)));
    }
    if !deployment.labels.is_empty() {
        let labels = deployment.labels.iter();
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.push_str(&format!("{}\n", one_line(&labels.join(" "))));
    }
    if let Some(at) = &deployment.expires_at {
        text.push_str(&format!("expires at {}\n", one_line(at)));
    }
    text
}

/// The resources as a table; `brief` leaves room for the messages.
pub(crate) fn resources<'a>(all: impl Iterator<Item = &'a Resource>, brief: bool) -> Table {
    let mut table = if brief {
        Table::new(["NAME", "STATUS", "PROGRESS", "ENGINE", "MESSAGE"])
    } else {
        Table::new([
            "NAME",
            "STATUS",
            "PROGRESS",
            "ENGINE",
            "DEFINITION",
            "MESSAGE",
        ])
    };
    for resource in all {
        let message = message(resource);
        let name = Cell::from(resource.name.as_str());
        let status = Cell::of(resource.status.as_str(), resource_colour(resource.status));
        let progress = resource.progress.as_deref().unwrap_or("").into();
        let engine = resource.engine.as_str().into();
        if brief {
            table.row([name, status, progress, engine, message.into()]);
        } else {
            let definition = resource.catalog_ref.as_str().into();
            table.row([name, status, progress, engine, definition, message.into()]);
        }
    }
    table
}

/// Why a resource is where it is, how often it was tried, and when again.
fn message(resource: &Resource) -> String {
    let mut says = Vec::new();
    match &resource.reason {
        Some(reason) => says.push(reason.clone()),
        None if resource.blocked_by.is_empty() => {}
        None => says.push(format!("waits for {}", resource.blocked_by.join(", "))),
    }
    let attempt = format!("attempt {}", resource.attempts);
    // The host's own words for what is under way end with it already.
    let said = says.iter().any(|reason| reason.ends_with(&attempt));
    if resource.attempts > 1 && !said {
        says.push(match urgency(resource.status) {
            1 | 2 => attempt,
            _ => format!("after {} attempts", resource.attempts),
        });
    }
    if let Some(at) = &resource.next_attempt_at {
        says.push(format!("again at {}", clock(at)));
    }
    says.join(", ")
}

/// The time of day of an RFC 3339 time.
fn clock(at: &str) -> &str {
    at.get(11..19).unwrap_or(at)
}

pub(crate) fn deployment_colour(status: DeploymentStatus) -> Colour {
    match status {
        DeploymentStatus::Ready => Colour::Good,
        DeploymentStatus::Deleted => Colour::Dim,
        status if status.is_failure() => Colour::Bad,
        _ => Colour::Busy,
    }
}

pub(crate) fn resource_colour(status: ResourceStatus) -> Colour {
    match urgency(status) {
        0 => Colour::Bad,
        1 => Colour::Busy,
        2 | 3 => Colour::Dim,
        _ if status == ResourceStatus::Ready => Colour::Good,
        _ => Colour::Dim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(status: &str, resources: usize) -> Deployment {
        let resources: Vec<_> = (0..resources)
            .map(|i| {
                serde_json::json!({"name": format!("r{i}"), "status": if i == 7 { "failed" } else { "ready" },
                    "engine": "helm", "catalogRef": "a:1.0.0", "reason": "a reason that is quite long indeed"})
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "id": "web-app", "status": status, "phase": "deploying", "revision": 2, "composer": "team", "environment": "prod",
            "progress": "50%", "resources": resources, "createdAt": "", "updatedAt": "",
        }))
        .unwrap()
    }

    #[test]
    fn a_frame_fits_its_terminal_and_shows_what_failed_first() {
        let out = Out::plain();
        for (width, height) in [(80, 24), (20, 5), (200, 100)] {
            let text = frame(&deployment("in_progress", 50), &out, width, height);
            assert!(text.lines().count() < height.max(6), "{height}:\n{text}");
            assert!(
                text.lines()
                    .skip(1)
                    .all(|line| line.chars().count() < width.max(30)),
                "{width}:\n{text}"
            );
            if height < 50 {
                assert!(text.lines().nth(2).unwrap().starts_with("r7 "), "{text}");
                assert!(text.contains("more, of 50"));
            }
        }
    }

    #[test]
    fn messages_say_why_how_often_and_when_again() {
        for (resource, says) in [
            (
                serde_json::json!({"status": "in_progress", "attempts": 2, "reason": "applying it, attempt 2"}),
                "applying it, attempt 2",
            ),
            (
                serde_json::json!({"status": "in_progress", "attempts": 2, "reason": "no quota", "nextAttemptAt": "2026-01-01T10:20:30.456Z"}),
                "no quota, attempt 2, again at 10:20:30",
            ),
            (
                serde_json::json!({"status": "ready", "attempts": 2}),
                "after 2 attempts",
            ),
            (serde_json::json!({"status": "ready", "attempts": 1}), ""),
            (
                serde_json::json!({"status": "failed", "attempts": 3, "reason": "no quota"}),
                "no quota, after 3 attempts",
            ),
            (
                serde_json::json!({"status": "blocked", "blockedBy": ["a", "b"]}),
                "waits for a, b",
            ),
        ] {
            let mut whole = serde_json::json!({"name": "a", "engine": "helm"});
            whole
                .as_object_mut()
                .unwrap()
                .extend(resource.as_object().unwrap().clone());
            let resource: Resource = serde_json::from_value(whole).unwrap();
            assert_eq!(message(&resource), says);
        }
    }

    #[test]
    fn a_plan_that_waits_says_what_to_do() {
        let mut waiting = deployment("awaiting_approval", 0);
        waiting.approval = serde_json::from_value(serde_json::json!(
            {"plan": "sha256:12", "revision": 2, "action": "apply", "requestedAt": ""}
        ))
        .unwrap();
        waiting.labels = [("tier".into(), "web".into())].into();
        expect_test::expect![[r#"
            web-app  awaiting_approval (deploying) 50%  revision 2  prod  team
            approve: nestor approve web-app · refuse: nestor cancel web-app · plan sha256:12
            tier=web
        "#]]
        .assert_eq(&headline(&waiting, &Out::plain()));
    }

    #[test]
    fn a_goal_waits_for_its_own_revision() {
        let goal = |revision, aim| Goal {
            revision,
            since: None,
            aim,
            logs: false,
            timeout: None,
        };
        for (revision, aim, status, over, reached) in [
            (2, Aim::Ready, "ready", true, true),
            // Revision 3 was refused: it is neither current nor queued.
            (3, Aim::Ready, "ready", true, true),
            (2, Aim::Ready, "rolling_back", false, false),
            (2, Aim::Ready, "rolled_back", true, false),
            (2, Aim::Ready, "deleted", true, false),
            (2, Aim::Deleted, "ready", false, false),
            (2, Aim::Deleted, "deleting", false, false),
            (2, Aim::Deleted, "deleted", true, true),
            (2, Aim::Deleted, "stuck", true, false),
            (2, Aim::Stopped, "cancelled", true, true),
            (2, Aim::Stopped, "cancelling", false, true),
        ] {
            let (goal, deployment) = (goal(revision, aim), deployment(status, 1));
            assert_eq!(goal.is_over(&deployment), over, "{aim:?} {status}");
            assert_eq!(
                goal.is_reached(deployment.status),
                reached,
                "{aim:?} {status}"
            );
        }
        let mut queued = deployment("ready", 1);
        queued.queued_revision = Some(3);
        assert!(!goal(3, Aim::Ready).is_over(&queued));
    }
}
