//! The API's description, generated from the routes themselves.

use std::sync::LazyLock;

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nestor",
        description = "The deployment orchestrator. Errors are RFC 9457 problem+json with a stable `code`; \
            `/errors/{code}` explains each.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "deployments", description = "What teams ask for"),
        (name = "plans", description = "What would change"),
        (name = "webhooks", description = "Who is told of what"),
        (name = "engines", description = "The WebAssembly components that do the work"),
        (name = "catalog", description = "What can be deployed"),
        (name = "host", description = "Probes, metrics and documentation"),
    )
)]
pub(crate) struct Description;

/// As `/openapi.json` answers it; `openapi.json` in this crate's folder is the
/// reviewed copy.
#[must_use]
pub fn json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (_, api) = crate::router::described().split_for_parts();
        let mut text = api
            .to_pretty_json()
            .expect("the description is made of texts");
        text.push('\n');
        text
    });
    &TEXT
}
