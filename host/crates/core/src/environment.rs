//! What holds in an environment, whatever a deployment asks for.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::EnvironmentName;

/// Environments that a platform may have policies for: far more than anyone
/// operates apart from each other.
pub const MAX_ENVIRONMENTS: usize = 1_000;
/// Operations at once in one environment: as many as a host makes calls.
pub const MAX_CONCURRENCY: u32 = 1_000;
/// Looking more often would keep engines busy with looking.
pub const MIN_DRIFT_EVERY: Duration = Duration::from_secs(60);
/// A month: who looks less often does not need a schedule.
pub const MAX_DRIFT_EVERY: Duration = Duration::from_secs(31 * 86_400);

/// The policies of a platform's environments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environments(BTreeMap<EnvironmentName, EnvironmentPolicy>);

impl Environments {
    /// The policy of an environment; of one that is not named, the default.
    #[must_use]
    pub fn get(&self, name: &EnvironmentName) -> &EnvironmentPolicy {
        static DEFAULT: EnvironmentPolicy = EnvironmentPolicy::DEFAULT;
        self.0.get(name).unwrap_or(&DEFAULT)
    }

    /// Its name as a label of metrics, which must not be without bound: whoever
    /// posts a deployment may invent environments.
    #[must_use]
    pub fn label(&self, name: &EnvironmentName) -> String {
        match self.0.contains_key(name) {
            true => name.to_string(),
            false => "other".to_owned(),
        }
    }

    /// Every environment that is named, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&EnvironmentName, &EnvironmentPolicy)> {
        self.0.iter()
    }

    /// Sets an environment's policy; answers the one that it had.
    pub fn insert(
        &mut self,
        name: EnvironmentName,
        policy: EnvironmentPolicy,
    ) -> Option<EnvironmentPolicy> {
        self.0.insert(name, policy)
    }
}

impl FromIterator<(EnvironmentName, EnvironmentPolicy)> for Environments {
    fn from_iter<I: IntoIterator<Item = (EnvironmentName, EnvironmentPolicy)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

/// What holds in one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentPolicy {
    /// Whether somebody looks at what would change before it does.
    pub approval: Approval,
    /// Whether what is deployed is compared with what is there.
    pub drift: Option<DriftPolicy>,
    /// Operations under way at once; none: as many as the host allows.
    pub concurrency: Option<NonZeroU32>,
}

impl EnvironmentPolicy {
    /// Of an environment that nobody said anything about.
    pub const DEFAULT: Self = Self {
        approval: Approval::Automatic,
        drift: None,
        concurrency: None,
    };
}

/// Whether somebody has to approve of what would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// A revision begins as soon as it can.
    #[default]
    Automatic,
    /// A revision that changes something waits until somebody approves its plan.
    Required,
}

impl Approval {
    /// The stricter of two: a deployment may ask for more than its environment
    /// does, never for less.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Automatic, Self::Automatic) => Self::Automatic,
            (Self::Required, _) | (_, Self::Required) => Self::Required,
        }
    }
}

/// How often what is deployed is compared with what is there, and what then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftPolicy {
    /// The time between two looks at one deployment.
    pub every: Duration,
    /// What to do with drift that was found.
    pub action: DriftAction,
}

/// What to do with drift that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftAction {
    /// Tell it.
    #[default]
    Report,
    /// Apply the current revision again.
    Remediate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_is_not_named_has_the_default() {
        let name = |text: &str| EnvironmentName::new(text).unwrap();
        let strict = EnvironmentPolicy {
            approval: Approval::Required,
            ..EnvironmentPolicy::DEFAULT
        };
        let all: Environments = [(name("production"), strict.clone())].into_iter().collect();
        assert_eq!(all.get(&name("production")), &strict);
        assert_eq!(all.get(&name("test")), &EnvironmentPolicy::default());
        assert_eq!(EnvironmentPolicy::DEFAULT, EnvironmentPolicy::default());
        assert_eq!(all.label(&name("production")), "production");
        assert_eq!(all.label(&name("test")), "other");
    }

    #[test]
    fn the_stricter_approval_holds() {
        use Approval::{Automatic, Required};
        for (a, b, both) in [
            (Automatic, Automatic, Automatic),
            (Automatic, Required, Required),
            (Required, Automatic, Required),
            (Required, Required, Required),
        ] {
            assert_eq!(a.or(b), both, "{a:?} {b:?}");
        }
    }
}
