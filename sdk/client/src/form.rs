//! A component and its manifest as multipart/form-data.

use bytes::Bytes;

/// The form's media type and body.
pub(crate) fn encode(component: &[u8], manifest: &str) -> (String, Bytes) {
    let boundary = boundary(component, manifest);
    let mut body = Vec::with_capacity(component.len() + manifest.len() + 512);
    let mut part = |name: &str, media: &str, content: &[u8]| {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: {media}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("manifest", "application/toml", manifest.as_bytes());
    part("component", "application/wasm", component);
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (
        format!("multipart/form-data; boundary={boundary}"),
        body.into(),
    )
}

/// A line that is in neither part.
fn boundary(component: &[u8], manifest: &str) -> String {
    let within = |text: &[u8], line: &[u8]| text.windows(line.len()).any(|window| window == line);
    (0u64..)
        .map(|n| format!("nestor-form-{n:016x}"))
        .find(|line| {
            !within(manifest.as_bytes(), line.as_bytes()) && !within(component, line.as_bytes())
        })
        .expect("a file does not hold every number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_in_neither_part() {
        let (media, body) = encode(
            b"\0asm --nestor-form-0000000000000000",
            "id = \"nestor-form-0000000000000001\"",
        );
        assert_eq!(
            media,
            "multipart/form-data; boundary=nestor-form-0000000000000002"
        );
        assert!(body.ends_with(b"--nestor-form-0000000000000002--\r\n"));
    }
}
