//! Which events a subscription wants.

use serde::{Deserialize, Serialize};

use crate::ids::{ComposerId, DeploymentId, EnvironmentName};

/// Stands before every type on the wire: CloudEvents wants the reversed domain
/// of whoever defines it.
pub const TYPE_PREFIX: &str = "dev.nestor.";
/// Types in one filter; there are fewer than that.
pub const MAX_TYPES: usize = 50;
/// What a type can be about.
const SUBJECTS: [&str; 2] = ["deployment", "resource"];
/// Longer than the longest type.
const MAX_PATTERN: usize = 64;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// The deployment.
    pub deployment: &'a DeploymentId,
    /// Whose it is.
    pub composer: &'a ComposerId,
    /// Where it is.
    pub environment: &'a EnvironmentName,
}

/// Which events; what is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Only of this composer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composer: Option<ComposerId>,
    /// Only in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Only of this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// Any of these types.
    pub types: Vec<Pattern>,
}

impl Default for Filter {
    /// Every event of deployments, none of single resources.
    fn default() -> Self {
        Self {
            composer: None,
            environment: None,
            deployment: None,
            types: vec![Pattern("deployment.*".into())],
        }
    }
}

impl Filter {
    /// Whether it wants an event of that type, written without [`TYPE_PREFIX`].
    #[must_use]
    pub fn wants(&self, about: About<'_>, event_type: &str) -> bool {
        self.composer.as_ref().is_none_or(|c| c == about.composer)
            && self
                .environment
                .as_ref()
                .is_none_or(|e| e == about.environment)
            && self
                .deployment
                .as_ref()
                .is_none_or(|d| d == about.deployment)
            && self.types.iter().any(|p| p.matches(event_type))
    }
}

/// A type of event, or all of them that begin so: `deployment.ready`,
/// `resource.*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Parses a pattern, with or without [`TYPE_PREFIX`].
    ///
    /// # Errors
    /// How to write one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let short = text.strip_prefix(TYPE_PREFIX).unwrap_or(text);
        let good = short == "*"
            || short.len() <= MAX_PATTERN
                && short.split_once('.').is_some_and(|(subject, what)| {
                    let word = |c: char| c.is_ascii_lowercase() || c == '_';
                    SUBJECTS.contains(&subject)
                        && (what == "*" || !what.is_empty() && what.chars().all(word))
                });
        if good {
            Ok(Self(short.to_owned()))
        } else {
            Err(
                "must be a type such as \"deployment.ready\" or \"resource.failed\", \"deployment.*\", \"resource.*\" or \"*\""
                    .into(),
            )
        }
    }

    /// As it was written, without [`TYPE_PREFIX`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn matches(&self, event_type: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => event_type.starts_with(start),
            None => self.0 == event_type,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, wanted, not) in [
            ("deployment.ready", "deployment.ready", "deployment.failed"),
            (
                "dev.nestor.deployment.*",
                "deployment.failed",
                "resource.failed",
            ),
            ("resource.*", "resource.started", "deployment.ready"),
            ("*", "resource.started", ""),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(pattern.matches(wanted), "{pattern:?} {wanted}");
            assert!(not.is_empty() || !pattern.matches(not), "{pattern:?} {not}");
        }
        for bad in [
            "",
            "ready",
            "deployment.",
            "deployment.Re",
            "engine.*",
            "deployment.re*",
            "deployment.a.b",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_part_of_a_filter_restricts() {
        let (id, composer, environment) = (
            DeploymentId::new("web").unwrap(),
            ComposerId::new("alpha").unwrap(),
            EnvironmentName::new("production").unwrap(),
        );
        let about = About {
            deployment: &id,
            composer: &composer,
            environment: &environment,
        };
        let all = Filter::default();
        assert!(all.wants(about, "deployment.ready"));
        assert!(!all.wants(about, "resource.ready"), "off unless asked for");
        let other = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.wants(about, "deployment.ready")
        };
        assert!(!other(|f| f.composer = ComposerId::new("beta").ok()));
        assert!(!other(|f| f.environment = EnvironmentName::new("dev").ok()));
        assert!(!other(|f| f.deployment = DeploymentId::new("api").ok()));
        assert!(!other(|f| f.types = vec![Pattern("resource.*".into())]));
        assert!(other(|f| f.deployment = DeploymentId::new("web").ok()));
    }
}
