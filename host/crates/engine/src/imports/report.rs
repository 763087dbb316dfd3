//! Log lines and progress: bounded in size and rate, cleaned, handed on.

use std::sync::Arc;
use std::time::Instant;

use nestor_core::grant::Limits;
use nestor_core::ids::EngineId;
use nestor_core::ports::{CallObserver, LogLevel};
use serde_json::{Value, json};

use crate::bindings::nestor::engine::report;
use crate::call::CallState;
use crate::convert::values::{self, Refused};
use crate::convert::{clean, clean_line, log_level};
use crate::metrics::DROPPED_REPORTS;

/// A line for a person, or a tool's complaint.
const MAX_MESSAGE: usize = 8 << 10;
/// A handful of fields.
const MAX_FIELDS: usize = 16 << 10;
/// Far more than anybody reads in one line.
const MAX_FIELD_VALUES: usize = 256;
/// Reports come in bursts: a tool prints ten lines at once. So many seconds'
/// worth may come together, before the rate holds.
const BURST_SECONDS: f64 = 5.0;

/// The reports of one call.
pub(crate) struct Reports {
    engine: EngineId,
    observer: Arc<dyn CallObserver>,
    per_second: f64,
    tokens: f64,
    filled: Instant,
    bytes_left: u64,
    /// Since the last time that it was said.
    dropped: u64,
}

impl Reports {
    pub(crate) fn new(engine: EngineId, limits: &Limits, observer: Arc<dyn CallObserver>) -> Self {
        let per_second = f64::from(limits.events_per_second);
        Self {
            engine,
            observer,
            per_second,
            tokens: per_second * BURST_SECONDS,
            filled: Instant::now(),
            bytes_left: limits.log_bytes,
            dropped: 0,
        }
    }

    /// Whether one more may pass; otherwise it is counted.
    fn admit(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        let since = now.duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + since * self.per_second).min(self.per_second * BURST_SECONDS);
        let bytes_left = self.bytes_left.checked_sub(bytes as u64);
        match bytes_left {
            Some(left) if self.tokens >= 1.0 => {
                self.tokens -= 1.0;
                self.bytes_left = left;
                self.confess();
                true
            }
            _ => {
                self.dropped += 1;
                false
            }
        }
    }

    /// Says how many were dropped, if any.
    fn confess(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped == 0 {
            return;
        }
        metrics::counter!(DROPPED_REPORTS, "engine" => self.engine.to_string()).increment(dropped);
        let message = format!(
            "{dropped} log lines and progress reports beyond the engine's limits were dropped"
        );
        self.observer
            .log(LogLevel::Warn, &message, &json!({ "dropped": dropped }));
    }

    fn log(&mut self, level: LogLevel, message: &str, fields: &str) {
        if !self.admit(message.len().min(MAX_MESSAGE) + fields.len().min(MAX_FIELDS)) {
            return;
        }
        let message = clean(message, MAX_MESSAGE);
        self.observer.log(level, &message, &parse_fields(fields));
    }

    fn progress(&mut self, percent: Option<u8>, message: &str) {
        if self.admit(message.len().min(MAX_MESSAGE)) {
            let message = clean_line(message, MAX_MESSAGE);
            self.observer
                .progress(percent.map(|p| p.min(100)), &message);
        }
    }

    /// The call is over.
    pub(crate) fn finish(&mut self) {
        self.confess();
    }
}

/// The fields, or why they are none: a log line is not worth a failed call.
fn parse_fields(fields: &str) -> Value {
    if fields.is_empty() {
        return json!({});
    }
    if fields.len() > MAX_FIELDS {
        return json!({ "fields": format!("left out: {} bytes, at most {MAX_FIELDS} are allowed", fields.len()) });
    }
    let mut left = MAX_FIELD_VALUES;
    match values::read(fields, &mut left) {
        Ok(Value::Object(fields)) => Value::Object(fields),
        Ok(_) => json!({ "fields": "left out: not a JSON object" }),
        Err(Refused::TooMany) => {
            json!({ "fields": format!("left out: more than {MAX_FIELD_VALUES} values") })
        }
        Err(Refused::NotJson(_)) => json!({ "fields": "left out: not JSON" }),
    }
}

impl report::Host for CallState {
    fn log(
        &mut self,
        level: report::Level,
        message: String,
        fields: String,
    ) -> wasmtime::Result<()> {
        self.reports.log(log_level(level), &message, &fields);
        Ok(())
    }

    fn progress(&mut self, percent: Option<u8>, message: String) -> wasmtime::Result<()> {
        self.reports.progress(percent, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl CallObserver for Heard {
        fn log(&self, level: LogLevel, message: &str, fields: &Value) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{level:?} {message} {fields}"));
        }
        fn progress(&self, percent: Option<u8>, message: &str) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{percent:?} {message}"));
        }
    }

    fn reports(limits: &Limits) -> (Arc<Heard>, Reports) {
        let heard = Arc::new(Heard::default());
        let engine = EngineId::new("test").unwrap();
        (heard.clone(), Reports::new(engine, limits, heard))
    }

    #[test]
    fn a_flood_is_counted_and_said() {
        let limits = Limits {
            events_per_second: 2,
            ..Limits::default()
        };
        let (heard, mut reports) = reports(&limits);
        for n in 0..1000 {
            reports.log(LogLevel::Info, &format!("line {n}"), "{}");
            reports.progress(Some(200), "on");
        }
        reports.finish();
        let heard = heard.0.lock().unwrap();
        assert!(heard.len() < 20, "{heard:?}");
        assert_eq!(heard[0], "Info line 0 {}");
        assert_eq!(heard[1], "Some(100) on");
        assert!(
            heard.last().unwrap().contains("1990 log lines"),
            "{heard:?}"
        );
    }

    #[test]
    fn fields_are_few_or_left_out() {
        let many = format!("{{\"a\":[{}1]}}", "{},".repeat(300));
        let left_out = |why: &str| json!({ "fields": format!("left out: {why}") });
        for (fields, read) in [
            ("", json!({})),
            ("{\"a\":[1]}", json!({ "a": [1] })),
            ("[1]", left_out("not a JSON object")),
            ("{", left_out("not JSON")),
            (&many, left_out("more than 256 values")),
        ] {
            assert_eq!(parse_fields(fields), read);
        }
    }

    #[test]
    fn lines_are_bounded_and_clean() {
        let limits = Limits {
            log_bytes: 20_000,
            events_per_second: 1000,
            ..Limits::default()
        };
        let (heard, mut reports) = reports(&limits);
        reports.log(LogLevel::Error, "\u{1b}[2J\u{0}forged", "[1]");
        reports.log(LogLevel::Error, &"x".repeat(8 << 20), r#"{"a":1}"#);
        reports.log(LogLevel::Error, &"y".repeat(8 << 20), "{}");
        reports.log(LogLevel::Error, &"z".repeat(8 << 20), "{}");
        reports.finish();
        let heard = heard.0.lock().unwrap();
        assert_eq!(
            heard[0],
            "Error \u{fffd}[2J\u{fffd}forged {\"fields\":\"left out: not a JSON object\"}"
        );
        assert!(heard[1].len() < 9000 && heard[1].ends_with("{\"a\":1}"));
        assert!(heard[2].starts_with("Error yyy"));
        assert!(heard[3].contains("1 log lines"), "{}", heard[3]);
        assert_eq!(heard.len(), 4);
    }
}
