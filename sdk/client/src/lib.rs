//! HTTP client for the Nestor API.
