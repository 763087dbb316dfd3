//! The routes, by what they are about.

pub(crate) mod actions;
pub(crate) mod approval;
pub(crate) mod catalog;
pub(crate) mod deployments;
pub(crate) mod drift;
pub(crate) mod engines;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod report;
pub(crate) mod upload;
pub(crate) mod webhooks;
