//! How many requests the model server is asked at once; the others wait for their turn, bounded in number and time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many as may wait were waiting.
    QueueIsFull,
    /// It has waited for as long as it may.
    WaitIsOver,
    /// Its own deadline came while it waited.
    DeadlineIsOver,
}

/// What lets requests in.
#[derive(Debug)]
pub struct Admission {
    limit: Option<NonZeroUsize>,
    permits: Option<Arc<Semaphore>>,
    queue: usize,
    patience: Duration,
    waiting: AtomicUsize,
}

/// A place among those that wait; given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Admission {
    /// Lets in `concurrency` requests at once, 0 for as many as come; `queue` others wait, each for `patience` at most.
    pub fn new(concurrency: usize, queue: usize, patience: Duration) -> Self {
        let limit = NonZeroUsize::new(concurrency.min(Semaphore::MAX_PERMITS));
        Self {
            limit,
            permits: limit.map(|limit| Arc::new(Semaphore::new(limit.get()))),
            queue,
            patience,
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many are let in at once; absent where as many as come.
    pub fn limit(&self) -> Option<NonZeroUsize> {
        self.limit
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Waits for a turn. It lasts until the permit is dropped; without a limit there is no permit.
    ///
    /// # Errors
    /// When there is no turn for it.
    pub async fn enter(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        let Some(permits) = &self.permits else {
            return Ok(None);
        };
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Relaxed) >= self.queue {
            return Err(Refused::QueueIsFull);
        }
        let over = Instant::now() + self.patience;
        let until = deadline.map_or(over, |deadline| deadline.min(over));
        let permit = timeout_at(until, Arc::clone(permits).acquire_owned()).await;
        drop(place);
        match permit {
            Ok(permit) => Ok(Some(permit.expect("it is never closed"))),
            Err(_) if until < over => Err(Refused::DeadlineIsOver),
            Err(_) => Err(Refused::WaitIsOver),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn one_past_the_queue_is_refused_at_once_and_one_in_it_after_its_wait() {
        let admission = Arc::new(Admission::new(1, 1, PATIENCE));
        let permit = admission.enter(None).await.expect("there is room");
        let started = Instant::now();
        let other = Arc::clone(&admission);
        let waits = tokio::spawn(async move { other.enter(None).await.map(|_| ()) });
        tokio::task::yield_now().await;
        assert_eq!(admission.waiting(), 1);
        assert_eq!(
            admission.enter(None).await.map(|_| ()),
            Err(Refused::QueueIsFull)
        );
        assert!(started.elapsed() < PATIENCE);
        assert_eq!(waits.await.expect("it ran"), Err(Refused::WaitIsOver));
        assert!(started.elapsed() >= PATIENCE);
        assert_eq!(admission.waiting(), 0);
        drop(permit);
        assert!(admission.enter(None).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_is_next_and_a_deadline_of_its_own_ends_its_wait() {
        let admission = Arc::new(Admission::new(1, 9, PATIENCE));
        let permit = admission.enter(None).await.expect("there is room");
        let soon = Instant::now() + PATIENCE / 3;
        let refused = admission.enter(Some(soon)).await;
        assert_eq!(refused.map(|_| ()), Err(Refused::DeadlineIsOver));
        let other = Arc::clone(&admission);
        let waits = tokio::spawn(async move { other.enter(None).await.map(|_| ()) });
        tokio::task::yield_now().await;
        drop(permit);
        assert_eq!(waits.await.expect("it ran"), Ok(()));
    }

    #[tokio::test]
    async fn without_a_limit_all_are_let_in() {
        let admission = Admission::new(0, 0, Duration::ZERO);
        for _ in 0..1000 {
            assert!(admission.enter(None).await.expect("let in").is_none());
        }
    }
}
