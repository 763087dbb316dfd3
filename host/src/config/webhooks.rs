//! The section `webhooks`: where messages may go besides the world.

use nestor_webhook::Allowed;

use super::document::{Node, Problems, Section};

pub(super) const WEBHOOKS: &[&str] = &["allow_private"];
/// A network has fewer; whoever needs more names a range.
const MAX_ALLOWED: usize = 100;

/// Reads the section.
pub(super) fn webhooks(node: &Node, problems: &mut Problems) -> Allowed {
    let mut allowed = Allowed::default();
    let Some(section) = Section::new(node, "webhooks", WEBHOOKS, problems) else {
        return allowed;
    };
    let entries = section.read("allow_private", problems, |node| match node.list()? {
        entries if entries.len() > MAX_ALLOWED => {
            Err(format!("has more than {MAX_ALLOWED} entries; name ranges"))
        }
        entries => Ok(entries),
    });
    for (place, entry) in entries.unwrap_or_default().iter().enumerate() {
        let added = entry.text().and_then(|text| allowed.add(text));
        if let Err(problem) = added {
            let at = format!("{}[{place}]", section.path("allow_private"));
            problems.add(entry.line, at, problem);
        }
    }
    allowed
}
