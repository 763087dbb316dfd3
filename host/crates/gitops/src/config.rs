//! Which repository, and where in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What `git init` itself is about to use.
pub const DEFAULT_BRANCH: &str = "main";

/// A repository as the platform's config names it (`gitops.repositories`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryConfig {
    /// Shown to people and in the API.
    pub name: String,
    /// A local path or a `file://` URL of a bare repository.
    pub url: String,
    /// Where commits go; `main` unless given.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// The folder under which everything is delivered; the top unless given.
    #[serde(default)]
    pub path: String,
}

fn default_branch() -> String {
    DEFAULT_BRANCH.into()
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its URL is of a kind that is not supported.
    #[error(
        "repository {name}: {url} is remote, which is not supported yet; give the path or file:// URL of a bare repository on this machine"
    )]
    Remote {
        /// The repository.
        name: String,
        /// Its URL, without credentials.
        url: String,
    },
    /// A setting makes no sense.
    #[error("repository {name}: {setting} {value:?} {problem}")]
    Setting {
        /// The repository.
        name: String,
        /// Which setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The branch is not there.
    #[error("repository {name} has no branch {branch}; it has {}: name one of them, or create it", present.join(", "))]
    NoBranch {
        /// The repository.
        name: String,
        /// The branch asked for.
        branch: String,
        /// The branches it has.
        present: Vec<String>,
    },
    /// Git failed.
    #[error("repository {name} at {}: {problem}", folder.display())]
    Git {
        /// The repository.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// What happened.
        problem: String,
    },
}

impl RepositoryConfig {
    /// The folder of the repository.
    pub(crate) fn folder(&self) -> Result<PathBuf, OpenError> {
        let setting = |setting, value: &str, problem: &str| OpenError::Setting {
            name: self.name.clone(),
            setting,
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        let path = self.path.trim_matches('/');
        if !path.is_empty()
            && let Err(problem) = crate::paths::check_path(path)
        {
            return Err(setting("path", &self.path, &problem));
        }
        if !git2::Reference::is_valid_name(&format!("refs/heads/{}", self.branch)) {
            return Err(setting("branch", &self.branch, "is not a branch name"));
        }
        if let Some(rest) = self.url.strip_prefix("file://") {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(setting(
                    "url",
                    &self.url,
                    "needs an absolute path: file:///srv/git/deploy.git",
                ));
            }
            if path.contains('%') {
                return Err(setting(
                    "url",
                    &self.url,
                    "has percent escapes; give the plain path instead",
                ));
            }
            return Ok(PathBuf::from(path));
        }
        if self.url.is_empty() {
            return Err(setting(
                "url",
                &self.url,
                "is empty; give the path of a bare repository",
            ));
        }
        // `scheme://…`, or scp's `host:path`; a local path with a colon can be
        // written `./a:b`.
        let remote = self.url.contains("://")
            || self
                .url
                .split('/')
                .next()
                .is_some_and(|first| first.contains(':'));
        if remote {
            return Err(OpenError::Remote {
                name: self.name.clone(),
                url: without_credentials(&self.url),
            });
        }
        Ok(PathBuf::from(&self.url))
    }
}

/// A message must not repeat a password.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> RepositoryConfig {
        RepositoryConfig {
            name: "r".into(),
            url: url.into(),
            branch: "main".into(),
            path: String::new(),
        }
    }

    #[test]
    fn local_urls_become_folders() {
        for (url, folder) in [
            ("/srv/git/a.git", "/srv/git/a.git"),
            ("file:///srv/git/a.git", "/srv/git/a.git"),
            ("file://localhost/srv/a", "/srv/a"),
            ("relative/a:b.git", "relative/a:b.git"),
        ] {
            assert_eq!(at(url).folder().ok(), Some(PathBuf::from(folder)), "{url}");
        }
    }

    #[test]
    fn remote_urls_are_refused_without_their_password() {
        for (url, shown) in [
            (
                "https://bot:hunter2@git.example/a.git",
                "https://git.example/a.git",
            ),
            ("ssh://git@git.example/a.git", "ssh://git.example/a.git"),
            ("git@git.example:a.git", "git@git.example:a.git"),
        ] {
            let error = at(url).folder().expect_err("remote").to_string();
            assert!(error.contains(&format!("{shown} is remote")), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn settings_are_checked() {
        let bad = |change: fn(&mut RepositoryConfig)| {
            let mut config = at("/srv/a");
            change(&mut config);
            config.folder().expect_err("bad").to_string()
        };
        assert!(bad(|c| c.path = "../outside".into()).contains("path \"../outside\""));
        assert!(bad(|c| c.path = "a/.git".into()).contains("path"));
        assert!(bad(|c| c.branch = "a b".into()).contains("branch \"a b\" is not a branch name"));
        assert!(bad(|c| c.branch = "../x".into()).contains("branch"));
        assert!(bad(|c| c.url = "file://host/x".into()).contains("absolute"));
        assert!(bad(|c| c.url = String::new()).contains("empty"));
    }
}
