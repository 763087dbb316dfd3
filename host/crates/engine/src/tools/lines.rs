//! A tool's output as lines: long ones cut, all of it bounded, and no more
//! held than the guest has read.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A large plan as one line of JSON. Longer lines are cut.
pub(crate) const MAX_LINE: usize = 8 << 20;
/// Of one tool; what comes after is thrown away.
const MAX_OUTPUT: u64 = 256 << 20;
/// Lines held for the guest; beyond that the tool waits.
const MAX_QUEUED: usize = 1024;
/// Read at once.
const CHUNK: usize = 64 << 10;

/// One line, without its end.
pub(crate) struct Line {
    pub(crate) stderr: bool,
    pub(crate) text: String,
    /// Gives its bytes back to the queue.
    _held: OwnedSemaphorePermit,
}

/// Where the lines of both streams come together.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Line>,
    bytes: Arc<Semaphore>,
}

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Line>) {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let queue = Self {
            sender,
            bytes: Arc::new(Semaphore::new(MAX_LINE)),
        };
        (queue, receiver)
    }

    /// False when nobody listens any more.
    async fn push(&self, stderr: bool, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line).into_owned();
        let bytes = u32::try_from(line.len().min(MAX_LINE)).unwrap_or(u32::MAX);
        let Ok(held) = Arc::clone(&self.bytes).acquire_many_owned(bytes).await else {
            return false;
        };
        let line = Line {
            stderr,
            text,
            _held: held,
        };
        self.sender.send(line).await.is_ok()
    }

    /// Reads a stream to its end, also when nobody listens any more: a tool
    /// must not die of a closed pipe in the middle of its work.
    pub(super) async fn read(self, mut stream: impl AsyncRead + Unpin, stderr: bool) {
        let mut chunk = vec![0; CHUNK];
        let mut line = Vec::new();
        let mut cut = 0_u64;
        let mut total = 0_u64;
        let mut heard = true;
        loop {
            let read = match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            total += read as u64;
            if !heard {
                continue;
            }
            if total > MAX_OUTPUT {
                if total - (read as u64) <= MAX_OUTPUT {
                    let note = format!("(output beyond {} MiB is dropped)", MAX_OUTPUT >> 20);
                    self.push(stderr, note.as_bytes()).await;
                }
                continue;
            }
            for part in chunk[..read].split_inclusive(|&b| b == b'\n') {
                let (text, ended) = match part.strip_suffix(b"\n") {
                    Some(text) => (text, true),
                    None => (part, false),
                };
                let room = MAX_LINE.saturating_sub(line.len());
                let fits = text.len().min(room);
                line.extend_from_slice(&text[..fits]);
                cut += (text.len() - fits) as u64;
                if ended && heard {
                    heard = self.end(stderr, &mut line, &mut cut).await;
                }
            }
        }
        if !line.is_empty() {
            self.end(stderr, &mut line, &mut cut).await;
        }
    }

    async fn end(&self, stderr: bool, line: &mut Vec<u8>, cut: &mut u64) -> bool {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if *cut > 0 {
            line.extend_from_slice(format!("… ({cut} bytes cut)").as_bytes());
            *cut = 0;
        }
        let open = self.push(stderr, line).await;
        line.clear();
        // A giant line's buffer is not kept for small ones.
        line.shrink_to(CHUNK);
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8]) -> Vec<String> {
        let (queue, mut receiver) = Queue::new();
        let reading = tokio::spawn(queue.read(std::io::Cursor::new(input.to_vec()), false));
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line.text);
        }
        reading.await.unwrap();
        lines
    }

    #[tokio::test]
    async fn splits_and_cuts() {
        assert_eq!(lines(b"a\nb\r\n\nc").await, ["a", "b", "", "c"]);
        assert_eq!(lines(b"").await, [""; 0]);
        assert_eq!(lines(b"\xff\n").await, ["\u{fffd}"]);
        let mut long = vec![b'x'; MAX_LINE + 10];
        long.extend_from_slice(b"\nnext\n");
        let cut = lines(&long).await;
        assert!(cut[0].ends_with("x… (10 bytes cut)"));
        assert_eq!(cut[1], "next");
    }

    #[tokio::test]
    async fn a_flood_waits_for_its_reader() {
        let (queue, mut receiver) = Queue::new();
        let flood = b"line\n".repeat(10 * MAX_QUEUED);
        let reading = tokio::spawn(queue.read(std::io::Cursor::new(flood), true));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!reading.is_finished(), "it must wait");
        assert!(receiver.len() <= MAX_QUEUED);
        drop(receiver.recv().await);
        drop(receiver);
        reading.await.unwrap();
    }
}
