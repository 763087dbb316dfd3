//! The section `environments`: what holds where, whatever a deployment asks for.

use std::num::NonZeroU32;

use nestor_core::environment::{
    Approval, DriftAction, DriftPolicy, EnvironmentPolicy, Environments, MAX_CONCURRENCY,
    MAX_DRIFT_EVERY, MAX_ENVIRONMENTS, MIN_DRIFT_EVERY,
};
use nestor_core::ids::EnvironmentName;
use nestor_core::text::did_you_mean;
use nestor_core::units::{parse_duration, show_duration};

use super::document::{Entry, Node, Problems, Section};

pub(super) const ENVIRONMENT: &[&str] = &["approval", "drift", "concurrency"];
pub(super) const DRIFT: &[&str] = &["every", "action"];

/// Reads the section.
pub(super) fn environments(node: &Node, problems: &mut Problems) -> Environments {
    let mut all = Environments::default();
    let Some(section) = Section::any(node, "environments", problems) else {
        return all;
    };
    if section.entries().len() > MAX_ENVIRONMENTS {
        let message = format!("names more than {MAX_ENVIRONMENTS} environments");
        problems.add(section.line(), "environments", message);
        return all;
    }
    for entry in section.entries() {
        if let Some((name, policy)) = environment(entry, problems) {
            all.insert(name, policy);
        }
    }
    all
}

fn environment(
    entry: &Entry,
    problems: &mut Problems,
) -> Option<(EnvironmentName, EnvironmentPolicy)> {
    let path = format!("environments.{}", entry.key);
    let name = match EnvironmentName::new(&entry.key) {
        Ok(name) => name,
        Err(error) => {
            problems.add(entry.line, path, error.to_string());
            return None;
        }
    };
    let section = Section::new(&entry.value, path, ENVIRONMENT, problems)?;
    let words = [
        ("automatic", Approval::Automatic),
        ("required", Approval::Required),
    ];
    let approval = section.read("approval", problems, |node| one_of(node, &words));
    let drift = section
        .get("drift")
        .and_then(|entry| drift(entry, section.path("drift"), problems));
    let concurrency = section.read("concurrency", problems, |node| {
        u32::try_from(node.whole()?)
            .ok()
            .filter(|n| *n <= MAX_CONCURRENCY)
            .and_then(NonZeroU32::new)
            .ok_or_else(|| format!("must be 1 to {MAX_CONCURRENCY}"))
    });
    let policy = EnvironmentPolicy {
        approval: approval.unwrap_or_default(),
        drift,
        concurrency,
    };
    Some((name, policy))
}

fn drift(entry: &Entry, path: String, problems: &mut Problems) -> Option<DriftPolicy> {
    let section = Section::new(&entry.value, path, DRIFT, problems)?;
    let every = section.read("every", problems, |node| {
        match parse_duration(node.text()?)? {
            every if (MIN_DRIFT_EVERY..=MAX_DRIFT_EVERY).contains(&every) => Ok(every),
            _ => Err(format!(
                "must be {} to {}",
                show_duration(MIN_DRIFT_EVERY),
                show_duration(MAX_DRIFT_EVERY)
            )),
        }
    });
    if section.get("every").is_none() {
        let message = "is missing: how often to look, such as 1h";
        problems.add(entry.line, section.path("every"), message);
    }
    let words = [
        ("report", DriftAction::Report),
        ("remediate", DriftAction::Remediate),
    ];
    let action = section.read("action", problems, |node| one_of(node, &words));
    Some(DriftPolicy {
        every: every?,
        action: action.unwrap_or_default(),
    })
}

/// One of a few words.
fn one_of<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, String> {
    let text = node.text()?;
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meant)| *meant)
        .ok_or_else(|| {
            let hint = did_you_mean(text, known.iter().copied());
            format!("{text:?} is not one{hint} (known: {})", known.join(", "))
        })
}
