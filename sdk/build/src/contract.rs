//! What a component may import and must export.

use serde::{Deserialize, Serialize};
use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

use crate::BuildError;

/// What every engine exports.
const LIFECYCLE: &str = "nestor:engine/lifecycle@0.1.0";

/// What an engine may import besides WASI. The same as the world in the
/// contract; a test holds the two together.
const NESTOR: [&str; 6] = ["types", "report", "definition", "secrets", "store", "tools"];

/// The WASI packages of which an engine may import any interface.
const WASI: [&str; 5] = ["io", "clocks", "random", "filesystem", "cli"];

/// The network is outgoing HTTP and nothing else; whether it leads anywhere is
/// the grant's to say.
const WASI_HTTP: [&str; 2] = ["types", "outgoing-handler"];

/// The names on the outside of a component, each sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surface {
    /// What it asks for.
    pub imports: Vec<String>,
    /// What it gives.
    pub exports: Vec<String>,
}

/// Reads the imports and exports of `wasm` and holds them against the contract.
///
/// # Errors
/// [`BuildError::Contract`] with every import that the contract does not allow
/// and with a missing lifecycle; [`BuildError::Transform`] when it is no
/// WebAssembly.
pub fn check_component(wasm: &[u8]) -> Result<Surface, BuildError> {
    let surface = surface(wasm)?;
    let mut problems: Vec<String> = surface
        .imports
        .iter()
        .filter(|name| !allowed(name))
        .map(|name| format!("it imports {name}, which the contract does not allow"))
        .collect();
    if !surface.exports.iter().any(|name| name == LIFECYCLE) {
        problems.push(format!("it does not export {LIFECYCLE}"));
    }
    if problems.is_empty() {
        Ok(surface)
    } else {
        Err(BuildError::Contract(problems))
    }
}

fn surface(wasm: &[u8]) -> Result<Surface, BuildError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(crate::wasm::TransformError::from)? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding != Encoding::Component {
                    return Err(BuildError::Contract(vec![
                        "it is a core module, not a component".into(),
                    ]));
                }
                depth += 1;
            }
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(
                        import
                            .map_err(crate::wasm::TransformError::from)?
                            .name
                            .name
                            .to_owned(),
                    );
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(crate::wasm::TransformError::from)?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    imports.sort_unstable();
    exports.sort_unstable();
    Ok(Surface { imports, exports })
}

/// Whether the contract knows the import `package:name/interface@version`.
fn allowed(name: &str) -> bool {
    let Some((path, version)) = name.split_once('@') else {
        return false;
    };
    let Some((package, interface)) = path.split_once('/') else {
        return false;
    };
    match package.split_once(':') {
        Some(("nestor", "engine")) => version == "0.1.0" && NESTOR.contains(&interface),
        Some(("wasi", "http")) => version.starts_with("0.2.") && WASI_HTTP.contains(&interface),
        Some(("wasi", package)) => version.starts_with("0.2.") && WASI.contains(&package),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_imported() {
        let table = [
            ("nestor:engine/report@0.1.0", true),
            ("nestor:engine/tools@0.1.0", true),
            ("nestor:engine/backdoor@0.1.0", false),
            ("nestor:engine/report@0.2.0", false),
            ("wasi:filesystem/preopens@0.2.6", true),
            ("wasi:cli/stderr@0.2.0", true),
            ("wasi:http/outgoing-handler@0.2.4", true),
            ("wasi:http/incoming-handler@0.2.4", false),
            ("wasi:sockets/tcp@0.2.0", false),
            ("wasi:io/streams@0.3.0", false),
            ("wasi:io/streams@0.20.0", false),
            ("wasi:io/streams", false),
            ("acme:io/streams@0.2.0", false),
            ("print", false),
        ];
        for (name, expected) in table {
            assert_eq!(allowed(name), expected, "{name}");
        }
    }

    #[test]
    fn the_list_is_the_world_of_the_contract() {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("engine.wit", crate::CONTRACT).unwrap();
        let world = resolve.select_world(&[package], Some("engine")).unwrap();
        let world = &resolve.worlds[world];
        let names = |keys: Vec<&wit_parser::WorldKey>| -> Vec<String> {
            let mut names: Vec<_> = keys
                .into_iter()
                .map(|k| resolve.name_world_key(k))
                .collect();
            names.sort();
            names
        };
        let mut ours: Vec<_> = NESTOR
            .iter()
            .map(|n| format!("nestor:engine/{n}@0.1.0"))
            .collect();
        ours.sort();
        assert_eq!(names(world.imports.keys().collect()), ours);
        assert_eq!(names(world.exports.keys().collect()), [LIFECYCLE]);
        assert_eq!(resolve.id_of_name(package, &world.name), crate::WORLD);
    }

    #[test]
    fn a_core_module_is_refused() {
        let error = check_component(&wasm_encoder::Module::new().finish()).unwrap_err();
        assert!(error.to_string().contains("core module"), "{error}");
    }

    #[test]
    fn an_empty_component_exports_no_lifecycle() {
        let error = check_component(&wasm_encoder::Component::new().finish()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("does not export nestor:engine/lifecycle"),
            "{error}"
        );
    }
}
