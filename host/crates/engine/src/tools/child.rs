//! One running tool: its lines, its end, and that nothing of it is left.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

pub(crate) use super::lines::Line;
use super::lines::Queue;
use super::spawner::Process;

/// How long the output of an ended tool may still be read: what is in the
/// pipes, not what an escaped grandchild goes on writing.
const GRACE: Duration = Duration::from_secs(2);

/// Between the interrupt and the kill: enough for terraform to finish a request
/// and to write its state.
pub(super) const FAREWELL: Duration = Duration::from_secs(15);

type Ended = Result<i32, String>;

/// A guest's handle of a running tool. Dropping it ends the tool and all that is
/// still in its process group: first with an interrupt, since a tool that is
/// killed in the middle may forget what it made.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Child {
    lines: mpsc::Receiver<Line>,
    /// Sent: kill now. Dropped: end it.
    kill: Option<oneshot::Sender<()>>,
    end: End,
}

enum End {
    Awaited(oneshot::Receiver<Ended>),
    Known(Ended),
}

impl Child {
    /// Takes over a started tool.
    pub(super) fn watch(mut process: Process, slot: OwnedSemaphorePermit) -> Self {
        let (queue, lines) = Queue::new();
        let (kill, killed) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let stdout = process.child.stdout.take();
        let stderr = process.child.stderr.take();
        let (out, err) = (queue.clone(), queue);
        let readers = tokio::spawn(async move {
            let out = async {
                if let Some(stdout) = stdout {
                    out.read(stdout, false).await;
                }
            };
            let err = async {
                if let Some(stderr) = stderr {
                    err.read(stderr, true).await;
                }
            };
            tokio::join!(out, err);
        });
        let feeder =
            process
                .child
                .stdin
                .take()
                .zip(process.stdin.take())
                .map(|(mut stdin, bytes)| {
                    // A tool that does not read its input is its own affair.
                    tokio::spawn(async move {
                        let _ = stdin.write_all(&bytes).await;
                    })
                });
        tokio::spawn(async move {
            let result = supervise(process, killed).await;
            let _ = ended.send(result);
            let abort = readers.abort_handle();
            if timeout(GRACE, readers).await.is_err() {
                abort.abort();
            }
            if let Some(feeder) = feeder {
                feeder.abort();
            }
            drop(slot);
        });
        Self {
            lines,
            kill: Some(kill),
            end: End::Awaited(end),
        }
    }

    pub(crate) async fn next_line(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// Throws away what was not read yet: a tool that waits for a reader would
    /// never end.
    pub(crate) async fn wait(&mut self) -> Ended {
        while self.lines.recv().await.is_some() {}
        if let End::Awaited(end) = &mut self.end {
            let ended = end
                .await
                .unwrap_or_else(|_| Err("the tool's end was missed".into()));
            self.end = End::Known(ended);
        }
        match &self.end {
            End::Known(ended) => ended.clone(),
            End::Awaited(_) => Err("the tool's end was missed".into()),
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // It may have ended already.
            let _ = kill.send(());
        }
    }
}

/// Waits for the end, or makes it.
async fn supervise(mut process: Process, killed: oneshot::Receiver<()>) -> Ended {
    let group = process
        .child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let signal = |signal| {
        if let Some(group) = group {
            // It may have ended already.
            let _ = kill_process_group(group, signal);
        }
    };
    let (why, gently) = tokio::select! {
        biased;
        _ = process.child.wait() => (None, false),
        () = sleep_until(process.deadline) => (Some(format!("it was ended: it ran longer than {:?}", process.timeout)), true),
        killed = killed => (Some("it was killed".to_owned()), killed.is_err()),
    };
    if gently {
        signal(Signal::INT);
        let _ = timeout(FAREWELL, process.child.wait()).await;
    }
    // Also after an ordinary end: what it left running must not go on.
    signal(Signal::KILL);
    let status = process.child.wait().await;
    drop(process.short_tmp.take());
    match (why, status) {
        (Some(why), _) => Err(why),
        (None, Err(error)) => Err(format!("its end could not be waited for: {error}")),
        (None, Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => Ok(code),
            (None, Some(signal)) => Err(format!("it was ended by signal {signal}")),
            (None, None) => Err("it ended without a status".into()),
        },
    }
}
