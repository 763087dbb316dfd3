//! What is wrong with a request, where, and what to do.

use serde::{Deserialize, Serialize};

/// The most violations one answer carries: enough to fix a request in one go,
/// and a bound on what a hostile request makes the host say.
pub const MAX_VIOLATIONS: usize = 100;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Stable, machine-readable; each has a page in `docs/errors/`.
    pub code: ViolationCode,
    /// JSON pointer (RFC 6901) into the request.
    pub pointer: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Violation {
    /// A violation at a JSON pointer.
    pub fn new(
        code: ViolationCode,
        pointer: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),* $(,)?) => {
        /// The kinds of violation, stable across versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ViolationCode { $($(#[$doc])* #[serde(rename = $code)] $variant),* }
        impl ViolationCode {
            /// Every code, for documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The code as it stands in an answer.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $code),* } }
        }
    };
}

codes! {
    /// The text is not JSON.
    MalformedJson = "malformed-json",
    /// A field that the API does not know.
    UnknownField = "unknown-field",
    /// A field that must be there is not.
    MissingField = "missing-field",
    /// A value of the wrong JSON type.
    WrongType = "wrong-type",
    /// A name that is not one.
    InvalidName = "invalid-name",
    /// A value outside what is allowed.
    InvalidValue = "invalid-value",
    /// More of something than the host accepts.
    LimitExceeded = "limit-exceeded",
    /// Two resources of one name.
    DuplicateResource = "duplicate-resource",
    /// A catalogRef that is not `name:version`.
    InvalidCatalogRef = "invalid-catalog-ref",
    /// No such definition, or no version that matches.
    UnknownCatalogRef = "unknown-catalog-ref",
    /// No such engine.
    UnknownEngine = "unknown-engine",
    /// The definition cannot be run by that engine.
    EngineNotAllowed = "engine-not-allowed",
    /// A dependency names a resource that is not in the deployment.
    UnknownDependency = "unknown-dependency",
    /// The dependencies form a cycle.
    DependencyCycle = "dependency-cycle",
    /// A `${…}` that is not a reference.
    InvalidReference = "invalid-reference",
    /// A reference to a resource that is not in the deployment.
    UnknownResource = "unknown-resource",
    /// A reference to an output the definition does not declare.
    UnknownOutput = "unknown-output",
    /// The output's type is not what the consumer's schema accepts.
    ReferenceType = "reference-type",
    /// The config does not satisfy the definition's schema.
    ConfigSchema = "config-schema",
    /// The engine refused the resource.
    EngineRefused = "engine-refused",
    /// The deployment exists in another environment or for another composer.
    ImmutableField = "immutable-field",
    /// A sensitive output would be committed to Git.
    SensitiveInGit = "sensitive-in-git",
    /// Two resources, or their definitions, exclude each other.
    Incompatible = "incompatible",
    /// Another resource is the same real thing.
    SameThing = "same-thing",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test reads the pages, not the core"
    )]
    fn every_code_has_a_page() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/errors");
        for code in ViolationCode::ALL {
            let page = pages.join(format!("{}.md", code.as_str()));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(
                text.starts_with(&format!("# {}\n", code.as_str())),
                "{} must begin with its code as a heading",
                page.display()
            );
            assert!(
                text.to_lowercase().contains("what to do"),
                "{} must say what to do",
                page.display()
            );
        }
    }

    #[test]
    fn codes_are_words_with_hyphens() {
        for code in ViolationCode::ALL {
            let text = code.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{text}"
            );
            assert_eq!(serde_json::to_value(code).unwrap(), text);
        }
    }
}
