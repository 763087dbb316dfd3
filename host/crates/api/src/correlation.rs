//! The id under which everything that one request causes is found again.

use axum::http::HeaderMap;

use crate::limits::MAX_CORRELATION_ID;

/// The header that is read first and always answered.
pub const CORRELATION_ID: &str = "x-correlation-id";
/// Read when the other is not there.
pub const REQUEST_ID: &str = "x-request-id";

/// A request's correlation id; in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CorrelationId(pub(crate) String);

impl CorrelationId {
    /// The client's, if it is well-formed, else a new one that sorts by time.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        [CORRELATION_ID, REQUEST_ID]
            .iter()
            .find_map(|name| {
                headers
                    .get(*name)?
                    .to_str()
                    .ok()
                    .filter(|id| well_formed(id))
            })
            .map_or_else(
                || Self(uuid::Uuid::now_v7().to_string()),
                |id| Self(id.to_owned()),
            )
    }
}

/// Nothing that a log, a header or a path could take for something else.
fn well_formed(id: &str) -> bool {
    (1..=MAX_CORRELATION_ID).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'='))
}

/// W3C trace context, if it is well-formed: `00-<32 hex>-<16 hex>-<2 hex>`.
#[must_use]
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    match parts.as_slice() {
        [version, trace, span, flags]
            if hex(version, 2)
                && *version != "ff"
                && hex(trace, 32)
                && !zero(trace)
                && hex(span, 16)
                && !zero(span)
                && hex(flags, 2) =>
        {
            Some(text.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn takes_the_clients_id_if_it_is_well_formed() {
        for (given, taken) in [
            (
                vec![("x-correlation-id", "abc-1.2:3_4")],
                Some("abc-1.2:3_4"),
            ),
            (vec![("x-request-id", "r")], Some("r")),
            (
                vec![("x-correlation-id", "a"), ("x-request-id", "b")],
                Some("a"),
            ),
            (
                vec![("x-correlation-id", "a b"), ("x-request-id", "b")],
                Some("b"),
            ),
            (vec![("x-correlation-id", "")], None),
            (vec![("x-correlation-id", "../etc")], None),
            (vec![("x-correlation-id", "\u{1b}[31m")], None),
            (vec![], None),
        ] {
            if given.iter().any(|(_, v)| v.contains('\u{1b}')) {
                assert!("\u{1b}[31m".parse::<axum::http::HeaderValue>().is_err());
                continue;
            }
            let id = CorrelationId::of(&headers(&given)).0;
            match taken {
                Some(taken) => assert_eq!(id, taken),
                None => assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}"),
            }
        }
        let long = "x".repeat(MAX_CORRELATION_ID + 1);
        assert_ne!(
            CorrelationId::of(&headers(&[("x-correlation-id", &long)])).0,
            long
        );
    }

    #[test]
    fn passes_on_only_a_real_traceparent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (text, taken) in [
            (good, true),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                false,
            ),
            (
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                false,
            ),
            ("00-4bf9-00f067aa0ba902b7-01", false),
            ("nonsense", false),
        ] {
            assert_eq!(
                traceparent(&headers(&[("traceparent", text)])).is_some(),
                taken,
                "{text}"
            );
        }
    }
}
