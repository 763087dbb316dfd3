//! Starts tools from one thread that lives as long as the host.
//!
//! A tool dies with the thread that started it (`PR_SET_PDEATHSIG`), and the
//! runtime's threads come and go. Forking a large process also takes a
//! millisecond that no runtime thread should spend.

use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Plan, confine};
use crate::error::EngineHostError;

type Answer = oneshot::Sender<std::io::Result<Child>>;

/// A running tool and what belongs to it.
pub(crate) struct Process {
    pub(super) child: Child,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) short_tmp: Option<tempfile::TempDir>,
    pub(super) deadline: Instant,
    pub(super) timeout: std::time::Duration,
}

/// Handle of the thread; it ends, and the tools with it, when this is dropped.
pub(crate) struct Spawner(mpsc::Sender<(Command, Answer)>);

impl Spawner {
    pub(crate) fn start() -> Result<Self, EngineHostError> {
        let (sender, orders) = mpsc::channel::<(Command, Answer)>();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("nestor-tools".into())
            .spawn(move || {
                let _inside = runtime.enter();
                while let Ok((mut command, answer)) = orders.recv() {
                    // Nobody waits any more: dropping the child kills it.
                    let _ = answer.send(command.spawn());
                }
            })
            .map_err(|e| EngineHostError::Runtime(format!("cannot start a thread: {e}")))?;
        Ok(Self(sender))
    }

    pub(crate) async fn spawn(&self, plan: Plan) -> std::io::Result<Process> {
        let (deadline, timeout) = (plan.deadline, plan.timeout);
        let (command, stdin, short_tmp) = confine::command(plan);
        let gone = || std::io::Error::other("the host is shutting down");
        let (answer, started) = oneshot::channel();
        self.0.send((command, answer)).map_err(|_| gone())?;
        let child = started.await.map_err(|_| gone())??;
        Ok(Process {
            child,
            stdin,
            short_tmp,
            deadline,
            timeout,
        })
    }
}
