//! The text: what goes wrong the same way stands together.

use std::fmt::Write as _;

use crate::case::{Ending, Scenario, run, word};
use crate::example::Example;
use crate::fault::{Kind, Point};
use crate::rules::References;

/// How it ended, as far as the table tells; by policy.
type Endings = Vec<(&'static str, Ending)>;
/// Policies, and how it ended with them.
type Lines<'a> = Vec<(Vec<&'a str>, String)>;

pub(crate) fn of(example: &Example) -> String {
    let mut text = format!(
        "{}: whatever goes wrong at every step, how it ends\n\n\
         what goes wrong (how often the operation was asked for, if not once)\n\
         \x20   policy    status        each resource   | what is left, and of which revision   | what a person does, and what comes of it\n",
        example.id
    );
    let mut reasons = Vec::new();
    for scenario in Scenario::ALL {
        let references = References::of(example, scenario);
        write!(text, "\n\n== {} ==\n", scenario.title()).expect("text");
        for point in scenario.points(example) {
            let undone = if point.undo { "undo: " } else { "" };
            write!(text, "\n-- {undone}{} --\n", point.name()).expect("text");
            step(
                &mut text,
                &mut reasons,
                example,
                scenario,
                &references,
                &point,
            );
        }
    }
    text.push_str("\n\n== What is said ==\n\n");
    for (what, reason) in reasons {
        writeln!(text, "{what:<34}{reason}").expect("text");
    }
    text
}

/// Each kind of failure at one place.
fn step(
    text: &mut String,
    reasons: &mut Vec<(&'static str, String)>,
    example: &Example,
    scenario: Scenario,
    references: &References,
    point: &Point,
) {
    let mut groups: Vec<(Vec<String>, Lines<'_>)> = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.fits(point.at)) {
        let mut endings: Endings = Vec::new();
        for policy in scenario.policies() {
            let what = format!(
                "{:?}, {}, {}, {policy}",
                scenario,
                point.name(),
                kind.name()
            );
            // Shown when one of them fails.
            println!("{what}");
            let ending = run(example, scenario, policy, Some((point, kind)));
            references.check(&ending, &what);
            endings.push((policy, ending));
        }
        let said = endings.iter().find_map(|(_, e)| e.reason.clone());
        let known = reasons.iter().any(|(what, _)| *what == kind.name());
        if let Some(said) = said.filter(|_| !known) {
            reasons.push((kind.name(), said));
        }
        let asked = endings.iter().map(|(_, e)| e.asked).max().unwrap_or(0);
        let name = match asked {
            0 | 1 => kind.name().to_owned(),
            asked => format!("{} ({asked}×)", kind.name()),
        };
        let lines = by_policy(example, references, &endings);
        match groups.iter_mut().find(|(_, there)| *there == lines) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], lines)),
        }
    }
    for (names, lines) in groups {
        writeln!(text, "{}", names.join(" · ")).expect("text");
        for (policies, line) in lines {
            let policies = if policies.len() == scenario.policies().len() {
                "any".to_owned()
            } else {
                policies.join(", ")
            };
            writeln!(text, "    {policies:<18}{line}").expect("text");
        }
    }
}

/// Policies that make no difference together.
fn by_policy<'a>(
    example: &Example,
    references: &References,
    endings: &[(&'a str, Ending)],
) -> Lines<'a> {
    let mut lines: Lines<'_> = Vec::new();
    for (policy, ending) in endings {
        let line = line(example, references, ending);
        match lines.iter_mut().find(|(_, there)| *there == line) {
            Some((policies, _)) => policies.push(policy),
            None => lines.push((vec![policy], line)),
        }
    }
    lines
}

fn line(example: &Example, references: &References, ending: &Ending) -> String {
    let resources: Vec<String> = ending
        .resources
        .iter()
        .map(|(name, status)| format!("{name} {status}"))
        .collect();
    let left: Vec<String> = example
        .resources
        .iter()
        .filter_map(|r| {
            Some(format!(
                "{}@{}",
                r.name,
                revision(references, &r.name, ending)?
            ))
        })
        .collect();
    let left = if left.is_empty() {
        "nothing".to_owned()
    } else {
        left.join(" ")
    };
    let then = match ending.retries.as_slice() {
        [] => String::new(),
        retries => {
            let retries: Vec<String> = retries
                .iter()
                .map(|s| format!("retry → {}", word(s)))
                .collect();
            format!(" | {}", retries.join(", "))
        }
    };
    format!(
        "{:<13} {} | {left}{then}",
        word(&ending.status),
        resources.join(", ")
    )
}

/// Which revision a thing is of.
fn revision(references: &References, name: &str, ending: &Ending) -> Option<String> {
    let thing = ending.things.get(name)?;
    let revision = references
        .revisions
        .iter()
        .rposition(|r| r.get(name) == Some(thing));
    Some(revision.map_or("?".to_owned(), |r| r.to_string()))
}
