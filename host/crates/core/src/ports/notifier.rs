//! Messages to receivers outside.

use async_trait::async_trait;
use bytes::Bytes;

/// Posts messages. The receiver of one message does not hold up another's.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Whether messages to this address can be sent at all; `allow_private`
    /// says that a private address is meant. Resolves nothing.
    ///
    /// # Errors
    /// What is wrong, and what to do, for the person who subscribes.
    fn check(&self, url: &str, allow_private: bool) -> Result<(), String>;

    /// Posts one message and answers what came of it, within some seconds. It
    /// must not go to an address that is not allowed, whatever the name leads
    /// to now, and not follow a redirect.
    async fn post(&self, notice: Notice) -> NoticeAnswer;
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where to.
    pub url: String,
    /// Whether a private address is meant.
    pub allow_private: bool,
    /// The same for every attempt.
    pub id: String,
    /// Of this attempt, in seconds since the Unix epoch.
    pub sent_at: u64,
    /// Over all of it.
    pub signature: String,
    /// A CloudEvent in JSON.
    pub body: Bytes,
}

/// What came of a message. The texts are for whoever subscribed: they say
/// nothing of the host's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeAnswer {
    /// The receiver answered.
    Status {
        /// The HTTP status.
        code: u16,
        /// Its wish.
        retry_after_ms: Option<u64>,
    },
    /// There was no answer; whether the message arrived is unknown.
    Unreachable(String),
    /// The message was not sent.
    NotAllowed(String),
}

/// Sends nothing: for hosts that have no webhooks.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoNotifier;

#[async_trait]
impl Notifier for NoNotifier {
    fn check(&self, _: &str, _: bool) -> Result<(), String> {
        Err("this host sends no webhooks".into())
    }

    async fn post(&self, _: Notice) -> NoticeAnswer {
        NoticeAnswer::NotAllowed("this host sends no webhooks".into())
    }
}
