//! What people get wrong, and what the build says to it; and a Rust crate, with
//! the real cargo.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use nestor_build::{BuildError, build};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds a folder with these files and answers the error.
fn refusal(files: &[(&str, &str)]) -> BuildError {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    build(folder.path(), None, &|_| ()).unwrap_err()
}

/// The same for a Go engine with this text after `package main`.
fn go_refusal(text: &str) -> String {
    let sdk = here().join("../go").canonicalize().unwrap();
    let module = format!(
        "module example.com/wrong\n\ngo 1.26\n\n\
         require github.com/nestor-platform/orchestrator/sdk/go v0.1.0\n\n\
         replace github.com/nestor-platform/orchestrator/sdk/go => {}\n",
        sdk.display()
    );
    let text = format!("package main\n\n{text}\nfunc main() {{}}\n");
    refusal(&[("go.mod", &module), ("main.go", &text)]).to_string()
}

const IMPORT: &str = "import nestor \"github.com/nestor-platform/orchestrator/sdk/go\"\n\n\
    type engine struct{ nestor.Unimplemented }\n\n\
    func (engine) Describe() nestor.Description { return nestor.Description{} }\n\n";

fn check(said: &str, expected: &[&str]) {
    for part in expected {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn a_folder_is_one_project() {
    let neither = refusal(&[("README.md", "")]).to_string();
    check(&neither, &["neither a go.mod nor a Cargo.toml"]);
    let both = refusal(&[("go.mod", "module m\n"), ("Cargo.toml", "")]).to_string();
    check(&both, &["both a go.mod and a Cargo.toml"]);
    let absent = build(Path::new("/nowhere/at/all"), None, &|_| ()).unwrap_err();
    check(&absent.to_string(), &["cannot open /nowhere/at/all"]);
}

#[test]
fn go_that_does_not_compile() {
    let said = go_refusal("var x int = \"text\"\n");
    check(&said, &["go build failed", "messages are above"]);
}

#[test]
fn a_program_that_is_no_engine() {
    check(&go_refusal(""), &["it exports no function nestor_prepare"]);
}

#[test]
fn an_engine_that_is_not_registered() {
    let said = go_refusal(&format!("{IMPORT}var _ = engine{{}}\n"));
    check(
        &said,
        &["no engine; call nestor.Register from an init function"],
    );
}

#[test]
fn a_warm_hook_that_panics() {
    let said = go_refusal(&format!(
        "{IMPORT}func init() {{\n\tnestor.Register(engine{{}})\n\t\
         nestor.Warm(func() {{ panic(\"cold\") }})\n}}\n"
    ));
    check(&said, &["failed while it was initialised", "panic: cold"]);
}

#[test]
fn a_warm_hook_that_calls_the_host() {
    let said = go_refusal(&format!(
        "{IMPORT}func init() {{\n\tnestor.Register(engine{{}})\n\t\
         nestor.Warm(func() {{ nestor.ProgressMessage(\"too early\") }})\n}}\n"
    ));
    check(
        &said,
        &[
            "it called nestor:engine/report@0.1.0::progress, which is not there before it has a host",
        ],
    );
}

#[test]
fn an_init_function_that_reads_a_file() {
    let said = go_refusal(
        "import (\n\t\"os\"\n\n\t_ \"github.com/nestor-platform/orchestrator/sdk/go\"\n)\n\n\
         func init() { os.ReadFile(\"/definition/a\") }\n",
    );
    check(&said, &["wasi_snapshot_preview1::path_open"]);
}

fn crate_files<'a>(crate_type: &'a str, text: &'a str) -> [(&'static str, String); 2] {
    let manifest = format!(
        "[package]\nname = \"wrong\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"{crate_type}\"]\n\n[workspace]\n"
    );
    [("Cargo.toml", manifest), ("src/lib.rs", text.to_owned())]
}

fn rust_refusal(crate_type: &str, text: &str) -> String {
    let [(a, manifest), (b, text)] = crate_files(crate_type, text);
    refusal(&[(a, &manifest), (b, &text)]).to_string()
}

#[test]
fn rust_that_is_no_engine() {
    check(&rust_refusal("rlib", ""), &["makes no component", "cdylib"]);
    check(
        &rust_refusal("cdylib", "fn broken("),
        &["cargo build", "failed"],
    );
    check(
        &rust_refusal("cdylib", "pub fn nothing() {}"),
        &[
            "does not keep to the contract",
            "does not export nestor:engine/lifecycle@0.1.0",
        ],
    );
}

#[test]
fn a_rust_engine_is_built_and_checked() {
    let folder = here().join("../../engines-wasm/noop");
    let built = build(&folder, None, &|_| ()).unwrap();
    assert_eq!(
        built.report.surface.exports,
        ["nestor:engine/lifecycle@0.1.0"]
    );
    assert_eq!(built.report.bytes, built.wasm.len() as u64);
    assert!(built.report.digest.starts_with("sha256:"));
}
