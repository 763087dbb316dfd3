//! Log lines on standard error: for people, or one JSON object each.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{LogFormat, TelemetryConfig};

/// Starts logging for the whole process. Every line carries the spans it is in,
/// and with them the correlation id of the request that caused it.
///
/// # Errors
/// When the filter is not one.
pub(crate) fn start(config: &TelemetryConfig) -> Result<(), String> {
    let filter: Targets = config
        .log
        .parse()
        .map_err(|e| format!("the log filter {:?}: {e}", config.log))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(true)
            .with_current_span(false)
            .boxed(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            lines.with_ansi(colour).boxed()
        }
    };
    // A second start, in a test, keeps the first.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    Ok(())
}
