//! A real program under the fake host.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use crate::error::Error;
use crate::host::{Child, Invocation, Line};

/// Variables without which hardly any program starts.
const INHERITED: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

pub(super) struct Program {
    process: Process,
    lines: Receiver<Line>,
    deadline: Instant,
    late: bool,
}

impl Program {
    pub(super) fn start(path: &Path, work: &Path, invocation: &Invocation) -> Result<Self, Error> {
        let mut process = Command::new(path)
            .args(&invocation.args)
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| std::env::var_os(name).map(|value| (*name, value))),
            )
            .envs(invocation.env.iter().map(|(name, value)| (name, value)))
            .current_dir(work.join(&invocation.directory))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Denied(format!("tool `{}`: {error}", invocation.tool)))?;
        let (sender, lines) = channel();
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        forward(stdout, false, sender.clone());
        forward(stderr, true, sender);
        let mut stdin = process.stdin.take().expect("stdin is piped");
        if let Some(input) = invocation.stdin.clone() {
            // A program that does not read its input is no failure.
            std::thread::spawn(move || stdin.write_all(&input).ok());
        }
        Ok(Self {
            process,
            lines,
            deadline: Instant::now() + invocation.timeout,
            late: false,
        })
    }
}

fn forward(stream: impl Read + Send + 'static, stderr: bool, sender: Sender<Line>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let text = String::from_utf8_lossy(&line).into_owned();
            if sender.send(Line { stderr, text }).is_err() {
                break;
            }
        }
    });
}

impl Child for Program {
    fn next_line(&mut self) -> Option<Line> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.late = true;
                self.kill();
                None
            }
        }
    }

    fn wait(&mut self) -> Result<i32, Error> {
        while self.next_line().is_some() {}
        let status = self.process.wait()?;
        match status.code() {
            Some(code) if !self.late => Ok(code),
            _ if self.late => Err(Error::failed("the tool exceeded its time and was ended")),
            _ => Err(Error::failed("the tool was ended by a signal")),
        }
    }

    fn kill(&mut self) {
        // Already gone is what was wanted.
        self.process.kill().ok();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        self.process.wait().ok();
    }
}
