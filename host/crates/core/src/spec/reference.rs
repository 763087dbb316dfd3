//! References in config texts: `${resources.database.outputs.endpoint}`.

use std::fmt;
use std::str::FromStr;

use crate::ids::{OutputName, ResourceName};
use crate::text::shortened;

/// Keys and indexes behind an output. Deeper documents are not walked by hand.
pub const MAX_REFERENCE_PATH: usize = 16;
/// References in one text; a text with more is a program, not a config.
pub const MAX_REFERENCES_PER_TEXT: usize = 64;

/// What a `${…}` stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// `${resources.<resource>.outputs.<output>}`, then keys and indexes into the value.
    Output {
        /// Whose output.
        resource: ResourceName,
        /// Which one.
        output: OutputName,
        /// `a.0.b` behind it: keys of objects and indexes of arrays.
        path: Vec<String>,
    },
    /// `${environment}`
    Environment,
    /// `${deployment.id}`
    DeploymentId,
    /// `${deployment.composer}`
    Composer,
    /// `${deployment.revision}`: a number.
    Revision,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands, escapes undone; never empty, never two in a row.
    Literal(String),
    /// A value goes here.
    Reference(Reference),
}

/// A text taken apart. Printing and parsing again gives the same template.
///
/// A literal `$` right before a reference cannot be written, because `$${`
/// is the escape for `${`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a text is not a template; `at` is a byte offset into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at character {at})")]
pub struct TemplateError {
    /// Counted in characters from 1.
    pub at: usize,
    /// What is wrong and what to do.
    pub problem: String,
}

const FORMS: &str = "known are ${resources.<name>.outputs.<output>}, ${environment}, ${deployment.id}, \
                     ${deployment.composer} and ${deployment.revision}; write $${ for a literal ${";

impl Template {
    /// Whether a text holds anything but literal text; cheap, for skipping most texts.
    #[must_use]
    pub fn has_markup(text: &str) -> bool {
        text.contains("${")
    }

    /// Takes a text apart.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut references = 0;
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(inner) = rest.strip_prefix("${") {
                let at = text[..text.len() - rest.len()].chars().count() + 1;
                let error = |problem: String| TemplateError { at, problem };
                let Some(end) = inner.find('}') else {
                    return Err(error(format!("the ${{ has no closing }}; {FORMS}")));
                };
                references += 1;
                if references > MAX_REFERENCES_PER_TEXT {
                    return Err(error(format!(
                        "a text may hold at most {MAX_REFERENCES_PER_TEXT} references"
                    )));
                }
                let reference = inner[..end].parse().map_err(error)?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Reference(reference));
                rest = &inner[end + 1..];
            } else {
                literal.push('$');
                rest = &rest[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The pieces in order; empty for the empty text.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The reference that the text consists of, if it is exactly one: then the
    /// value keeps its JSON type.
    #[must_use]
    pub fn whole(&self) -> Option<&Reference> {
        match self.parts.as_slice() {
            [Part::Reference(reference)] => Some(reference),
            _ => None,
        }
    }

    /// Every reference in order, repeated ones too.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Literal(_) => None,
        })
    }
}

impl FromStr for Reference {
    type Err = String;

    /// Parses what stands between `${` and `}`.
    fn from_str(inner: &str) -> Result<Self, String> {
        let inner = inner.trim_matches(' ');
        let segments: Vec<&str> = inner.splitn(MAX_REFERENCE_PATH + 6, '.').collect();
        match segments.as_slice() {
            ["environment"] => Ok(Self::Environment),
            ["deployment", "id"] => Ok(Self::DeploymentId),
            ["deployment", "composer"] => Ok(Self::Composer),
            ["deployment", "revision"] => Ok(Self::Revision),
            ["resources", resource, "outputs", output, path @ ..] => {
                if path.len() > MAX_REFERENCE_PATH {
                    return Err(format!(
                        "at most {MAX_REFERENCE_PATH} keys may stand behind an output"
                    ));
                }
                let resource = ResourceName::new(resource).map_err(|e| e.to_string())?;
                let output = OutputName::new(output).map_err(|e| e.to_string())?;
                if let Some(bad) = path.iter().find(|key| !is_key(key)) {
                    return Err(format!(
                        "{:?} is not a key or index: use letters, digits, '_' and '-'",
                        shortened(bad, 80)
                    ));
                }
                Ok(Self::Output {
                    resource,
                    output,
                    path: path.iter().map(|&key| key.to_owned()).collect(),
                })
            }
            ["resources", ..] => Err(format!(
                "{:?} is not complete: write ${{resources.<name>.outputs.<output>}}",
                shortened(inner, 80)
            )),
            _ => Err(format!(
                "{:?} is not a reference: {FORMS}",
                shortened(inner, 80)
            )),
        }
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output {
                resource,
                output,
                path,
            } => {
                write!(f, "resources.{resource}.outputs.{output}")?;
                path.iter().try_for_each(|key| write!(f, ".{key}"))
            }
            Self::Environment => f.write_str("environment"),
            Self::DeploymentId => f.write_str("deployment.id"),
            Self::Composer => f.write_str("deployment.composer"),
            Self::Revision => f.write_str("deployment.revision"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(&text.replace("${", "$${")),
            Part::Reference(reference) => write!(f, "${{{reference}}}"),
        })
    }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
