//! A deployment as a composer asks for it, parsed into types that cannot hold
//! nonsense.

mod model;
pub(crate) mod parse;
mod reference;
#[cfg(test)]
pub(crate) mod samples;
mod scan;

pub use model::{
    CatalogRef, Config, DeliveryMode, Dependency, DeploymentSpec, OnConflict, OnFailure, Policy,
    Queued, ResourceSpec, Strategy, VersionSelector,
};
pub use parse::{
    MAX_BODY_BYTES, MAX_CONFIG_DEPTH, MAX_DEPENDENCIES, MAX_LABELS, MAX_PRIORITY, MAX_RESOURCES,
    MAX_TTL, MAX_VALUES, parse,
};
pub use reference::{
    MAX_REFERENCE_PATH, MAX_REFERENCES_PER_TEXT, Part, Reference, Template, TemplateError,
};

pub(crate) use scan::{Found, no_such_resource, scan};
