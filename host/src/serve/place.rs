//! The folder for everything durable.

use std::path::PathBuf;

use crate::config::Config;

/// The config's, else `$XDG_DATA_HOME/nestor`, else `.nestor` here; made, for
/// this user alone, when it is not there.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn data_dir(config: &Config) -> Result<PathBuf, String> {
    let path = planned(config);
    let cannot = |e: std::io::Error| {
        format!(
            "the data directory {} cannot be used: {e}; choose another with --data-dir",
            path.display()
        )
    };
    let mut builder = std::fs::DirBuilder::new();
    // Checkouts hold the state of what was deployed.
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&path).map_err(cannot)?;
    path.canonicalize().map_err(cannot)
}

/// The same without making it.
pub(crate) fn planned(config: &Config) -> PathBuf {
    if let Some(path) = &config.server.data_dir {
        return path.clone();
    }
    // The specification says that a relative path is to be ignored.
    std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .map_or_else(|| PathBuf::from(".nestor"), |path| path.join("nestor"))
}
