//! `server.hosts`: names under which the host is asked for.

use super::document::{Problems, Section};

/// A proxy or a cluster gives it a handful.
const MAX_HOSTS: usize = 100;
/// As long as DNS allows.
const MAX_NAME: usize = 253;

/// Reads the list.
pub(super) fn hosts(section: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let entries = section.read("hosts", problems, |node| match node.list()? {
        entries if entries.len() > MAX_HOSTS => Err(format!("has more than {MAX_HOSTS} names")),
        entries => Ok(entries),
    });
    let mut names = Vec::new();
    for (place, entry) in entries.unwrap_or_default().iter().enumerate() {
        match entry.text().and_then(name) {
            Ok(name) => names.push(name),
            Err(problem) => {
                let at = format!("{}[{place}]", section.path("hosts"));
                problems.add(entry.line, at, problem);
            }
        }
    }
    names
}

fn name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let whole = name.split('.').all(|label| !label.is_empty());
    if whole && name.len() <= MAX_NAME && name.chars().all(letter) {
        Ok(name)
    } else {
        Err(format!(
            "{text:?} is not a host's name; write it without scheme, port and path, as nestor.example.com"
        ))
    }
}
