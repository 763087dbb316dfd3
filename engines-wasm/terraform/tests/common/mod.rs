//! What the tests share: a module that needs no provider, requests, and the
//! real tools that are to be found.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::PathBuf;

use nestor_sdk::testing::FakeHost;
use nestor_sdk::{Error, JsonType, Outcome, Output, Prior, Purpose, Request, Settled, Value, json};

/// A database as a module would make one, of `terraform_data` alone.
pub(crate) const MODULE: &str = r#"
variable "name" {
  type = string
  validation {
    condition     = length(var.name) > 2
    error_message = "The name must be longer than 2 characters."
  }
}
variable "size" {
  type    = number
  default = 5
}
variable "zones" {
  type    = list(string)
  default = []
}
variable "settings" {
  type    = object({ url = string, port = optional(number) })
  default = null
}
variable "password" {
  type      = string
  sensitive = true
  default   = "hunter2"
}
resource "terraform_data" "storage" {
  input = var.size
}
resource "terraform_data" "database" {
  input            = { name = var.name, zones = var.zones, password = var.password, settings = var.settings }
  triggers_replace = [var.name]
  depends_on       = [terraform_data.storage]
}
output "endpoint" { value = "${var.name}.internal:${5000 + var.size}" }
output "id" { value = terraform_data.database.id }
output "url" { value = "db://admin:${var.password}@${var.name}" }
output "zones" { value = var.zones }
"#;

/// The tools on this machine: `terraform` and `tofu` on PATH, and what
/// `NESTOR_TERRAFORM` names. Empty where there is none; the tests then only say
/// so.
pub(crate) fn tools() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::var_os("NESTOR_TERRAFORM").map(PathBuf::from);
    let found = ["terraform", "tofu"].into_iter().filter_map(|name| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    });
    let mut tools: Vec<PathBuf> = named.into_iter().chain(found).collect();
    tools.dedup();
    if tools.is_empty() {
        eprintln!("neither terraform nor tofu is on PATH: nothing was tried");
    }
    tools
}

/// A host whose tool is real and whose definition holds the module.
pub(crate) fn host(tool: &PathBuf) -> FakeHost {
    FakeHost::new()
        .file("module/main.tf", MODULE)
        .program("terraform", tool)
}

/// A request for the module.
pub(crate) fn request(config: Value) -> Request {
    let mut request = Request::for_test("database", config)
        .declares("endpoint", JsonType::String, false)
        .declares("id", JsonType::String, false)
        .declares("url", JsonType::String, false)
        .declares("zones", JsonType::Array, false);
    request.definition = json!({"module": "./module"});
    request
}

/// The request that follows on a settled one.
pub(crate) fn after(request: &Request, settled: &Settled, config: Value) -> Request {
    let mut next = request.clone();
    next.prior = Some(Prior {
        config: request.config.clone(),
        outputs: settled.outputs.clone(),
        state: settled.state.clone(),
    });
    next.config = config;
    next
}

/// The same request for another purpose.
pub(crate) fn purpose(request: &Request, purpose: Purpose) -> Request {
    let mut request = request.clone();
    request.context.purpose = purpose;
    request
}

/// What was reached.
#[track_caller]
pub(crate) fn ready(outcome: Result<Outcome, Error>) -> Settled {
    match outcome {
        Ok(Outcome::Ready(settled)) => settled,
        other => panic!("must be ready: {other:?}"),
    }
}

/// An output by name.
#[track_caller]
pub(crate) fn output<'a>(settled: &'a Settled, name: &str) -> &'a Output {
    settled
        .outputs
        .iter()
        .find(|output| output.name == name)
        .expect("declared")
}

/// The argument patterns and variables that `engine.toml` asks for.
pub(crate) fn granted() -> (Vec<Vec<String>>, Vec<String>) {
    let text = include_str!("../../engine.toml");
    let document: toml::Value = toml::from_str(text).expect("engine.toml is TOML");
    let tool = &document["tool"][0];
    let texts = |value: &toml::Value| -> Vec<String> {
        value
            .as_array()
            .expect("a list")
            .iter()
            .map(|text| text.as_str().expect("a text").to_string())
            .collect()
    };
    (
        tool["args"]
            .as_array()
            .expect("a list")
            .iter()
            .map(texts)
            .collect(),
        texts(&tool["env"]),
    )
}

/// As the host matches arguments: an element stands for itself, or with a star
/// at its end for what begins so.
pub(crate) fn matches(pattern: &[String], args: &[String]) -> bool {
    pattern.len() == args.len()
        && pattern
            .iter()
            .zip(args)
            .all(|(element, arg)| match element.strip_suffix('*') {
                Some(prefix) => arg.starts_with(prefix),
                None => element == arg,
            })
}
