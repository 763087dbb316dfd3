//! Nestor: server and command line.
//!
//! | module | does |
//! |---|---|
//! | `cli` | the commands, as a client of a server |
//! | `config` | the server's config file |
//! | `serve` | the server: store, engines, catalog, delivery, orchestrator, API |

mod cli;
mod config;
mod serve;

fn main() -> std::process::ExitCode {
    // The server starts this program again to compile an engine.
    nestor_engine::compile_if_asked().unwrap_or_else(cli::main)
}
