//! Deployment files: JSON as it is, YAML turned into JSON, and the line behind
//! every violation.

use std::io::Read;
use std::path::{Path, PathBuf};

use nestor_client::{ClientError, Problem};
use nestor_core::units::show_size;

use super::failure::at;
use super::{Code, Failure};
use crate::config::document::{self, Node};

/// What a deployment file gives.
pub(crate) struct DeploymentFile {
    /// How messages call it.
    name: String,
    /// JSON for the server.
    pub(crate) body: Vec<u8>,
    /// For the lines; none when it is JSON that cannot be read, which the
    /// server says better.
    document: Option<Node>,
}

impl DeploymentFile {
    /// Reads a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read, or is YAML with a mistake.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        // What the server takes, and a little more for YAML's spaces.
        const MAX_BYTES: u64 = 4 * nestor_core::spec::MAX_BODY_BYTES as u64;
        let name = if path == Path::new("-") {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let mut bytes = Vec::new();
        let read = if path == Path::new("-") {
            std::io::stdin()
                .lock()
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path)
                .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        };
        read.map_err(|e| Failure::invalid(format!("{name} cannot be read: {e}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Failure::invalid(format!(
                "{name} is larger than {}; a deployment has at most {}: split it",
                show_size(MAX_BYTES),
                show_size(nestor_core::spec::MAX_BODY_BYTES as u64),
            )));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Failure::invalid(format!(
                "{name} is not a deployment as JSON or YAML: byte {at} is no UTF-8 text"
            ))
        })?;
        if text.trim().is_empty() {
            return Err(Failure::invalid(format!(
                "{name} is empty; write a deployment into it, as JSON or YAML"
            )));
        }
        let is_json =
            path.extension().is_some_and(|end| end == "json") || text.trim_start().starts_with('{');
        Self::parse(name, text, is_json)
    }

    fn parse(name: String, text: String, is_json: bool) -> Result<Self, Failure> {
        let document = document::parse(&text);
        if is_json {
            return Ok(Self {
                name,
                document: document.ok(),
                body: text.into_bytes(),
            });
        }
        let document =
            document.map_err(|problem| Failure::invalid(document::listed(&name, &[problem])))?;
        let body = serde_json::to_vec(&document.to_json()).expect("a JSON value is JSON");
        Ok(Self {
            name,
            body,
            document: Some(document),
        })
    }

    /// The server's answer about this file, with lines in place of pointers'
    /// bare positions.
    pub(crate) fn explain(&self, error: ClientError) -> Failure {
        match error.problem() {
            Some(problem) if !problem.violations.is_empty() => Failure {
                code: Code::Invalid,
                text: self.lines(problem),
                problem: Some(Box::new(problem.clone())),
            },
            _ => match Failure::from(error) {
                // About the file as a whole: its size, its kind.
                failure @ Failure {
                    code: Code::Invalid,
                    problem: Some(_),
                    ..
                } => Failure {
                    text: format!("{}: {}", self.name, failure.text),
                    ..failure
                },
                failure => failure,
            },
        }
    }

    fn lines(&self, problem: &Problem) -> String {
        let mut lines = vec![format!("{} ({})", problem.title, problem.code)];
        for violation in &problem.violations {
            // The message of text that cannot be read has its own line.
            let line = self.document.as_ref();
            let line = line.map_or_else(String::new, |document| {
                format!(":{}", document.line_of(&violation.pointer).max(1))
            });
            let place = if violation.pointer.is_empty() {
                String::new()
            } else {
                format!(" {}", violation.pointer)
            };
            let place = format!("{}{line}{place}", self.name);
            lines.push(format!(
                "  {}",
                at(&place, &violation.message, &violation.code)
            ));
        }
        lines.join("\n")
    }
}

/// `-f FILE`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FileArgs {
    /// The deployment, as JSON or YAML; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use expect_test::expect;

    use super::*;

    fn problem() -> Problem {
        serde_json::from_value(serde_json::json!({
            "type": "urn:nestor:error:invalid-deployment", "title": "The deployment is not valid", "status": 422,
            "detail": "2 things are wrong; see violations", "code": "invalid-deployment",
            "violations": [
                {"code": "unknown-field", "pointer": "/resources/0/catalogref", "message": "did you mean \"catalogRef\"?"},
                {"code": "missing-field", "pointer": "/environment", "message": "is missing"},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn violations_are_shown_where_they_are() {
        let yaml =
            "id: web-app\nresources:\n  - name: database\n    catalogref: aws-rds-mysql:1.0.0\n";
        let file = DeploymentFile::parse("web-app.yaml".into(), yaml.into(), false).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&file.body).unwrap();
        assert_eq!(body["resources"][0]["catalogref"], "aws-rds-mysql:1.0.0");
        let failure = file.explain(ClientError::Problem(Box::new(problem())));
        assert_eq!(failure.code, Code::Invalid);
        expect![[r#"
            The deployment is not valid (invalid-deployment)
              web-app.yaml:4 /resources/0/catalogref: did you mean "catalogRef"? [unknown-field]
              web-app.yaml:1 /environment: is missing [missing-field]"#]]
        .assert_eq(&failure.text);
    }

    /// The rows of tables on the page, below a heading and before the next.
    fn rows<'a>(page: &'a str, heading: &str) -> BTreeSet<&'a str> {
        let (_, section) = page.split_once(&format!("{heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines();
        rows.filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0))
            .collect()
    }

    #[test]
    fn the_documented_deployment_is_one_with_every_field() {
        let page = include_str!("../../../docs/deployment.md");
        let (_, example) = page.split_once("```yaml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let file = DeploymentFile::parse("deployment.md".into(), example.into(), false).unwrap();
        nestor_core::spec::parse(&file.body).unwrap();
        let openapi: serde_json::Value = serde_json::from_str(nestor_api::openapi_json()).unwrap();
        for (schema, heading) in [
            ("DeploymentRequest", "# The deployment"),
            ("ResourceRequest", "## A resource"),
            ("StrategyRequest", "## `strategy`"),
            ("PolicyRequest", "## `policy`"),
        ] {
            let fields = openapi["components"]["schemas"][schema]["properties"].as_object();
            let fields: BTreeSet<&str> = fields.unwrap().keys().map(String::as_str).collect();
            assert_eq!(rows(page, heading), fields, "{schema}");
            for field in fields {
                assert!(
                    example.contains(&format!("{field}:")),
                    "{field} has no example"
                );
            }
        }
        // Every form of a reference, as the parser itself tells them.
        let forms = nestor_core::spec::Template::parse("${").unwrap_err();
        let (_, forms) = forms.problem.split_once("known are ").unwrap();
        let forms: BTreeSet<String> = forms
            .split_inclusive('}')
            .filter_map(|form| Some(form[form.find("${")?..].to_owned()))
            .map(|form| form.replace("<name>", "NAME").replace("<output>", "OUTPUT"))
            .filter(|form| form.ends_with('}'))
            .collect();
        let documented = rows(page, "## References");
        assert_eq!(documented, forms.iter().map(String::as_str).collect());
    }

    #[test]
    fn json_is_sent_as_it_is_and_broken_yaml_is_not_sent() {
        let text = "{\"id\": 1, \"id\": 2";
        let file = DeploymentFile::parse("a.json".into(), text.into(), true).unwrap();
        assert_eq!(file.body, text.as_bytes());
        let failure = DeploymentFile::parse("a.yaml".into(), "id: [\n".into(), false)
            .err()
            .unwrap();
        assert_eq!(failure.code, Code::Invalid);
        assert!(failure.text.starts_with("a.yaml:"), "{}", failure.text);
    }
}
