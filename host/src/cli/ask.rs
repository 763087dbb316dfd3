//! What a person says at the terminal before something is done.

use std::io::Write;

use super::{Failure, Out};

/// Whether the person at the terminal says yes. The question goes to standard
/// error: standard output is for answers.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|e| Failure::local(format!("standard input cannot be read: {e}")))?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

impl Out {
    /// Writes what a person looks at before they say yes: where they see it, and
    /// never where a program expects the answer.
    pub(super) fn look_at(&self, text: &str) -> Result<(), Failure> {
        let seen = self.is_terminal() || !self.asks();
        if self.format == super::Format::Table && seen {
            return self.raw(text);
        }
        let _ = write!(std::io::stderr(), "{text}");
        Ok(())
    }
}
