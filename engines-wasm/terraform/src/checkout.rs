//! The engine's folder: module, root module, plans, and what was done in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nestor_sdk::{Error, File, Host, Value, json};
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::root::Root;
use crate::tool::SavedPlan;

/// So many hex digits of a module's digest name its copy.
pub const MODULE_DIGITS: usize = 16;

/// The file by which a module pins its providers.
const LOCK: &str = ".terraform.lock.hcl";

/// What the host makes for a tool in every checkout.
const HOSTS: [&str; 2] = [".home", ".tmp"];

/// A plan that was made earlier is applied as it is when it is younger than
/// this; an older one has forgotten too much of the world and is made anew.
const PLAN_AGE: Duration = Duration::from_secs(3600);

/// The engine's folder for one resource.
#[derive(Debug)]
pub struct Checkout {
    root: PathBuf,
}

/// What was done in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Digest of all that `init` depends on.
    pub initialised: String,
    /// Digest of the backend block that the state is in.
    pub backend: String,
    /// The workspace that the state is in.
    pub workspace: String,
    /// The module that the providers were chosen for.
    pub module: String,
}

#[derive(Serialize, Deserialize)]
struct PlanRecord {
    root: String,
    made_at: u64,
}

impl Checkout {
    /// The folder of a running call.
    #[must_use]
    pub fn of(host: &dyn Host) -> Self {
        Self {
            root: host.work().to_path_buf(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Copies a module, once per content, and answers its digest. A copy that
    /// was interrupted has another name and is made again.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no module in the folder.
    pub fn add_module(&self, folder: &str, files: &[File]) -> Result<String, Error> {
        let is_code = |file: &&File| file.path.ends_with(".tf") || file.path.ends_with(".tf.json");
        if !files
            .iter()
            .filter(is_code)
            .any(|file| !file.path.contains('/'))
        {
            return Err(Error::invalid(
                "",
                format!(
                    "the definition's folder `{folder}` holds no module: there is no .tf file in it"
                ),
            ));
        }
        let mut content = Vec::new();
        for file in files {
            content
                .extend_from_slice(format!("{}\0{}\0", file.path, file.content.len()).as_bytes());
            content.extend_from_slice(&file.content);
        }
        let name = digest(&content)[..MODULE_DIGITS].to_string();
        if self.has_module(&name) {
            return Ok(name);
        }
        let part = self.path("modules").join(format!("{name}.part"));
        remove(&part)?;
        for file in files {
            let path = part.join(&file.path);
            fs::create_dir_all(path.parent().unwrap_or(&part))?;
            fs::write(path, &file.content)?;
        }
        fs::rename(&part, self.path("modules").join(&name))?;
        Ok(name)
    }

    /// Whether a module was copied, whole.
    #[must_use]
    pub fn has_module(&self, module: &str) -> bool {
        !module.is_empty() && self.path("modules").join(module).is_dir()
    }

    /// Removes copies of modules that are not used any more.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn keep_only(&self, module: &str) -> Result<(), Error> {
        for entry in fs::read_dir(self.path("modules"))? {
            let entry = entry?;
            if entry.file_name().to_str() != Some(module) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes the root module.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_root(&self, root: &Root) -> Result<(), Error> {
        write(&self.path("main.tf.json"), &pretty(&root.main))?;
        write(
            &self.path("terraform.tfvars.json"),
            &pretty(&root.variables),
        )
    }

    /// Takes a root module away that must never be applied, and its plan.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_preview(&self) -> Result<(), Error> {
        for name in [
            "main.tf.json",
            "terraform.tfvars.json",
            SavedPlan::Preview.file(),
        ] {
            remove(&self.path(name))?;
        }
        Ok(())
    }

    /// Takes the providers that the module pins, or none, so that they are chosen
    /// anew for a module that changed.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn take_lock_of(&self, module: &str) -> Result<(), Error> {
        match fs::read(self.path("modules").join(module).join(LOCK)) {
            Ok(content) => Ok(fs::write(self.path(LOCK), content)?),
            Err(error) if error.kind() == ErrorKind::NotFound => remove(&self.path(LOCK)),
            Err(error) => Err(error.into()),
        }
    }

    /// What was done here; nothing where the record is missing or broken.
    #[must_use]
    pub fn record(&self) -> Record {
        self.read_json(".nestor/record.json").unwrap_or_default()
    }

    /// Records what was done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_record(&self, record: &Record) -> Result<(), Error> {
        self.write_json(".nestor/record.json", record)
    }

    /// Remembers for which root module `plan.bin` was made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_planned(&self, root: &Root) -> Result<(), Error> {
        let made_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        self.write_json(
            ".nestor/plan.json",
            &PlanRecord {
                root: root_digest(root),
                made_at,
            },
        )
    }

    /// Whether `plan.bin` is a plan of exactly this root module, and young.
    #[must_use]
    pub fn is_planned(&self, root: &Root) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let young = |made_at: u64| now.saturating_sub(Duration::from_secs(made_at)) < PLAN_AGE;
        let record: Option<PlanRecord> = self.read_json(".nestor/plan.json");
        !root.preview
            && self.path(SavedPlan::Plan.file()).exists()
            && record
                .is_some_and(|record| record.root == root_digest(root) && young(record.made_at))
    }

    /// Removes a saved plan: it was applied, or must not be.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, saved: SavedPlan) -> Result<(), Error> {
        if saved == SavedPlan::Plan {
            remove(&self.path(".nestor/plan.json"))?;
        }
        remove(&self.path(saved.file()))
    }

    /// Whether the checkout holds a state of this workspace.
    #[must_use]
    pub fn has_local_state(&self, workspace: &str) -> bool {
        self.path("terraform.tfstate.d")
            .join(workspace)
            .join("terraform.tfstate")
            .exists()
    }

    /// Whether nothing was ever done here, or all of it was cleared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_ours = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| !HOSTS.iter().any(|name| entry.file_name() == *name))
        };
        fs::read_dir(&self.root).is_ok_and(|mut entries| !entries.any(is_ours))
    }

    /// Removes everything: the resource is gone.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> Result<(), Error> {
        let entries: BTreeSet<PathBuf> = fs::read_dir(&self.root)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        // The state goes last: while it is there, a repeated call still knows
        // that there was something.
        let is_state = |path: &&PathBuf| path.ends_with("terraform.tfstate.d");
        for path in entries
            .iter()
            .filter(|path| !is_state(path))
            .chain(entries.iter().filter(is_state))
        {
            remove(path)?;
        }
        Ok(())
    }

    fn read_json<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        fs::create_dir_all(self.path(".nestor"))?;
        write(&self.path(name), &pretty(&json!(value)))
    }
}

fn root_digest(root: &Root) -> String {
    digest(format!("{}\0{}", root.main, root.variables).as_bytes())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Error> {
    match fs::read(path) {
        Ok(old) if old == text.as_bytes() => Ok(()),
        _ => Ok(fs::write(path, text)?),
    }
}

fn remove(path: &std::path::Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
