//! Adapters of the core's Store port: memory and sled.
