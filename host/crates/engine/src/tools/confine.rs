//! How a tool's process is shut in.
//!
//! This is the one place for it. Now: an empty environment plus what is
//! granted, a working directory by descriptor, a process group of its own that
//! dies with the host, no new privileges, no inherited descriptors, and limits
//! on files. Landlock, namespaces with the egress relay and seccomp belong
//! here too, and are not here yet: a granted tool runs with the host's rights
//! over files and network.

use std::process::Stdio;

use tokio::process::Command;

use super::Plan;
use crate::sys::{ChildSetup, set_up};

/// A provider of terraform opens hundreds of connections.
const MAX_DESCRIPTORS: u64 = 4096;

/// The command of a plan, shut in; and what goes to its standard input.
pub(super) fn command(plan: Plan) -> (Command, Option<Vec<u8>>, Option<tempfile::TempDir>) {
    let mut command = std::process::Command::new(&plan.program);
    command
        .args(&plan.args)
        .env_clear()
        .envs(plan.env)
        .stdin(if plan.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    set_up(
        &mut command,
        ChildSetup {
            directory: plan.directory,
            max_file: plan.max_file,
            max_descriptors: MAX_DESCRIPTORS,
        },
    );
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    (command, plan.stdin, plan.short_tmp)
}
