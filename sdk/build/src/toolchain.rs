//! Which cargo builds Rust guests.
//!
//! A guest needs the standard library for `wasm32-wasip2`. Where it comes from
//! differs between machines, so it is looked up in this order:
//!
//! 1. what the environment says: `NESTOR_WASM_CARGO` (the cargo to run; this one
//!    switches the rest on), `NESTOR_WASM_RUSTC` (becomes `RUSTC`),
//!    `NESTOR_WASM_RUSTFLAGS` (becomes `RUSTFLAGS`), `NESTOR_WASM_FLAGS` (more
//!    arguments for `cargo build`, split at spaces), `NESTOR_WASM_PATH` (folders
//!    put before `PATH`), `NESTOR_WASM_BOOTSTRAP` (becomes `RUSTC_BOOTSTRAP`);
//! 2. the toolchain on the `PATH`, when the target is installed for it;
//! 3. on Debian, the packages `rustc-web cargo-web rust-web-src wasi-libc`, with
//!    the standard library built from source and linked by the linkers of the
//!    toolchain on the `PATH`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::BuildError;

/// The target of Rust guests.
pub(crate) const TARGET: &str = "wasm32-wasip2";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

/// How to run cargo for guests: `program build --release --target wasm32-wasip2`
/// and then `arguments`, in the environment `env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmToolchain {
    /// The cargo to run.
    pub program: OsString,
    /// What follows after `build --release --target wasm32-wasip2`.
    pub arguments: Vec<String>,
    /// Variables to set.
    pub env: Vec<(String, OsString)>,
    /// Where it was found, for messages.
    pub source: &'static str,
}

impl WasmToolchain {
    /// The command `cargo build --release --target wasm32-wasip2 …` in `folder`.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(folder)
            .args(["build", "--release", "--target", TARGET]);
        command.args(&self.arguments);
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }
}

/// Looks for a cargo that builds guests, for a crate in `folder` (a
/// `rust-toolchain.toml` there or above counts).
///
/// # Errors
/// When there is none, with what to install.
pub fn wasm_toolchain(folder: &Path) -> Result<WasmToolchain, BuildError> {
    if let Some(told) = from_environment(|name| std::env::var_os(name)) {
        return Ok(told);
    }
    let sysroot = sysroot(folder);
    if let Some(sysroot) = &sysroot
        && sysroot
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
    {
        return Ok(WasmToolchain {
            program: cargo(),
            arguments: Vec::new(),
            env: Vec::new(),
            source: "the installed target",
        });
    }
    debian(sysroot.as_deref(), std::env::var_os("PATH"), Path::is_file).ok_or_else(|| {
        BuildError::Toolchain(format!(
            "no standard library for {TARGET}. Run `rustup target add {TARGET}`; where that is not \
             possible, on Debian: `apt-get install rustc-web cargo-web rust-web-src wasi-libc`"
        ))
    })
}

fn cargo() -> OsString {
    // Set when this runs below cargo: then the same one, not another version.
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn from_environment(var: impl Fn(&str) -> Option<OsString>) -> Option<WasmToolchain> {
    let program = var("NESTOR_WASM_CARGO").filter(|v| !v.is_empty())?;
    let mut env = Vec::new();
    for (told, name) in [
        ("NESTOR_WASM_RUSTC", "RUSTC"),
        ("NESTOR_WASM_RUSTFLAGS", "RUSTFLAGS"),
        ("NESTOR_WASM_BOOTSTRAP", "RUSTC_BOOTSTRAP"),
    ] {
        if let Some(value) = var(told) {
            env.push((name.to_owned(), value));
        }
    }
    if let Some(first) = var("NESTOR_WASM_PATH") {
        env.push(("PATH".to_owned(), before(&first, var("PATH"))));
    }
    let flags = var("NESTOR_WASM_FLAGS").unwrap_or_default();
    let arguments = flags
        .to_string_lossy()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    Some(WasmToolchain {
        program,
        arguments,
        env,
        source: "NESTOR_WASM_CARGO",
    })
}

/// The Debian way, when its files are there. `sysroot` is the rustup
/// toolchain's, whose linkers understand this target; Debian's package has none.
fn debian(
    sysroot: Option<&Path>,
    path: Option<OsString>,
    exists: impl Fn(&Path) -> bool,
) -> Option<WasmToolchain> {
    let libc = Path::new(DEBIAN_LIBC).join("libc.a");
    if ![Path::new(DEBIAN_CARGO), Path::new(DEBIAN_RUSTC), &libc]
        .into_iter()
        .all(exists)
    {
        return None;
    }
    let mut env: Vec<(String, OsString)> = vec![
        ("RUSTC".into(), DEBIAN_RUSTC.into()),
        // Building std needs unstable flags of a stable compiler.
        ("RUSTC_BOOTSTRAP".into(), "1".into()),
        (
            "RUSTFLAGS".into(),
            format!("-L native={DEBIAN_LIBC}").into(),
        ),
    ];
    if let Some(sysroot) = sysroot {
        let machine = format!(
            "lib/rustlib/{}-unknown-linux-gnu/bin",
            std::env::consts::ARCH
        );
        let linkers = sysroot.join(machine);
        env.push(("PATH".into(), before(linkers.as_os_str(), path)));
    }
    Some(WasmToolchain {
        program: DEBIAN_CARGO.into(),
        arguments: vec!["-Z".into(), "build-std=std,panic_abort".into()],
        env,
        source: "Debian's packages",
    })
}

fn before(first: &std::ffi::OsStr, path: Option<OsString>) -> OsString {
    let mut joined = first.to_owned();
    if let Some(path) = path {
        joined.push(":");
        joined.push(path);
    }
    joined
}

fn sysroot(folder: &Path) -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .current_dir(folder)
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_when_it_names_a_cargo() {
        let set = |name: &str| {
            Some(OsString::from(match name {
                "NESTOR_WASM_CARGO" => "/opt/cargo",
                "NESTOR_WASM_RUSTC" => "/opt/rustc",
                "NESTOR_WASM_FLAGS" => "-Z build-std=std",
                "NESTOR_WASM_PATH" => "/opt/bin",
                "PATH" => "/bin",
                _ => return None,
            }))
        };
        let toolchain = from_environment(set).unwrap();
        assert_eq!(toolchain.program, "/opt/cargo");
        assert_eq!(toolchain.arguments, ["-Z", "build-std=std"]);
        assert_eq!(
            toolchain.env,
            [
                ("RUSTC".to_owned(), "/opt/rustc".into()),
                ("PATH".to_owned(), "/opt/bin:/bin".into())
            ]
        );
        assert_eq!(from_environment(|_| None), None);
    }

    #[test]
    fn debian_needs_all_of_its_files() {
        let sysroot = Path::new("/rustup/1.95");
        let all = debian(Some(sysroot), Some("/bin".into()), |_| true).unwrap();
        assert_eq!(all.program, DEBIAN_CARGO);
        assert_eq!(all.arguments, ["-Z", "build-std=std,panic_abort"]);
        let path = &all.env.iter().find(|(name, _)| name == "PATH").unwrap().1;
        let linkers = format!(
            "/rustup/1.95/lib/rustlib/{}-unknown-linux-gnu/bin:/bin",
            std::env::consts::ARCH
        );
        assert_eq!(path, linkers.as_str());
        for missing in [DEBIAN_CARGO, DEBIAN_RUSTC, "/usr/lib/wasm32-wasi/libc.a"] {
            assert_eq!(
                debian(Some(sysroot), None, |p| p != Path::new(missing)),
                None,
                "{missing}"
            );
        }
    }
}
