//! Names of the API's metrics, and where all metrics of the host are rendered.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests answered, by `method`, `route` and `status`.
pub const REQUESTS: &str = "nestor_http_requests_total";
/// Seconds to the answer's head, by `method` and `route`.
pub const SECONDS: &str = "nestor_http_request_duration_seconds";
/// Requests under way.
pub const IN_FLIGHT: &str = "nestor_http_requests_in_flight";
/// Event streams open.
pub const STREAMS: &str = "nestor_http_event_streams_open";
/// Handlers that panicked, by `route`. Anything above zero is a bug.
pub const PANICS: &str = "nestor_http_panics_total";
/// Seconds since the host started.
pub const UPTIME: &str = "nestor_uptime_seconds";

/// From a local call to the longest timeout, each step about threefold.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0,
];
/// Histograms keep raw samples until somebody looks; without this nobody might.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders what the `metrics` macros recorded in this process.
#[derive(Clone)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
    started: std::time::Instant,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded: {0}")]
pub struct MetricsError(String);

impl MetricsHandle {
    /// Makes this process's recorder. Once per process.
    ///
    /// # Errors
    /// When there is a recorder already.
    pub fn install() -> Result<Self, MetricsError> {
        let recorder = builder()?.build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|e| MetricsError(e.to_string()))?;
        describe();
        Ok(Self {
            prometheus,
            started: std::time::Instant::now(),
        })
    }

    /// A recorder of its own that nobody records to, for tests.
    ///
    /// # Errors
    /// When the buckets are wrong, which they are not.
    pub fn detached() -> Result<Self, MetricsError> {
        let prometheus = builder()?.build_recorder().handle();
        Ok(Self {
            prometheus,
            started: std::time::Instant::now(),
        })
    }

    /// Everything, in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        metrics::gauge!(UPTIME).set(self.started.elapsed().as_secs_f64());
        self.prometheus.render()
    }

    /// Folds samples into their buckets for as long as it is polled.
    pub async fn upkeep(self) {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            self.prometheus.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .map_err(|e| MetricsError(e.to_string()))
}

fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests answered.");
    metrics::describe_histogram!(SECONDS, "Seconds to the head of the answer.");
    metrics::describe_gauge!(IN_FLIGHT, "Requests under way.");
    metrics::describe_gauge!(STREAMS, "Event streams open.");
    metrics::describe_counter!(PANICS, "Handlers that panicked.");
    metrics::describe_gauge!(UPTIME, "Seconds since the host started.");
}
