//! The programs behind engines' tools.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nestor_core::ids::EngineId;

use crate::config::EngineConfig;

/// The one tool that a built-in engine wants.
const TERRAFORM: &str = "terraform";

/// The registry of tools: the config's program, else `NESTOR_TERRAFORM`, else
/// `tofu` or `terraform` from PATH.
///
/// # Errors
/// When a program that was named cannot be run.
pub(crate) fn registry(
    engines: &BTreeMap<EngineId, EngineConfig>,
) -> Result<BTreeMap<String, PathBuf>, String> {
    let config = engines
        .get(TERRAFORM)
        .and_then(|engine| engine.tool.clone());
    let found = find(
        config,
        std::env::var_os("NESTOR_TERRAFORM").as_deref(),
        std::env::var_os("PATH").as_deref(),
    )?;
    Ok(found
        .map(|path| (TERRAFORM.to_owned(), path))
        .into_iter()
        .collect())
}

fn find(
    config: Option<PathBuf>,
    variable: Option<&OsStr>,
    path: Option<&OsStr>,
) -> Result<Option<PathBuf>, String> {
    let named = config
        .map(|path| ("engines.terraform.tool", path))
        .or_else(|| {
            variable
                .filter(|v| !v.is_empty())
                .map(|v| ("NESTOR_TERRAFORM", PathBuf::from(v)))
        });
    if let Some((what, path)) = named {
        let path = std::path::absolute(&path).unwrap_or(path);
        return match is_program(&path) {
            true => Ok(Some(path)),
            false => Err(format!(
                "{what} is {}, which is not a program that can be run",
                path.display()
            )),
        };
    }
    let folders: Vec<PathBuf> = path
        .map(std::env::split_paths)
        .into_iter()
        .flatten()
        .collect();
    let candidates = ["tofu", "terraform"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    // A relative folder on PATH means whatever the current folder is.
    Ok(candidates
        .filter(|path| path.is_absolute())
        .find(|path| is_program(path)))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["tofu", "terraform", "own"] {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(at("text"), "").unwrap();
        let path = folder.path().as_os_str();
        assert_eq!(
            find(Some(at("own")), Some(at("tofu").as_os_str()), Some(path)),
            Ok(Some(at("own")))
        );
        assert_eq!(
            find(None, Some(at("terraform").as_os_str()), Some(path)),
            Ok(Some(at("terraform")))
        );
        assert_eq!(find(None, None, Some(path)), Ok(Some(at("tofu"))));
        assert_eq!(find(None, None, Some(OsStr::new("."))), Ok(None));
        assert!(
            find(None, Some(at("text").as_os_str()), None)
                .unwrap_err()
                .contains("NESTOR_TERRAFORM")
        );
        assert!(find(Some(at("nothing")), None, None).is_err());
    }
}
