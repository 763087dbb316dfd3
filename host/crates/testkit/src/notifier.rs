//! A receiver that keeps what it is told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nestor_core::ports::{Notice, NoticeAnswer, Notifier};

/// Answers 200, or what it was told to answer.
#[derive(Debug, Default)]
pub struct FakeNotifier(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    posted: Vec<(Notice, NoticeAnswer)>,
    answers: HashMap<String, VecDeque<NoticeAnswer>>,
    hanging: HashSet<String>,
}

impl FakeNotifier {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next answers of a receiver; 200 after them.
    pub fn answer(&self, url: &str, answers: impl IntoIterator<Item = NoticeAnswer>) {
        let mut state = self.lock();
        let queue = state.answers.entry(url.to_owned()).or_default();
        queue.extend(answers);
    }

    /// A receiver never answers, or does again.
    pub fn hang(&self, url: &str, hangs: bool) {
        let mut state = self.lock();
        if hangs {
            state.hanging.insert(url.to_owned());
        } else {
            state.hanging.remove(url);
        }
    }

    /// Every attempt with its answer, in order.
    #[must_use]
    pub fn posted(&self) -> Vec<(Notice, NoticeAnswer)> {
        self.lock().posted.clone()
    }
}

#[async_trait]
impl Notifier for FakeNotifier {
    fn check(&self, url: &str, _: bool) -> Result<(), String> {
        if url.starts_with("https://") {
            Ok(())
        } else {
            Err("must be an https address".into())
        }
    }

    async fn post(&self, notice: Notice) -> NoticeAnswer {
        let hangs = self.lock().hanging.contains(&notice.url);
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.lock();
        let scripted = state
            .answers
            .get_mut(&notice.url)
            .and_then(VecDeque::pop_front);
        let answer = scripted.unwrap_or(NoticeAnswer::Status {
            code: 200,
            retry_after_ms: None,
        });
        state.posted.push((notice, answer.clone()));
        answer
    }
}
