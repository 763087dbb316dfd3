//! Deliveries, read back with the real `git`.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nestor_core::engine::Manifest;
use nestor_core::ids::{DeploymentId, EnvironmentName, ResourceName};
use nestor_core::ports::{Delivery, DeliveryError, DeliveryRequest, Withdrawal};
use nestor_gitops::{GitDelivery, RepositoryConfig};
use proptest::prelude::*;

type Files = BTreeMap<String, String>;

fn git(repository: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("--git-dir")
        .arg(repository)
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", "/nonexistent")
        .output()
        .expect("git is needed for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {errors}");
    assert!(!errors.contains("warning"), "git {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every file of the branch, as a checkout has them.
fn files(repository: &Path) -> Files {
    let checkout = tempfile::tempdir().unwrap();
    let target = checkout.path().to_str().unwrap();
    git(
        repository,
        &["clone", "-q", repository.to_str().unwrap(), target],
    );
    let mut found = Files::new();
    let mut folders = vec![checkout.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.extend((entry.file_name() != ".git").then_some(path));
                continue;
            }
            let name = path
                .strip_prefix(checkout.path())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            found.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    found
}

fn manifests(files: &[(&str, &str)]) -> Vec<Manifest> {
    files
        .iter()
        .map(|(path, content)| Manifest {
            path: (*path).into(),
            content: (*content).into(),
        })
        .collect()
}

fn request(resource: &str, revision: u64, manifests: Vec<Manifest>) -> DeliveryRequest {
    DeliveryRequest {
        deployment: DeploymentId::new("web-app").unwrap(),
        revision,
        environment: EnvironmentName::new("production").unwrap(),
        resource: ResourceName::new(resource).unwrap(),
        operation_id: format!("{resource}-{revision}"),
        manifests,
    }
}

fn withdrawal(resource: &str, revision: u64) -> Withdrawal {
    let DeliveryRequest {
        deployment,
        environment,
        resource,
        operation_id,
        ..
    } = request(resource, revision, Vec::new());
    Withdrawal {
        deployment,
        revision,
        environment,
        resource,
        operation_id,
    }
}

fn embedded() -> (tempfile::TempDir, PathBuf, GitDelivery) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deliveries.git");
    let delivery = GitDelivery::embedded(&path).unwrap();
    (root, path, delivery)
}

#[tokio::test]
async fn git_conforms() {
    let (_root, path, delivery) = embedded();
    nestor_testkit::delivery::conformance(&delivery).await;
    git(&path, &["fsck", "--strict", "--full"]);
}

#[tokio::test]
async fn a_delivery_is_a_commit_that_says_what_it_is() {
    let (_root, path, delivery) = embedded();
    let first = manifests(&[
        ("deployment.yaml", "kind: Deployment\n"),
        ("rbac/role.yaml", "kind: Role\n"),
    ]);
    let delivered = delivery
        .deliver(request("deployment", 3, first))
        .await
        .unwrap();
    assert_eq!(delivered.repository, "embedded");
    assert_eq!(delivered.branch, "main");
    assert_eq!(delivered.path, "production/web-app/deployment");
    assert_eq!(delivered.commit, git(&path, &["rev-parse", "HEAD"]).trim());
    assert_eq!(
        git(&path, &["log", "-1", "--format=%an|%s"]).trim(),
        "Nestor|Deploy web-app revision 3: deployment (production)"
    );
    let trailers = git(&path, &["log", "-1", "--format=%(trailers:only,unfold)"]);
    assert_eq!(
        trailers.trim(),
        "Nestor-Deployment: web-app\nNestor-Revision: 3\nNestor-Resource: deployment\nNestor-Operation: deployment-3"
    );
    let expected = Files::from([
        (
            "production/web-app/deployment/deployment.yaml".into(),
            "kind: Deployment\n".into(),
        ),
        (
            "production/web-app/deployment/rbac/role.yaml".into(),
            "kind: Role\n".into(),
        ),
    ]);
    assert_eq!(files(&path), expected);
    git(&path, &["fsck", "--strict", "--full"]);
}

#[tokio::test]
async fn the_same_again_makes_no_commit() {
    let (_root, path, delivery) = embedded();
    let some = || manifests(&[("a.yaml", "1\n")]);
    let first = delivery.deliver(request("one", 1, some())).await.unwrap();
    delivery.deliver(request("two", 1, some())).await.unwrap();
    delivery
        .deliver(request("one", 2, manifests(&[("a.yaml", "2\n")])))
        .await
        .unwrap();
    let back = delivery.deliver(request("one", 3, some())).await.unwrap();
    assert_ne!(
        back.commit, first.commit,
        "what was delivered in between is another state"
    );
    delivery
        .deliver(request("two", 2, manifests(&[("b.yaml", "1\n")])))
        .await
        .unwrap();
    let count = git(&path, &["rev-list", "--count", "main"]);
    let again = delivery.deliver(request("one", 4, some())).await.unwrap();
    assert_eq!(again.commit, back.commit, "the commit that delivered it");
    assert_eq!(git(&path, &["rev-list", "--count", "main"]), count);

    let reopened = GitDelivery::embedded(&path).unwrap();
    let again = reopened.deliver(request("one", 5, some())).await.unwrap();
    assert_eq!(again.commit, back.commit, "also after a restart");
}

#[tokio::test]
async fn a_withdrawal_removes_the_folder_and_only_it() {
    let (_root, path, delivery) = embedded();
    for resource in ["one", "two"] {
        delivery
            .deliver(request(resource, 1, manifests(&[("x/y.yaml", resource)])))
            .await
            .unwrap();
    }
    let withdrawn = delivery.withdraw(withdrawal("one", 2)).await.unwrap();
    assert_eq!(
        git(&path, &["log", "-1", "--format=%s"]).trim(),
        "Withdraw web-app revision 2: one (production)"
    );
    assert_eq!(
        files(&path).keys().collect::<Vec<_>>(),
        ["production/web-app/two/x/y.yaml"]
    );
    let again = delivery.withdraw(withdrawal("one", 2)).await.unwrap();
    assert_eq!(
        again.commit, withdrawn.commit,
        "gone already: the commit that removed it"
    );
    delivery.withdraw(withdrawal("never", 1)).await.unwrap();
    delivery.withdraw(withdrawal("two", 2)).await.unwrap();
    assert_eq!(files(&path), Files::new());
    // Nothing rendered is like nothing there.
    let nothing = delivery
        .deliver(request("two", 3, Vec::new()))
        .await
        .unwrap();
    assert_eq!(nothing.commit, git(&path, &["rev-parse", "main"]).trim());
    git(&path, &["fsck", "--strict", "--full"]);
}

#[tokio::test]
async fn a_path_that_leaves_its_folder_writes_nothing() {
    let (_root, path, delivery) = embedded();
    let before = git(&path, &["rev-parse", "main"]);
    let bad = manifests(&[("fine.yaml", "1"), ("../../other/x.yaml", "1")]);
    let error = delivery.deliver(request("one", 1, bad)).await.unwrap_err();
    assert!(
        matches!(error, DeliveryError::Path { ref path, .. } if path == "../../other/x.yaml"),
        "{error}"
    );
    assert_eq!(git(&path, &["rev-parse", "main"]), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_deliveries_at_once_all_arrive() {
    const EACH: u64 = 6;
    let (_root, path, first) = embedded();
    // Two writers that know nothing of each other, as a second host would be.
    let writers = [
        Arc::new(first),
        Arc::new(GitDelivery::embedded(&path).unwrap()),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for resource in 0..16_usize {
        let delivery = writers[resource % 2].clone();
        tasks.spawn(async move {
            for revision in 1..=EACH {
                let content = manifests(&[("a.yaml", &format!("{resource} {revision}"))]);
                let request = request(&format!("r{resource}"), revision, content);
                // Two processes may meet on Git's own lock file.
                while let Err(error) = delivery.deliver(request.clone()).await {
                    assert!(matches!(error, DeliveryError::Transient(_)), "{error}");
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let expected = (0..16).map(|r| {
        (
            format!("production/web-app/r{r}/a.yaml"),
            format!("{r} {EACH}"),
        )
    });
    assert_eq!(files(&path), expected.collect::<Files>());
    let commits: u64 = git(&path, &["rev-list", "--count", "main"])
        .trim()
        .parse()
        .unwrap();
    assert_eq!(commits, 1 + 16 * EACH, "one commit per delivery, none lost");
    git(&path, &["fsck", "--strict", "--full"]);
}

#[tokio::test]
async fn a_configured_repository_keeps_what_others_put_there() {
    let root = tempfile::tempdir().unwrap();
    let (bare, work) = (root.path().join("r.git"), root.path().join("work"));
    let run = |dir: &Path, args: &[&str]| {
        let status = Command::new("git")
            .current_dir(dir)
            .args(["-c", "user.name=Somebody", "-c", "user.email=s@localhost"])
            .args(args)
            .output()
            .expect("git is needed for this test");
        assert!(
            status.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&status.stderr)
        );
    };
    run(
        root.path(),
        &["init", "-q", "--bare", "-b", "main", "r.git"],
    );
    run(root.path(), &["clone", "-q", "r.git", "work"]);
    run(&work, &["checkout", "-q", "-b", "main"]);
    std::fs::write(work.join("README.md"), "ours\n").unwrap();
    run(&work, &["add", "."]);
    run(&work, &["commit", "-qm", "Readme"]);
    run(&work, &["push", "-q", "origin", "main"]);

    let config = |branch: &str, path: &str| RepositoryConfig {
        name: "clusters".into(),
        url: format!("file://{}", bare.display()),
        branch: branch.into(),
        path: path.into(),
    };
    let error = GitDelivery::open(config("mian", ""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no branch mian; it has main"), "{error}");

    let delivery = GitDelivery::open(config("main", "clusters/eu/")).unwrap();
    let delivered = delivery
        .deliver(request("one", 1, manifests(&[("a", "1")])))
        .await
        .unwrap();
    assert_eq!(delivered.path, "clusters/eu/production/web-app/one");
    // Somebody pushes; the next delivery builds upon that.
    run(&work, &["pull", "-q", "--rebase", "origin", "main"]);
    std::fs::write(work.join("README.md"), "ours, newer\n").unwrap();
    run(&work, &["commit", "-qam", "Readme again"]);
    run(&work, &["push", "-q", "origin", "main"]);
    delivery
        .deliver(request("one", 2, manifests(&[("a", "2")])))
        .await
        .unwrap();
    delivery.withdraw(withdrawal("none", 2)).await.unwrap();
    let expected = Files::from([
        ("README.md".into(), "ours, newer\n".into()),
        ("clusters/eu/production/web-app/one/a".into(), "2".into()),
    ]);
    assert_eq!(files(&bare), expected);

    let blocked = GitDelivery::open(config("main", "README.md")).unwrap();
    let error = blocked
        .deliver(request("one", 3, manifests(&[("a", "1")])))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is a file"), "{error}");

    for url in [work.clone(), work.join(".git")] {
        let config = RepositoryConfig {
            url: url.display().to_string(),
            ..config("main", "")
        };
        assert!(
            GitDelivery::open(config).is_err(),
            "a work tree would fall behind"
        );
    }
    let missing = RepositoryConfig {
        url: "/nonexistent/r.git".into(),
        ..config("main", "")
    };
    let error = GitDelivery::open(missing).unwrap_err().to_string();
    assert!(error.contains("git init --bare"), "{error}");
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("thesis.txt"), "x").unwrap();
    assert!(GitDelivery::embedded(root.path()).is_err());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_half_made_repository_is_finished() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("objects/pack")).unwrap();
    GitDelivery::embedded(root.path()).unwrap();
    git(root.path(), &["fsck", "--strict"]);
}

fn any_manifests() -> impl Strategy<Value = Vec<Manifest>> {
    // Names that are files and names that are folders never meet.
    let path =
        ("([a-d]d/){0,3}", "[a-z._-]{0,6}[a-e]\\.yaml").prop_map(|(folder, file)| folder + &file);
    proptest::collection::btree_map(path, "\\PC{0,80}", 0..12).prop_map(|files| {
        files
            .into_iter()
            .map(|(path, content)| Manifest { path, content })
            .collect()
    })
}

proptest! {
    // Each case starts git some times; the failing one is printed, a file of
    // seeds would be one more to keep.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was delivered before, the folder holds exactly the last.
    #[test]
    fn the_tree_holds_exactly_what_was_delivered_last(rounds in proptest::collection::vec((0..3_usize, any_manifests()), 1..8)) {
        let (_root, path, delivery) = embedded();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut expected = Files::new();
        for (revision, (resource, manifests)) in rounds.into_iter().enumerate() {
            let resource = format!("r{resource}");
            let folder = format!("production/web-app/{resource}/");
            expected.retain(|path, _| !path.starts_with(&folder));
            expected.extend(manifests.iter().map(|m| (format!("{folder}{}", m.path), m.content.clone())));
            let revision = revision as u64 + 1;
            let delivered = runtime.block_on(delivery.deliver(request(&resource, revision, manifests.clone()))).unwrap();
            let again = runtime.block_on(delivery.deliver(request(&resource, revision, manifests))).unwrap();
            prop_assert_eq!(delivered.commit, again.commit);
        }
        prop_assert_eq!(files(&path), expected);
        git(&path, &["fsck", "--strict"]);
    }
}
