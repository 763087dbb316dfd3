//! What a test wants an engine to do with a resource.

use std::time::Duration;

use nestor_core::engine::{EngineError, Manifest, Output, ProposedChanges};
use nestor_core::ids::OutputName;
use serde_json::Value;

/// What happens to a resource. Parts combine: two transient errors, then three
/// polls, then an error is `Behaviour::default().transient(2).pending(3).fail(…)`.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    pub(super) outputs: Vec<Output>,
    pub(super) invalid: Option<EngineError>,
    pub(super) plan: Option<Result<ProposedChanges, EngineError>>,
    pub(super) fail: Option<EngineError>,
    pub(super) fail_destroy: Option<EngineError>,
    pub(super) transient: u32,
    pub(super) retry_after: Option<Duration>,
    pub(super) pending: u32,
    pub(super) poll_after: Duration,
    pub(super) delay: Duration,
    pub(super) hang: Option<Hang>,
    pub(super) manifests: Option<Vec<Manifest>>,
    pub(super) says: Option<String>,
    pub(super) state: Option<Value>,
}

/// Where a call stops until `FakeEngines::release`, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    /// The world is as it was.
    BeforeEffect,
    /// The world has changed, but the caller does not know.
    AfterEffect,
    /// In `observe` and `drift`, before it looks.
    Looking,
}

impl Behaviour {
    /// Ready at once with these outputs, none sensitive.
    ///
    /// # Panics
    /// When a name is not an output name.
    #[must_use]
    pub fn ready<'a, V: Into<Value>>(outputs: impl IntoIterator<Item = (&'a str, V)>) -> Self {
        let outputs = outputs
            .into_iter()
            .map(|(name, value)| output(name, value.into(), false));
        Self {
            outputs: outputs.collect(),
            ..Self::default()
        }
    }

    /// One more output, which is sensitive.
    ///
    /// # Panics
    /// When the name is not an output name.
    #[must_use]
    pub fn sensitive(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.outputs.push(output(name, value.into(), true));
        self
    }

    /// `validate` answers this.
    #[must_use]
    pub fn invalid(mut self, error: EngineError) -> Self {
        self.invalid = Some(error);
        self
    }

    /// `plan` answers this, whatever is asked.
    #[must_use]
    pub fn proposes(mut self, changes: ProposedChanges) -> Self {
        self.plan = Some(Ok(changes));
        self
    }

    /// `plan` fails with this.
    #[must_use]
    pub fn unplannable(mut self, error: EngineError) -> Self {
        self.plan = Some(Err(error));
        self
    }

    /// `apply` ends with this, without an effect, every time.
    #[must_use]
    pub fn fail(mut self, error: EngineError) -> Self {
        self.fail = Some(error);
        self
    }

    /// `destroy` ends with this, without an effect, every time.
    #[must_use]
    pub fn fail_destroy(mut self, error: EngineError) -> Self {
        self.fail_destroy = Some(error);
        self
    }

    /// The first calls of an operation end with a transient error.
    #[must_use]
    pub fn transient(mut self, times: u32) -> Self {
        self.transient = times;
        self
    }

    /// The wish that goes with a transient error.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// An apply or destroy is under way until it was observed so often.
    #[must_use]
    pub fn pending(mut self, polls: u32) -> Self {
        self.pending = polls;
        self
    }

    /// What a pending answer asks for; 0 unless set.
    #[must_use]
    pub fn poll_after(mut self, after: Duration) -> Self {
        self.poll_after = after;
        self
    }

    /// Each apply and destroy takes so long, by tokio's clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// An apply or destroy, or `observe`, does not answer before it is released.
    #[must_use]
    pub fn hang(mut self, at: Hang) -> Self {
        self.hang = Some(at);
        self
    }

    /// Every call but `validate`, which knows no outputs, says this: in a log line
    /// and its fields, with progress, and in what a person is told of the answer.
    #[must_use]
    pub fn says(mut self, text: impl Into<String>) -> Self {
        self.says = Some(text.into());
        self
    }

    /// The state of what is ready, in place of its operation's id.
    #[must_use]
    pub fn state(mut self, state: impl Into<Value>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// What `render` answers, in place of one manifest made of the config.
    #[must_use]
    pub fn manifests(mut self, manifests: Vec<Manifest>) -> Self {
        self.manifests = Some(manifests);
        self
    }
}

fn output(name: &str, value: Value, sensitive: bool) -> Output {
    Output {
        name: OutputName::new(name).expect("an output's name"),
        value,
        sensitive,
    }
}
