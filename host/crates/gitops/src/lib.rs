//! GitOps delivery: manifests as commits in a Git repository.
