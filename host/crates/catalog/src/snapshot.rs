//! All definitions as they were at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nestor_core::definition::Definition;
use nestor_core::ids::DefinitionName;
use nestor_core::ports::CatalogError;
use nestor_core::spec::CatalogRef;
use nestor_core::text::nearest;

use crate::definition::{Broken, Content, parse};
use crate::folder::{FILE, Fingerprint, Folder, find};
use crate::yaml::Problem;

/// Versions that an answer lists.
const MAX_LISTED_VERSIONS: usize = 20;

/// Something in the catalog that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogProblem {
    /// The file, or the folder.
    pub path: PathBuf,
    /// In the file, counted from 1.
    pub line: Option<u64>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for CatalogProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A folder as it was loaded.
#[derive(Debug)]
struct Loaded {
    /// None when it could not even be listed.
    fingerprint: Option<Fingerprint>,
    outcome: Result<Arc<Definition>, Arc<Broken>>,
}

/// Every definition of a catalog.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    root: PathBuf,
    folders: BTreeMap<PathBuf, Arc<Loaded>>,
    definitions: BTreeMap<DefinitionName, BTreeMap<semver::Version, Arc<Definition>>>,
    /// Folder and what is wrong with it; includes second definitions of one version.
    broken: Vec<(PathBuf, Arc<Broken>)>,
    unsearched: Vec<(PathBuf, String)>,
}

impl Snapshot {
    /// Reads what changed since `before`, and keeps the rest.
    pub(crate) fn load(root: &Path, before: &Self) -> io::Result<Self> {
        let found = find(root)?;
        let mut snapshot = Self {
            root: root.to_owned(),
            unsearched: found.unsearched,
            ..Self::default()
        };
        for folder in found.definitions {
            let loaded = reload(&folder, before.folders.get(&folder));
            match &loaded.outcome {
                Ok(definition) => snapshot.add(&folder, definition),
                Err(broken) => snapshot.broken.push((folder.clone(), Arc::clone(broken))),
            }
            snapshot.folders.insert(folder, loaded);
        }
        Ok(snapshot)
    }

    fn add(&mut self, folder: &Path, definition: &Arc<Definition>) {
        let versions = self.definitions.entry(definition.name.clone()).or_default();
        if let Some(other) = versions.get(&definition.version) {
            let elsewhere = other
                .folder
                .as_deref()
                .unwrap_or(Path::new("another folder"))
                .display();
            let message = format!(
                "{} is defined in {elsewhere} too, which is the one that counts; give this one another version",
                definition.reference()
            );
            let broken = Broken {
                // A lookup finds the other one.
                name: None,
                version: None,
                problems: vec![Problem {
                    line: None,
                    message,
                }],
            };
            self.broken.push((folder.to_owned(), Arc::new(broken)));
        } else {
            versions.insert(definition.version.clone(), Arc::clone(definition));
        }
    }

    /// The highest version that fits.
    pub(crate) fn lookup(&self, reference: &CatalogRef) -> Result<Arc<Definition>, CatalogError> {
        let versions = self.definitions.get(&reference.name);
        let fitting = versions.and_then(|all| {
            all.iter()
                .rev()
                .find(|(version, _)| reference.version.matches(version))
        });
        if let Some((_, definition)) = fitting {
            return Ok(Arc::clone(definition));
        }
        if let Some((folder, broken)) = self
            .broken
            .iter()
            .find(|(folder, broken)| concerns(broken, folder, reference))
        {
            // The host's paths are nobody's business but the operator's.
            let inside = folder.strip_prefix(&self.root).unwrap_or(folder);
            let problems = problems_of(inside, broken).map(|problem| problem.to_string());
            return Err(CatalogError::Broken(
                problems.collect::<Vec<_>>().join("; "),
            ));
        }
        let broken = self.broken.iter().filter_map(|(_, broken)| {
            let same = broken.name.as_ref() == Some(&reference.name);
            Some(format!(
                "{} (broken)",
                broken.version.as_ref().filter(|_| same)?
            ))
        });
        let whole = versions.into_iter().flat_map(|all| all.keys().rev());
        let available: Vec<String> = whole
            .map(ToString::to_string)
            .chain(broken)
            .take(MAX_LISTED_VERSIONS)
            .collect();
        if !available.is_empty() {
            return Err(CatalogError::NoMatchingVersion {
                reference: reference.clone(),
                available,
            });
        }
        let names = self.definitions.keys().map(DefinitionName::as_str);
        let similar = nearest(reference.name.as_str(), names);
        Err(CatalogError::UnknownName {
            name: reference.name.clone(),
            similar: similar.and_then(|name| name.parse().ok()),
        })
    }

    /// Everything, by name and then version.
    pub(crate) fn list(&self) -> Vec<Arc<Definition>> {
        self.definitions
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Everything that is wrong.
    pub(crate) fn problems(&self) -> Vec<CatalogProblem> {
        let unsearched = self
            .unsearched
            .iter()
            .map(|(path, message)| CatalogProblem {
                path: path.clone(),
                line: None,
                message: message.clone(),
            });
        let broken = self
            .broken
            .iter()
            .flat_map(|(folder, broken)| problems_of(folder, broken));
        unsearched.chain(broken).collect()
    }
}

fn problems_of<'b>(folder: &Path, broken: &'b Broken) -> impl Iterator<Item = CatalogProblem> + 'b {
    let path = folder.join(FILE);
    broken.problems.iter().map(move |problem| CatalogProblem {
        path: path.clone(),
        line: problem.line,
        message: problem.message.clone(),
    })
}

/// Whether a broken definition may be the one that is looked for: by its name,
/// or, when even that cannot be read, by a folder of that name.
fn concerns(broken: &Broken, folder: &Path, reference: &CatalogRef) -> bool {
    let wanted = reference.name.as_str();
    let named = match &broken.name {
        Some(name) => name.as_str() == wanted,
        None => folder.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            part.strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '@', '_']))
        }),
    };
    named
        && broken
            .version
            .as_ref()
            .is_none_or(|version| reference.version.matches(version))
}

fn reload(folder: &Path, before: Option<&Arc<Loaded>>) -> Arc<Loaded> {
    let files = match Folder::list(folder) {
        Ok(files) => files,
        Err(message) => {
            return Arc::new(Loaded {
                fingerprint: None,
                outcome: Err(unreadable(message)),
            });
        }
    };
    let fingerprint = Some(files.fingerprint());
    if let Some(before) = before.filter(|before| before.fingerprint == fingerprint) {
        return Arc::clone(before);
    }
    let outcome = match files.read(folder) {
        Err(message) => Err(unreadable(message)),
        Ok((digest, text)) => match parse(&text) {
            Err(broken) => Err(Arc::new(broken)),
            Ok(Content {
                name,
                version,
                description,
                engines,
                config_schema,
                outputs,
                delivery,
                relations,
            }) => {
                let folder = files
                    .has_more_than_the_definition()
                    .then(|| folder.to_owned());
                Ok(Arc::new(Definition {
                    name,
                    version,
                    description,
                    engines,
                    config_schema,
                    outputs,
                    delivery,
                    relations,
                    folder,
                    digest,
                }))
            }
        },
    };
    Arc::new(Loaded {
        fingerprint,
        outcome,
    })
}

fn unreadable(message: String) -> Arc<Broken> {
    Arc::new(Broken {
        name: None,
        version: None,
        problems: vec![Problem {
            line: None,
            message,
        }],
    })
}
