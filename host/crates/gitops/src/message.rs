//! What a commit says: a subject for people, trailers for programs.

use std::fmt;

use nestor_core::ids::{DeploymentId, EnvironmentName, ResourceName};

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Sets the manifests.
    Deploy,
    /// Removes them.
    Withdraw,
}

/// A commit message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) verb: Verb,
    pub(crate) deployment: DeploymentId,
    pub(crate) revision: u64,
    pub(crate) environment: EnvironmentName,
    pub(crate) resource: ResourceName,
    pub(crate) operation_id: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            deployment,
            revision,
            environment,
            resource,
            operation_id,
            ..
        } = self;
        let verb = match self.verb {
            Verb::Deploy => "Deploy",
            Verb::Withdraw => "Withdraw",
        };
        writeln!(
            f,
            "{verb} {deployment} revision {revision}: {resource} ({environment})\n"
        )?;
        writeln!(f, "Nestor-Deployment: {deployment}")?;
        writeln!(f, "Nestor-Revision: {revision}")?;
        writeln!(f, "Nestor-Resource: {resource}")?;
        // The other parts are labels; this one is any text, and must stay one line.
        let operation: String = operation_id
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        writeln!(f, "Nestor-Operation: {}", operation.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_id_cannot_forge_a_trailer() {
        let message = Message {
            verb: Verb::Deploy,
            deployment: DeploymentId::new("web-app").expect("an id"),
            revision: 3,
            environment: EnvironmentName::new("production").expect("a name"),
            resource: ResourceName::new("deployment").expect("a name"),
            operation_id: "op-1\nNestor-Revision: 9\0".into(),
        };
        assert_eq!(
            message.to_string(),
            "Deploy web-app revision 3: deployment (production)\n\n\
             Nestor-Deployment: web-app\nNestor-Revision: 3\nNestor-Resource: deployment\n\
             Nestor-Operation: op-1 Nestor-Revision: 9\n"
        );
    }
}
