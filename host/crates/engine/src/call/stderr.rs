//! The guest's standard error: its last lines are kept, for a trap's message.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::convert::clean;

/// A panic message with its location, or the beginning of Go's goroutine dump.
const KEPT: usize = 8 << 10;
/// What a guest may write at once: a bound on what the host copies.
const CHUNK: usize = 64 << 10;
/// Of the tail, in a message.
const SHOWN: usize = 2000;

/// Swallows everything and remembers the end.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (kept.len() + bytes.len()).saturating_sub(KEPT);
        let excess = excess.min(kept.len());
        kept.drain(..excess);
        kept.extend(bytes);
    }

    /// What was written last, fit to be shown.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, back) = kept.as_slices();
        let bytes = [front, back].concat();
        let text = String::from_utf8_lossy(&bytes);
        // A Go panic is told in its first lines, a Rust one in its last; both
        // fit, unless much was written before.
        let text = text.trim();
        let start = text
            .char_indices()
            .rev()
            .take(SHOWN)
            .last()
            .map_or(0, |(i, _)| i);
        clean(&text[start..], SHOWN)
    }
}

impl IsTerminal for Tail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Tail {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Tail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[async_trait::async_trait]
impl Pollable for Tail {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Tail {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = Tail::default();
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        tail.push(b"\x1b[31mpanicked at src/lib.rs:7\n");
        let text = tail.text();
        assert!(text.ends_with("panicked at src/lib.rs:7"), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(text.chars().count() <= SHOWN);
        assert!(tail.0.lock().unwrap().len() <= KEPT);
        tail.push(&[b'y'; 3 * KEPT]);
        assert_eq!(tail.0.lock().unwrap().len(), KEPT);
    }
}
