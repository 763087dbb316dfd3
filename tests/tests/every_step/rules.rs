//! What holds in every case, whatever the table says.

use std::collections::BTreeMap;

use nestor_orchestrator::view::DeploymentStatus;

use crate::case::{Ending, Scenario, run};
use crate::example::Example;

/// What there is when nothing goes wrong.
pub(crate) struct References {
    /// Nothing, the first revision, the second.
    pub(crate) revisions: [BTreeMap<String, String>; 3],
    /// Of this scenario.
    pub(crate) ending: Ending,
    scenario: Scenario,
}

impl References {
    pub(crate) fn of(example: &Example, scenario: Scenario) -> Self {
        let undisturbed = |scenario| run(example, scenario, "rollback", None);
        let second = if scenario == Scenario::Vanish {
            Scenario::Vanish
        } else {
            Scenario::Update
        };
        let revisions = [
            undisturbed(Scenario::Destroy).things,
            undisturbed(Scenario::First).things,
            undisturbed(second).things,
        ];
        assert!(revisions[0].is_empty(), "a deletion leaves something");
        for name in revisions[1].keys().filter(|_| second == Scenario::Update) {
            let same = revisions[1][name] == revisions[2][name];
            assert!(!same, "{name} is the same in the second revision");
        }
        Self {
            revisions,
            ending: undisturbed(scenario),
            scenario,
        }
    }

    /// Before what is being done, and after.
    fn before_and_after(&self) -> [&BTreeMap<String, String>; 2] {
        let [nothing, first, second] = &self.revisions;
        match self.scenario {
            Scenario::First | Scenario::UndoFirst => [nothing, first],
            Scenario::Update | Scenario::UndoUpdate | Scenario::Vanish => [first, second],
            Scenario::Destroy => [first, nothing],
        }
    }

    /// # Panics
    /// When a rule does not hold; `what` says of which case.
    pub(crate) fn check(&self, ending: &Ending, what: &str) {
        let [before, after] = self.before_and_after();
        assert!(ending.overlaps.is_empty(), "{what}: {:?}", ending.overlaps);
        assert!(ending.impure.is_empty(), "{what}: {:?}", ending.impure);
        assert_eq!(&ending.at_last, after, "{what}: not mended");
        match ending.status {
            DeploymentStatus::Ready | DeploymentStatus::Deleted => {
                assert_eq!(&ending.things, after, "{what}: the status says so");
                assert_eq!(
                    ending.effects, self.ending.effects,
                    "{what}: a second effect"
                );
                assert_eq!(ending.resources, self.ending.resources, "{what}");
            }
            DeploymentStatus::RolledBack => {
                assert_eq!(&ending.things, before, "{what}: the status says so");
            }
            DeploymentStatus::Failed | DeploymentStatus::Stuck => {}
            DeploymentStatus::Pending
            | DeploymentStatus::InProgress
            | DeploymentStatus::AwaitingApproval
            | DeploymentStatus::Cancelling
            | DeploymentStatus::RollingBack
            | DeploymentStatus::Cancelled
            | DeploymentStatus::Deleting => panic!("{what}: it has not settled: {ending:?}"),
        }
        let well = matches!(
            ending.status,
            DeploymentStatus::Ready | DeploymentStatus::Deleted
        );
        let said = ending.reason.as_ref().is_some_and(|r| !r.is_empty());
        assert!(well || said, "{what}: it does not say why");
    }
}
