//! Server-sent events, read as the HTML standard says.

use bytes::Bytes;

/// One event of a deployment is a few kilobytes; a stream that sends a line
/// longer than this is not one.
const MAX_EVENT: usize = 16 << 20;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: String,
    pub(crate) data: String,
    /// The last id that was seen, also when this event has none of its own.
    pub(crate) last_id: Option<String>,
}

/// More than [`MAX_EVENT`] bytes without the end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts a stream of bytes into events, wherever the bytes are cut.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    kind: String,
    data: String,
    size: usize,
    last_id: Option<String>,
}

impl Parser {
    /// Takes bytes in; events that they complete are appended to `out`.
    pub(crate) fn push(&mut self, bytes: &Bytes, out: &mut Vec<Frame>) -> Result<(), TooLong> {
        for &byte in bytes {
            let ends = byte == b'\n' || byte == b'\r';
            if byte == b'\n' && std::mem::take(&mut self.after_cr) {
                continue;
            }
            self.after_cr = byte == b'\r';
            if !ends {
                self.line.push(byte);
                self.size += 1;
                if self.size > MAX_EVENT {
                    return Err(TooLong);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.line(&String::from_utf8_lossy(&line), out);
        }
        Ok(())
    }

    fn line(&mut self, line: &str, out: &mut Vec<Frame>) {
        if line.is_empty() {
            self.size = 0;
            let kind = std::mem::take(&mut self.kind);
            let data = std::mem::take(&mut self.data);
            if let Some(data) = data.strip_suffix('\n') {
                out.push(Frame {
                    kind,
                    data: data.to_owned(),
                    last_id: self.last_id.clone(),
                });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => {
                self.last_id = (!value.is_empty()).then(|| value.to_owned())
            }
            // "" is a comment; "retry" is ours to decide.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&str]) -> Vec<Frame> {
        let mut parser = Parser::default();
        let mut out = Vec::new();
        for chunk in chunks {
            parser
                .push(&Bytes::copy_from_slice(chunk.as_bytes()), &mut out)
                .unwrap();
        }
        out
    }

    fn frame(kind: &str, data: &str, id: Option<&str>) -> Frame {
        Frame {
            kind: kind.into(),
            data: data.into(),
            last_id: id.map(Into::into),
        }
    }

    #[test]
    fn reads_events_wherever_they_are_cut() {
        let text = ": hello\n\nid: 1\nevent: ready\ndata: {\"a\":\ndata: 1}\n\nevent: progress\r\ndata:x\r\n\r\ndata: y\r\rid: 2\n\n";
        let whole = parse(&[text]);
        assert_eq!(
            whole,
            [
                frame("ready", "{\"a\":\n1}", Some("1")),
                frame("progress", "x", Some("1")),
                frame("", "y", Some("1"))
            ]
        );
        for at in 1..text.len() {
            assert_eq!(parse(&[&text[..at], &text[at..]]), whole, "cut at {at}");
        }
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(
            parse(&bytes.iter().map(String::as_str).collect::<Vec<_>>()),
            whole
        );
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        let results: Vec<_> = (0..17)
            .map(|_| parser.push(&chunk, &mut Vec::new()))
            .collect();
        assert_eq!(results.last(), Some(&Err(TooLong)));
    }
}
