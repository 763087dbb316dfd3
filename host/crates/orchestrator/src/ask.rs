//! The way to the engines: what they say comes back without what is secret.

use std::sync::Arc;

use serde_json::Value;

use nestor_core::engine::{EngineError, Outcome};
use nestor_core::ids::EngineId;
use nestor_core::ports::{CallObserver, EngineCall, LogLevel, Reply};

use crate::context::Context;
use crate::mask::Secrets;

/// Calls an engine. In its log lines, progress, errors, notes and summaries
/// every one of `secrets` is masked. Values are as the engine gave them:
/// outputs, states, manifests, differences.
pub(crate) async fn ask(
    context: &Context,
    mut call: EngineCall,
    secrets: Arc<Secrets>,
) -> Result<Reply, EngineError> {
    call.observer = Arc::new(Masked {
        engine: call.engine.clone(),
        secrets: Arc::clone(&secrets),
        observer: call.observer,
    });
    match context.engines.call(call).await {
        Ok(mut reply) => {
            for text in told(&mut reply) {
                *text = secrets.hide(text).into_owned();
            }
            Ok(reply)
        }
        Err(error) => Err(secrets.hide_error(error)),
    }
}

/// What of an answer is for people.
fn told(reply: &mut Reply) -> Vec<&mut String> {
    match reply {
        Reply::Validated(warnings) => warnings.iter_mut().collect(),
        Reply::Proposed(proposed) => vec![&mut proposed.summary],
        Reply::Outcome(Outcome::Pending(pending)) => vec![&mut pending.message],
        Reply::Outcome(Outcome::Ready(_)) => Vec::new(),
        Reply::Rendered(rendered) => rendered.notes.iter_mut().collect(),
    }
}

/// Writes what a call reports to the log, and passes it on.
struct Masked {
    engine: EngineId,
    secrets: Arc<Secrets>,
    observer: Arc<dyn CallObserver>,
}

impl CallObserver for Masked {
    fn log(&self, level: LogLevel, message: &str, fields: &Value) {
        let engine = self.engine.as_str();
        let message = self.secrets.hide(message);
        let mut fields = fields.clone();
        self.secrets.hide_in(&mut fields);
        match level {
            LogLevel::Debug => {
                tracing::debug!(target: "nestor_engine::guest", engine, %fields, "{message}")
            }
            LogLevel::Info => {
                tracing::info!(target: "nestor_engine::guest", engine, %fields, "{message}")
            }
            LogLevel::Warn => {
                tracing::warn!(target: "nestor_engine::guest", engine, %fields, "{message}")
            }
            LogLevel::Error => {
                tracing::error!(target: "nestor_engine::guest", engine, %fields, "{message}")
            }
        }
        self.observer.log(level, &message, &fields);
    }

    fn progress(&self, percent: Option<u8>, message: &str) {
        self.observer.progress(percent, &self.secrets.hide(message));
    }
}
