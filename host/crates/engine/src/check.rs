//! What a component is and asks for, before any of it is compiled or linked.
//!
//! Linking alone is no check: wasmtime matches names loosely by version, and an
//! interface without functions links silently.

use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

use nestor_core::grant::Grant;

use crate::error::LoadError;

/// What every engine exports.
pub(crate) const SPEAKS: &str = "nestor:engine/lifecycle@0.1.0";

/// The contract's package.
const PACKAGE: &str = "nestor:engine";
/// Versions of it that this host serves: records are never changed within one,
/// functions may be added.
const MAJOR_MINOR: (u64, u64) = (0, 1);
/// Its interfaces for guests.
const INTERFACES: [&str; 6] = ["types", "report", "definition", "secrets", "store", "tools"];
/// Of WASI 0.2: what the toolchains' standard libraries import on their own.
/// Sockets are among them; they are linked without any address that is allowed.
const WASI: [&str; 6] = ["io", "clocks", "random", "filesystem", "cli", "sockets"];
/// Of WASI 0.2, when granted.
const WASI_HTTP: [&str; 2] = ["types", "outgoing-handler"];

/// Twice the largest engine known (Helm, 87 MB).
pub(crate) const MAX_COMPONENT: u64 = 192 << 20;

/// The names on the outside of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surface {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// Reads the outside of a component; the inside is validated when it is compiled.
pub(crate) fn surface(wasm: &[u8]) -> Result<Surface, LoadError> {
    let size = wasm.len() as u64;
    if size > MAX_COMPONENT {
        return Err(LoadError::TooLarge {
            size,
            max: MAX_COMPONENT,
        });
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm(what_instead(wasm).into()));
    }
    let invalid = |e: wasmparser::BinaryReaderError| LoadError::Invalid(e.to_string());
    let mut surface = Surface::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding == Encoding::Module {
                    return Err(LoadError::CoreModule);
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    surface
                        .imports
                        .push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    if export.kind == ComponentExternalKind::Instance {
                        surface.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

fn what_instead(bytes: &[u8]) -> &'static str {
    let text = bytes.trim_ascii_start();
    if bytes.is_empty() {
        "it is empty"
    } else if text.starts_with(b"(") || text.starts_with(b";;") {
        "it is WebAssembly text; this host takes only the binary format (wasm-tools parse makes it)"
    } else if bytes.starts_with(b"\x7fELF") {
        "it is a native program or precompiled code, which this host never takes from others"
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") || bytes.starts_with(b"\x1f\x8b") {
        "it is compressed; unpack it first"
    } else {
        "it does not begin with the bytes of one"
    }
}

/// Holds the names against what an engine may have, with this grant.
pub(crate) fn allowed<'a>(
    imports: impl IntoIterator<Item = &'a str>,
    exports: impl IntoIterator<Item = &'a str>,
    grant: &Grant,
) -> Result<(), LoadError> {
    let mut unknown = Vec::new();
    for import in imports {
        match verdict(import, grant) {
            Verdict::Allowed => {}
            Verdict::OtherVersion => return Err(other_version(import)),
            Verdict::NotGranted => unknown.push(format!(
                "{import} (this engine is granted no HTTP: request it with [[http]] in engine.toml, and grant it)"
            )),
            Verdict::Unknown => unknown.push(shown(import)),
        }
    }
    if !unknown.is_empty() {
        return Err(LoadError::UnknownImports(unknown));
    }
    let lifecycle = format!("{PACKAGE}/lifecycle@");
    match exports
        .into_iter()
        .find(|name| name.starts_with(&lifecycle))
    {
        None => Err(LoadError::MissingExport),
        Some(name) if contract_version(&name[lifecycle.len()..]) => Ok(()),
        Some(name) => Err(other_version(name)),
    }
}

fn other_version(name: &str) -> LoadError {
    LoadError::ContractVersion { found: shown(name) }
}

/// Names are the component's own words.
fn shown(name: &str) -> String {
    crate::convert::clean_line(name, 100)
}

enum Verdict {
    Allowed,
    NotGranted,
    OtherVersion,
    Unknown,
}

fn verdict(name: &str, grant: &Grant) -> Verdict {
    let parts = name.split_once('@').and_then(|(path, version)| {
        let (package, interface) = path.split_once('/')?;
        Some((package, interface, version))
    });
    let Some((package, interface, version)) = parts else {
        return Verdict::Unknown;
    };
    match package.split_once(':') {
        _ if package == PACKAGE => {
            match (contract_version(version), INTERFACES.contains(&interface)) {
                (false, _) => Verdict::OtherVersion,
                (true, true) => Verdict::Allowed,
                (true, false) => Verdict::Unknown,
            }
        }
        Some(("wasi", "http")) if wasi_version(version) && WASI_HTTP.contains(&interface) => {
            if grant.allows_http() {
                Verdict::Allowed
            } else {
                Verdict::NotGranted
            }
        }
        Some(("wasi", package)) if wasi_version(version) && WASI.contains(&package) => {
            Verdict::Allowed
        }
        _ => Verdict::Unknown,
    }
}

/// Whether a version of the contract is one that this host serves.
fn contract_version(version: &str) -> bool {
    let mut parts = version.splitn(3, '.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    (major, minor) == MAJOR_MINOR
}

/// 0.2, in the releases that wasmtime serves; not a preview, not 0.3.
fn wasi_version(version: &str) -> bool {
    version
        .strip_prefix("0.2.")
        .is_some_and(|patch| patch.parse::<u64>().is_ok())
}

/// Whether a component wants wasi:sockets; only then are they linked, denying.
pub(crate) fn wants_sockets<'a>(imports: impl IntoIterator<Item = &'a str>) -> bool {
    imports
        .into_iter()
        .any(|name| name.starts_with("wasi:sockets/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nestor_core::grant::{Capabilities, effective};

    fn grant(toml: &str) -> Grant {
        let capabilities = Capabilities::parse_grant(toml, "grant").unwrap();
        effective(&capabilities, &capabilities).unwrap()
    }

    #[test]
    fn what_may_be_imported() {
        let none = grant("schema = 1\n");
        let http =
            grant("schema = 1\n[[http]]\norigin = \"https://api.acme.io\"\npaths = [\"/**\"]\n");
        let check = |name: &str, grant: &Grant| allowed([name], [SPEAKS], grant);
        for good in [
            "nestor:engine/report@0.1.0",
            "nestor:engine/tools@0.1.7",
            "wasi:filesystem/preopens@0.2.6",
            "wasi:sockets/tcp@0.2.0",
        ] {
            assert_eq!(check(good, &none), Ok(()), "{good}");
        }
        for bad in [
            "nestor:engine/backdoor@0.1.0",
            "evil:host/escape@1.0.0",
            "wasi:http/incoming-handler@0.2.4",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams@0.2.0-rc-2024",
            "wasi:io/streams@0.20.0",
            "wasi:io/streams",
            "wasi:keyvalue/store@0.2.0",
            "print",
            "a\u{1b}[2Jb",
        ] {
            let error = check(bad, &http).unwrap_err();
            assert!(
                matches!(error, LoadError::UnknownImports(_)),
                "{bad}: {error}"
            );
            assert!(!error.to_string().contains('\u{1b}'));
        }
        for other in [
            "nestor:engine/report@0.2.0",
            "nestor:engine/report@1.1.0",
            "nestor:engine/x@0.9.0",
        ] {
            let error = check(other, &none).unwrap_err();
            assert!(
                matches!(error, LoadError::ContractVersion { .. }),
                "{other}: {error}"
            );
        }
        let outgoing = "wasi:http/outgoing-handler@0.2.4";
        assert_eq!(check(outgoing, &http), Ok(()));
        let error = check(outgoing, &none).unwrap_err().to_string();
        assert!(error.contains("granted no HTTP"), "{error}");
    }

    #[test]
    fn what_must_be_exported() {
        let none = grant("schema = 1\n");
        assert_eq!(allowed([], [], &none), Err(LoadError::MissingExport));
        let newer = allowed([], ["nestor:engine/lifecycle@0.9.0"], &none);
        assert!(matches!(newer, Err(LoadError::ContractVersion { .. })));
    }

    #[test]
    fn what_is_not_a_component() {
        let table: [(&[u8], &str); 7] = [
            (b"", "it is empty"),
            (b"  (component)", "WebAssembly text"),
            (b";; x\n(component)", "WebAssembly text"),
            (b"\x7fELF....", "native program"),
            (b"\x1f\x8b..", "compressed"),
            (b"{}", "does not begin"),
            (b"\0asm\x01\0\0\0", "core module"),
        ];
        for (bytes, says) in table {
            let error = surface(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let broken = surface(b"\0asm\x0d\0\x01\0\xff\xff\xff").unwrap_err();
        assert!(matches!(broken, LoadError::Invalid(_)), "{broken}");
    }
}
