//! The config file: read strictly, explained line by line.

pub(crate) mod document;
mod environments;
mod expand;
mod hosts;
mod model;
mod read;
mod webhooks;

use std::path::Path;

use document::{Problem, Problems};
pub(crate) use model::{
    CatalogConfig, Config, EngineConfig, GitopsConfig, LogFormat, StoreConfig, TelemetryConfig,
};
pub(crate) use read::{directives, listen};

/// A config is a few pages.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a config file.
///
/// # Errors
/// Every problem with its line, as one text.
pub(crate) fn load(file: &Path) -> Result<Config, String> {
    let name = file.display().to_string();
    let cannot = |e: std::io::Error| format!("the config {name} cannot be read: {e}");
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > MAX_BYTES {
        return Err(format!(
            "the config {name} has {size} bytes; at most {MAX_BYTES} are allowed"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let env = |name: &str| std::env::var(name).ok();
    parse(&text, folder, &env).map_err(|problems| document::listed(&name, &problems))
}

/// Reads a config.
///
/// # Errors
/// Every problem, in the order of the document.
pub(crate) fn parse(
    text: &str,
    folder: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Problem>> {
    let mut document = document::parse(text).map_err(|problem| vec![problem])?;
    let mut problems = Problems::default();
    expand::expand(&mut document, "", env, &mut problems);
    let config = read::config(&document, folder, &mut problems);
    let problems = problems.into_sorted();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let folder = tempfile::tempdir().unwrap();
        let env = |name: &str| (name == "PREFIX").then(|| "prod-".to_owned());
        let said = match parse(text, folder.path(), &env) {
            Ok(config) => format!("{config:?}\n"),
            Err(problems) => format!("{}\n", document::listed("nestor.yaml", &problems)),
        };
        expected.assert_eq(&said.replace(&folder.path().display().to_string(), "FOLDER"));
    }

    #[test]
    fn problems_have_lines_and_hints() {
        check(
            "engines:\n  terraform:\n    paralelism: 10\n    enabled: ja\n    workspace_prefix: ${NOPE}\n    timeout: 300s\n  Helm:\n    enabled: true\ncatalogue: {}\n",
            expect![[r#"
                nestor.yaml:3: engines.terraform: there is no key "paralelism" here; did you mean "parallelism"? (known: enabled, endpoint, timeout, backend, parallelism, workspace_prefix, component, grants, settings, tool, concurrency)
                nestor.yaml:4: engines.terraform.enabled: must be true or false, not a text
                nestor.yaml:5: engines.terraform.workspace_prefix: needs the environment variable NOPE, which is not set; set it, or write ${NOPE:-default}
                nestor.yaml:6: engines.terraform.timeout: the engine terraform has no timeout in this version; give the deployment or the resource a `policy.timeout`
                nestor.yaml:7: engines.Helm: engine "Helm" contains 'H'; only lower-case letters, digits and '-' are allowed
                nestor.yaml:9: there is no key "catalogue" here; did you mean "catalog"? (known: engines, catalog, gitops, store, server, auth, telemetry, environments, webhooks)
            "#]],
        );
        check(
            "server: {listen: localhost, hosts: ['https://nestor.example.com', nestor:8080, Nestor], grace: 5 minutes, max_calls: 0, keep_deleted: 0s}\nstore: {kind: sledd}\n",
            expect![[r#"
                nestor.yaml:1: server.max_calls: must be 1 to 1000
                nestor.yaml:1: server.listen: "localhost" is not an address to listen on; write it as 127.0.0.1:8080, or 0.0.0.0:8080 for every network
                nestor.yaml:1: server.keep_deleted: must be at least 1m
                nestor.yaml:1: server.hosts[0]: "https://nestor.example.com" is not a host's name; write it without scheme, port and path, as nestor.example.com
                nestor.yaml:1: server.hosts[1]: "nestor:8080" is not a host's name; write it without scheme, port and path, as nestor.example.com
                nestor.yaml:1: server.grace: "5 minutes" is not a duration; write it as 90s, 5m or 1h30m (units ms, s, m, h, d)
                nestor.yaml:2: store.kind: "sledd" is not a store; did you mean "sled"? (known: sled, memory)
            "#]],
        );
        check(
            "telemetry: {log: 'info,,=x', format: xml}\ncatalog: {directory: nowhere}\n",
            expect![[r#"
            nestor.yaml:1: telemetry.log: "info,,=x" is not a log filter; write a level (error, warn, info, debug, trace) or `info,nestor_engine=debug`
            nestor.yaml:1: telemetry.format: "xml" is not a format of log lines (known: text, json)
            nestor.yaml:2: catalog.directory: FOLDER/nowhere is not a folder
        "#]],
        );
        check(
            "engines:\n  helm:\n    settings: {namespce: a}\n    tool: /bin/sh\n    component: chart.tgz\n",
            expect![[r#"
            nestor.yaml:3: engines.helm.settings.namespce: the engine helm has no such setting; did you mean "namespace"? (known: namespace)
            nestor.yaml:4: engines.helm.tool: is only for terraform: other engines get the tools that their grants name
            nestor.yaml:5: engines.helm.component: FOLDER/chart.tgz is not a file
        "#]],
        );
        check(
            "engines:\n  terraform:\n    backend: local\n    settings: {backend: s3}\n    grants:\n      tool:\n        - name: terraform\n          arg: [['**']]\n",
            expect![[r#"
                nestor.yaml:3: engines.terraform.backend: is in settings.backend as well; keep one
                nestor.yaml:7: engines.terraform.grants.tool[0].args: is missing
                nestor.yaml:8: engines.terraform.grants.tool[0].arg: unknown key; did you mean "args"? Known are name, args, env, deadline, reason.
            "#]],
        );
        check(
            "- a\n",
            expect![[r#"
            nestor.yaml:1: must be a map, not a list
        "#]],
        );
        check(
            "engines: [\n",
            expect![[r#"
            nestor.yaml:1: not YAML: unclosed bracket '[' at line 1, column 10
        "#]],
        );
    }

    #[test]
    fn environments_are_read_strictly() {
        check(
            "environments:\n  Prod: {}\n  production:\n    approval: requird\n    concurrency: 0\n    drift: {action: repair}\n  test:\n    aproval: required\n    drift: {every: 5s}\n",
            expect![[r#"
                nestor.yaml:2: environments.Prod: environment "Prod" contains 'P'; only lower-case letters, digits and '-' are allowed
                nestor.yaml:4: environments.production.approval: "requird" is not one; did you mean "required"? (known: automatic, required)
                nestor.yaml:5: environments.production.concurrency: must be 1 to 1000
                nestor.yaml:6: environments.production.drift.every: is missing: how often to look, such as 1h
                nestor.yaml:6: environments.production.drift.action: "repair" is not one (known: report, remediate)
                nestor.yaml:8: environments.test: there is no key "aproval" here; did you mean "approval"? (known: approval, drift, concurrency)
                nestor.yaml:9: environments.test.drift.every: must be 1m to 31d
            "#]],
        );
        let config = parse(
            "environments:\n  production: {approval: required, concurrency: 8, drift: {every: 1h, action: remediate}}\n  test:\n",
            Path::new("."),
            &|_| None,
        )
        .unwrap();
        let name = nestor_core::ids::EnvironmentName::new;
        let production = config.environments.get(&name("production").unwrap());
        assert_eq!(
            format!("{production:?}"),
            "EnvironmentPolicy { approval: Required, drift: Some(DriftPolicy { every: 3600s, action: Remediate }), concurrency: Some(8) }"
        );
        assert_eq!(config.environments.iter().count(), 2);
    }

    #[test]
    fn what_this_version_lacks_is_refused() {
        check(
            "catalog:\n  endpoint: https://catalog.example\n  cache: {enabled: false, ttl: 5m, redis_url: redis://r}\nstore: {kind: postgres, url: postgres://p}\nauth: {enabled: true}\ngitops:\n  argocd: {endpoint: https://a}\n  repositories:\n    - {name: team, url: https://github.com/company/team.git}\n    - {name: b, url: ./b}\n    - {name: c, url: ./c, path: ../up}\ntelemetry: {otlp: x}\n",
            expect![[r#"
                nestor.yaml:2: catalog.endpoint: is not available in this version; use `directory`, a folder of definitions
                nestor.yaml:3: catalog.cache.ttl: is not available in this version; a directory is kept in memory, and read again when its files change
                nestor.yaml:3: catalog.cache.redis_url: is not available in this version; a directory is kept in memory, and read again when its files change
                nestor.yaml:3: catalog.cache.enabled: cannot be false in this version; a directory is kept in memory, and read again when its files change
                nestor.yaml:4: store.url: is not available in this version; the store is a folder: `kind: sled`
                nestor.yaml:4: store.kind: "postgres" is not available in this version; use sled
                nestor.yaml:5: auth: is not available in this version; take the section out or write `enabled: false`, and keep the host behind a proxy that checks who asks
                nestor.yaml:7: gitops.argocd: is not available in this version; let Argo CD watch the repository, or have it told by a webhook of the repository
                nestor.yaml:9: gitops.repositories[0].url: a repository on another machine is not available in this version; write the folder of a bare repository, and push it from there
                nestor.yaml:10: gitops.repositories: more than one repository is not available in this version; keep the first
                nestor.yaml:11: gitops.repositories[2].path: must be a folder in the repository, without `.`, `..` and `.git`
                nestor.yaml:12: telemetry.otlp: is not available in this version; metrics are at /metrics, and logs on standard error
            "#]],
        );
    }

    #[test]
    fn the_documented_config_is_one() {
        let page = include_str!("../../../docs/configuration.md");
        let (_, rest) = page.split_once("```yaml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["catalog", "engines", "bin"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["bin/tofu", "engines/note.wasm"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        if let Err(problems) = parse(text, folder.path(), &|_| None) {
            panic!("{}", document::listed("docs/configuration.md", &problems));
        }
        // Every key that is read is documented.
        for key in read::ALL_KEYS.iter().flat_map(|keys| keys.iter()) {
            assert!(
                page.contains(&format!("{key}:")) || read::REFUSED.contains(key),
                "{key} is not documented"
            );
        }
    }

    /// The table of the README names every key, and no other.
    #[test]
    fn the_readme_names_the_same_keys() {
        let readme = include_str!("../../../README.md");
        let (_, section) = readme.split_once("\n## Config\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let words = |text: &str| -> Vec<String> {
            let quoted = text.split('`').skip(1).step_by(2);
            let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            quoted
                .flat_map(|text| text.split(word))
                .map(str::to_owned)
                .collect()
        };
        let all = words(section);
        let known: Vec<&str> = read::ALL_KEYS.iter().copied().flatten().copied().collect();
        for key in &known {
            let refused = read::REFUSED.contains(key);
            assert_ne!(all.iter().any(|word| word == key), refused, "{key}");
        }
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let (keys, _) = row[2..].split_once(" | ").unwrap();
            for key in words(keys) {
                let name = ["NAME", "terraform"].contains(&key.as_str());
                assert!(name || known.contains(&key.as_str()), "{key} in {row}");
            }
        }
    }

    #[test]
    fn a_config_with_everything() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["catalog", "engines"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("tofu"), "").unwrap();
        let text = "
engines:
  terraform:
    enabled: true
    backend: {s3: {bucket: states}}
    parallelism: 4
    workspace_prefix: ${PREFIX:-dev-}
    tool: tofu
  helm:
    settings: {namespace: apps}
  pulumi: {enabled: false}
  note:
    endpoint: https://note.example
    grants: {kv: {quota: 2MiB}}
catalog: {directory: catalog, cache: {enabled: true}}
gitops:
  repositories: [{name: team, url: repo.git, branch: trunk, path: manifests/}]
store: {kind: sled, path: db, cache: 32MiB}
server: {listen: '0.0.0.0:9000', hosts: [Nestor.example.com], data_dir: data, engines_dir: engines, grace: 5s, max_queue: 5}
auth: {enabled: false}
telemetry: {log: 'warn,nestor_engine=debug', format: json}
";
        let config = parse(text, folder.path(), &|_| None).unwrap();
        let engine = |name: &str| &config.engines[name];
        let terraform = serde_json::json!({"backend": {"s3": {"bucket": "states"}}, "parallelism": 4, "workspace_prefix": "dev-"});
        assert_eq!(engine("terraform").settings, terraform);
        assert_eq!(engine("terraform").tool, Some(folder.path().join("tofu")));
        assert_eq!(
            engine("helm").settings,
            serde_json::json!({"namespace": "apps"})
        );
        assert!(!engine("pulumi").enabled);
        assert_eq!(
            engine("note").settings,
            serde_json::json!({"endpoint": "https://note.example"})
        );
        assert_eq!(engine("note").grants.as_ref().unwrap().kv_quota, 2 << 20);
        let repository = config.gitops.repository.as_ref().unwrap();
        assert_eq!(
            (repository.branch.as_str(), repository.path.as_str()),
            ("trunk", "manifests")
        );
        assert_eq!(
            config.store,
            StoreConfig::Sled {
                path: Some(folder.path().join("db")),
                cache_bytes: Some(32 << 20)
            }
        );
        assert_eq!(config.server.hosts, ["nestor.example.com"]);
        assert_eq!(config.server.grace, Duration::from_secs(5));
        assert_eq!(config.telemetry.format, LogFormat::Json);
        assert_eq!(
            parse("", folder.path(), &|_| None).unwrap(),
            Config::default()
        );
    }
}
