//! Which manifests can be files of a repository on any machine.

use std::collections::HashMap;

use nestor_core::engine::Manifest;
use nestor_core::ports::DeliveryError;

/// File systems allow no more per name.
pub const MAX_NAME_BYTES: usize = 255;
/// A quarter of what Linux allows for a whole path, which leaves room for where
/// the repository is checked out.
pub const MAX_PATH_BYTES: usize = 1024;
/// The largest public charts render some hundreds.
pub const MAX_MANIFESTS: usize = 10_000;
/// What an engine may answer is bounded lower; this bounds a commit whatever
/// the engine's limit is set to.
pub const MAX_TOTAL_BYTES: usize = 64 << 20;

/// Whether all of these can be delivered together.
///
/// # Errors
/// Names the first that cannot, and why.
pub fn check(manifests: &[Manifest]) -> Result<(), DeliveryError> {
    if manifests.len() > MAX_MANIFESTS {
        let count = manifests.len();
        return Err(DeliveryError::Failed(format!(
            "{count} manifests; at most {MAX_MANIFESTS} can be delivered for one resource"
        )));
    }
    let total: usize = manifests
        .iter()
        .map(|manifest| manifest.content.len())
        .sum();
    if total > MAX_TOTAL_BYTES {
        return Err(DeliveryError::Failed(format!(
            "manifests of {total} bytes; at most {MAX_TOTAL_BYTES} can be delivered for one resource"
        )));
    }
    // Folded, as on a disk that ignores case: name to whether it is a file.
    let mut taken: HashMap<String, (bool, &str)> = HashMap::new();
    for manifest in manifests {
        let path = manifest.path.as_str();
        let refused = |problem: String| {
            let path = path.chars().take(200).collect();
            DeliveryError::Path { path, problem }
        };
        check_path(path).map_err(refused)?;
        let folded = path.to_lowercase();
        for (end, _) in folded.match_indices('/') {
            let (is_file, other) = *taken
                .entry(folded[..end].to_owned())
                .or_insert((false, path));
            if is_file {
                return Err(refused(format!(
                    "{other:?} is a file already, it cannot be a folder too"
                )));
            }
        }
        if let Some((is_file, other)) = taken.insert(folded, (true, path)) {
            let problem = match (is_file, other == path) {
                (true, true) => "it is there twice".to_owned(),
                (true, false) => format!("it differs from {other:?} only in upper and lower case"),
                (false, _) => format!("it is the folder of {other:?}"),
            };
            return Err(refused(problem));
        }
    }
    Ok(())
}

/// Whether a path is relative and stays below its folder, on any machine and
/// in any view of Git. The error completes "manifest … cannot be delivered:".
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("it is empty".into());
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(format!(
            "it has {} bytes; at most {MAX_PATH_BYTES} are allowed",
            path.len()
        ));
    }
    if path.starts_with('/') {
        return Err("it is absolute; give it relative to the resource's folder".into());
    }
    path.split('/').try_for_each(check_name)
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it has an empty name between, before or after '/'".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "a name in it has {} bytes; at most {MAX_NAME_BYTES} are allowed",
            name.len()
        ));
    }
    if name == "." || name == ".." {
        return Err(format!("it contains {name:?}"));
    }
    // Letters and digits of any script, but nothing invisible, combining or
    // turning the text around: such a name can look like another, or be `.git`
    // to a disk that drops the character.
    let allowed = |c: char| {
        if c.is_ascii() {
            !c.is_ascii_control() && !r#"\:*?"<>|"#.contains(c)
        } else {
            c.is_alphanumeric()
        }
    };
    if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!("it contains {bad:?}"));
    }
    // Windows drops these, so the name would become another.
    if name.ends_with(['.', ' ']) || name.starts_with(' ') {
        return Err(format!(
            "{name:?} starts or ends with a space, or ends with a dot"
        ));
    }
    let lower = name.to_ascii_lowercase();
    if lower == ".git" || lower.starts_with("git~") {
        return Err(format!("{name:?} is Git's own"));
    }
    // Git reads these of a checkout, and some follow what they say.
    if [".gitmodules", ".gitattributes", ".gitignore", ".mailmap"].contains(&lower.as_str()) {
        return Err(format!("{name:?} would be an instruction to Git"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(paths: &[&str]) -> Result<(), String> {
        let manifests = paths.iter().map(|path| Manifest {
            path: (*path).into(),
            content: String::new(),
        });
        check(&manifests.collect::<Vec<_>>()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_charts_have_is_fine() {
        let good = [
            "deployment.yaml",
            "templates/tests/test-connection.yaml",
            "charts/a_b/templates/_x@1+2=3, (4) [5]{6}.yaml",
            ".hidden/größe.yaml",
            "..data/x...y",
            "a/b",
            "A/c",
        ];
        assert_eq!(all(&good), Ok(()));
        assert_eq!(all(&[]), Ok(()));
    }

    #[test]
    fn what_leaves_its_folder_or_tricks_git_is_not() {
        let long_name = "n".repeat(256);
        let long_path = "a/".repeat(512) + "b";
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "c:x",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a*",
            ".git",
            ".GIT/config",
            "a/.gIt/hooks/x",
            "git~1",
            "GIT~2/x",
            ".git ",
            ".git.",
            "a.",
            "a /b",
            " a",
            ".g\u{200c}it",
            "\u{202e}lmay",
            "e\u{301}",
            ".gitmodules",
            "a/.GitAttributes",
            &long_name,
            &long_path,
        ] {
            let error = all(&["fine.yaml", path]).expect_err(path);
            assert!(error.contains("cannot be delivered"), "{error}");
        }
    }

    #[test]
    fn two_files_in_one_place_are_not() {
        for (paths, problem) in [
            (["a.yaml", "a.yaml"], "twice"),
            (["a.yaml", "A.yaml"], "upper and lower case"),
            (["Ä.yaml", "ä.yaml"], "upper and lower case"),
            (["a", "a/b"], "cannot be a folder too"),
            (["A", "a/b"], "cannot be a folder too"),
            (["a/b", "a"], "is the folder of"),
            (["x/a/b", "x/a"], "is the folder of"),
        ] {
            let error = all(&paths).expect_err(problem);
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn errors_stay_short() {
        let error = all(&["x".repeat(1 << 20).as_str()]).expect_err("long");
        assert!(error.len() < 400);
    }
}
