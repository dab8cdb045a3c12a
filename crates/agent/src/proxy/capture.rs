//! Looking at bodies as they stream past.
//!
//! A [`Tee`] passes each frame on at once and keeps a copy of it, so nothing waits.
//! What is kept is bounded twice: per body, and by a [`Budget`] over all that is kept anywhere in the proxy,
//! the log's queue included. A body past either bound streams on and is not kept.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::outcome::Loss;

/// How much is left of a body that is not kept.
const BEGINNING_BYTES: usize = 4 << 10;

/// How many bytes may be kept at once.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
    of_a_body: usize,
}

impl Budget {
    /// A budget of so many bytes, and for each body.
    pub fn new(bytes: usize, of_a_body: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(bytes)),
            of_a_body,
        }
    }

    fn take(&self, bytes: usize) -> bool {
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }
}

/// What was kept of a body. Gives its bytes back to the budget when it is dropped.
#[derive(Debug)]
pub struct Captured {
    chunks: Vec<Bytes>,
    /// What is left for a guess of a body that was not kept.
    beginning: Bytes,
    bytes: usize,
    /// How many bytes have passed, kept or not.
    passed: u64,
    state: State,
    /// Whether its end was seen.
    is_whole: bool,
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All that has passed is kept.
    Keeping,
    /// It is only counted, as was asked for.
    Counting,
    /// It was too much.
    TooLarge,
    /// It broke off.
    BrokenOff,
}

impl Captured {
    /// Nothing yet.
    pub fn new(budget: &Budget) -> Self {
        Self {
            chunks: Vec::new(),
            beginning: Bytes::new(),
            bytes: 0,
            passed: 0,
            is_whole: false,
            state: State::Keeping,
            budget: budget.clone(),
        }
    }

    /// Nothing yet, and nothing will be kept: bytes are counted.
    pub fn counting(budget: &Budget) -> Self {
        let mut captured = Self::new(budget);
        captured.state = State::Counting;
        captured
    }

    fn keep(&mut self, chunk: &Bytes) {
        self.passed += chunk.len() as u64;
        if self.state != State::Keeping {
            return;
        }
        if self.bytes + chunk.len() <= self.budget.of_a_body && self.budget.take(chunk.len()) {
            self.bytes += chunk.len();
            // A copy, because a reference would hold the connection's whole buffer, which the budget does not know of.
            self.chunks.push(Bytes::copy_from_slice(chunk));
        } else {
            let beginning = self.chunks.first().unwrap_or(chunk);
            self.beginning =
                Bytes::copy_from_slice(&beginning[..beginning.len().min(BEGINNING_BYTES)]);
            self.give_back();
            self.state = State::TooLarge;
        }
    }

    fn give_back(&mut self) {
        self.chunks.clear();
        self.budget
            .left
            .fetch_add(std::mem::take(&mut self.bytes), Relaxed);
    }

    /// The whole body; absent when it was too large to keep.
    pub fn content(&self) -> Option<Bytes> {
        match self.chunks.as_slice() {
            _ if self.state != State::Keeping => None,
            [one] => Some(one.clone()),
            many => Some(many.concat().into()),
        }
    }

    /// Why the body is not to be had; absent where it is, and where it was only to be counted.
    pub fn loss(&self) -> Option<Loss> {
        match self.state {
            State::Keeping | State::Counting => None,
            State::TooLarge => Some(Loss::TooLarge),
            State::BrokenOff => Some(Loss::BrokenOff),
        }
    }

    /// The same of a body whose end has to have been seen: a part of one is none.
    pub fn loss_of_whole(&self) -> Option<Loss> {
        let is_part = self.state == State::Keeping && !self.is_whole;
        self.loss().or(is_part.then_some(Loss::BrokenOff))
    }

    /// Whether the body is counted and not kept.
    pub fn is_counting(&self) -> bool {
        self.state == State::Counting
    }

    /// How many bytes have passed.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// The first part of the body, for a guess; may be empty.
    pub fn beginning(&self) -> &[u8] {
        self.chunks.first().unwrap_or(&self.beginning)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// How a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it passed.
    Whole,
    /// The sender failed.
    Broken,
    /// The receiver went away.
    Dropped,
}

/// Is told of a body's frames and its end.
pub trait Observer: Unpin {
    /// A part of the body passes.
    fn data(&mut self, chunk: &Bytes);
    /// What is said after the body.
    fn trailers(&mut self, trailers: &HeaderMap);
    /// The body is over. Called once.
    fn end(&mut self, end: End);
}

/// A body that passes through while an observer looks on.
#[derive(Debug)]
pub struct Tee<B, O: Observer> {
    body: B,
    observer: O,
    is_over: bool,
}

impl<B, O: Observer> Tee<B, O> {
    /// A body and who looks on.
    pub fn new(body: B, observer: O) -> Self {
        Self {
            body,
            observer,
            is_over: false,
        }
    }

    fn end(&mut self, end: End) {
        if !self.is_over {
            self.is_over = true;
            self.observer.end(end);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin, O: Observer> Body for Tee<B, O> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            None => self.end(End::Whole),
            Some(Err(_)) => self.end(End::Broken),
            Some(Ok(frame)) => {
                if let Some(chunk) = frame.data_ref() {
                    self.observer.data(chunk);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.observer.trailers(trailers);
                }
                // A reader that knows the length does not ask again after the last frame.
                if self.body.is_end_stream() {
                    self.end(End::Whole);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B, O: Observer> Drop for Tee<B, O> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}

/// Keeps what passes in a place that outlives the body.
impl Observer for Arc<std::sync::Mutex<Captured>> {
    fn data(&mut self, chunk: &Bytes) {
        self.lock().expect("no thread panics with it").keep(chunk);
    }

    fn trailers(&mut self, _: &HeaderMap) {}

    fn end(&mut self, end: End) {
        let mut captured = self.lock().expect("no thread panics with it");
        if end == End::Whole {
            captured.is_whole = true;
        } else if !captured.is_whole {
            captured.give_back();
            captured.state = State::BrokenOff;
        }
    }
}

impl Observer for Captured {
    fn data(&mut self, chunk: &Bytes) {
        self.keep(chunk);
    }

    fn trailers(&mut self, _: &HeaderMap) {}

    fn end(&mut self, _: End) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_body_is_no_body() {
        let body = Arc::new(std::sync::Mutex::new(Captured::new(&Budget::new(10, 10))));
        let loss = |body: &Arc<std::sync::Mutex<Captured>>| {
            let captured = body.lock().expect("no thread panics with it");
            captured.loss_of_whole()
        };
        let mut observer = Arc::clone(&body);
        observer.data(&Bytes::from_static(b"12"));
        assert_eq!(loss(&body), Some(Loss::BrokenOff));
        observer.end(End::Whole);
        assert_eq!(loss(&body), None);
        // What is dropped afterwards was whole.
        observer.end(End::Dropped);
        assert_eq!(loss(&body), None);
    }

    #[test]
    fn the_budget_is_given_back() {
        let budget = Budget::new(10, 10);
        let mut one = Captured::new(&budget);
        one.keep(&Bytes::from_static(b"12345"));
        one.keep(&Bytes::from_static(b"678"));
        assert_eq!(one.content().as_deref(), Some(b"12345678".as_slice()));
        let mut two = Captured::new(&budget);
        two.keep(&Bytes::from_static(b"123"));
        assert_eq!(two.content(), None);
        drop(one);
        let mut three = Captured::new(&budget);
        three.keep(&Bytes::from_static(b"1234567890"));
        assert!(three.content().is_some());
    }

    #[test]
    fn a_body_past_the_bound_is_not_kept() {
        let budget = Budget::new(usize::MAX, 1000);
        let mut captured = Captured::new(&budget);
        captured.keep(&Bytes::from(vec![0; 1000]));
        assert!(captured.content().is_some());
        captured.keep(&Bytes::from_static(b"1"));
        assert!(captured.content().is_none());
        assert_eq!(captured.chunks.len(), 0);
        assert_eq!(captured.loss(), Some(Loss::TooLarge));
        assert_eq!(captured.passed(), 1001);
    }

    #[test]
    fn what_is_only_counted_is_not_kept() {
        let budget = Budget::new(1, 1);
        let mut captured = Captured::counting(&budget);
        captured.keep(&Bytes::from(vec![0; 1000]));
        assert_eq!((captured.passed(), captured.loss()), (1000, None));
        assert_eq!(captured.content(), None);
    }
}
