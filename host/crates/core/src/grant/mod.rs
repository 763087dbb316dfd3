//! What an engine requests, what the platform grants, and what follows.
