//! Looking at bodies as they stream past.
//!
//! A [`Tee`] passes each frame on at once and keeps a copy of it, so nothing waits.
//! What is kept is bounded twice: per body, and by a [`Budget`] over all that is kept for the log, its queue included, and
//! another one over all copies for the mirror. A body past either bound streams on and is not kept.

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
    /// In one piece, however small the chunks were: each of them would take more than its bytes.
    content: Vec<u8>,
    /// What the budget has given: the memory that the content takes, used or not.
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
    /// It was too much; what is left is its beginning, for a guess.
    TooLarge,
    /// It broke off.
    BrokenOff,
}

impl Captured {
    /// Nothing yet.
    pub fn new(budget: &Budget) -> Self {
        Self {
            content: Vec::new(),
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

    /// The same content out of another budget; absent where that has no room, and where there is no content.
    pub fn copy(&self, budget: &Budget) -> Option<Self> {
        let mut copy = Self::new(budget);
        copy.keep(self.content()?);
        copy.is_whole = self.is_whole;
        copy.content().is_some().then_some(copy)
    }

    /// A part of it passes.
    pub fn keep(&mut self, chunk: &[u8]) {
        self.passed += chunk.len() as u64;
        if self.state != State::Keeping {
            return;
        }
        if self.has_room(self.content.len() + chunk.len()) {
            // A copy, because a reference would hold the connection's whole buffer, which the budget does not know of.
            self.content.extend_from_slice(chunk);
        } else {
            let room = BEGINNING_BYTES.saturating_sub(self.content.len());
            let beginning = self.content.iter().take(BEGINNING_BYTES);
            let beginning = beginning.chain(chunk.iter().take(room));
            self.content = beginning.copied().collect();
            self.give_back();
            self.state = State::TooLarge;
        }
    }

    /// Makes room for so many bytes, as far as the budget allows.
    fn has_room(&mut self, length: usize) -> bool {
        let of_a_body = self.budget.of_a_body;
        if length <= self.bytes {
            return true;
        }
        if length > of_a_body {
            return false;
        }
        // By doubling, so that it is not copied for each of many chunks.
        let capacity = length.max((2 * self.bytes).min(of_a_body));
        if !self.budget.take(capacity - self.bytes) {
            return false;
        }
        self.bytes = capacity;
        self.content.reserve_exact(capacity - self.content.len());
        true
    }

    /// Its end was seen: no more room is needed.
    fn is_over(&mut self) {
        self.is_whole = true;
        if self.state == State::Keeping && self.bytes > self.content.len() {
            self.content.shrink_to_fit();
            let unused = self.bytes - self.content.len();
            self.bytes = self.content.len();
            self.budget.left.fetch_add(unused, Relaxed);
        }
    }

    fn give_back(&mut self) {
        self.budget
            .left
            .fetch_add(std::mem::take(&mut self.bytes), Relaxed);
    }

    /// The whole body; absent when it was too large to keep.
    pub fn content(&self) -> Option<&[u8]> {
        (self.state == State::Keeping).then_some(&self.content)
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
        &self.content
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
    /// Somebody asked for more of the body: whether that has still to come.
    fn waits(&mut self, _: bool) {}
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
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.observer.waits(polled.is_pending());
        let frame = std::task::ready!(polled);
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
            captured.is_over();
        } else if !captured.is_whole {
            captured.content = Vec::new();
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

    fn end(&mut self, end: End) {
        if end == End::Whole {
            self.is_over();
        }
    }
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
        one.keep(b"12345");
        one.keep(b"678");
        one.is_over();
        assert_eq!(one.content(), Some(b"12345678".as_slice()));
        let mut two = Captured::new(&budget);
        two.keep(b"123");
        assert_eq!(two.content(), None);
        drop(one);
        let mut three = Captured::new(&budget);
        three.keep(b"1234567890");
        assert!(three.content().is_some());
    }

    #[test]
    fn a_body_past_the_bound_is_not_kept() {
        let budget = Budget::new(usize::MAX, 1000);
        let mut captured = Captured::new(&budget);
        captured.keep(&[0; 1000]);
        assert!(captured.content().is_some());
        captured.keep(b"1");
        assert!(captured.content().is_none());
        assert_eq!(captured.beginning().len(), 1001);
        assert_eq!(budget.left.load(Relaxed), usize::MAX);
        assert_eq!(captured.loss(), Some(Loss::TooLarge));
        assert_eq!(captured.passed(), 1001);
    }

    #[test]
    fn many_small_chunks_take_no_more_memory_than_the_budget_knows_of() {
        let budget = Budget::new(100_000, 100_000);
        let mut captured = Captured::new(&budget);
        for _ in 0..10_000 {
            captured.keep(b"1");
            let given = 100_000 - budget.left.load(Relaxed);
            assert!(captured.content.capacity() <= given, "{given}");
        }
        captured.is_over();
        assert_eq!(captured.content().expect("it is kept").len(), 10_000);
        assert_eq!(captured.content.capacity(), 10_000);
        assert_eq!(budget.left.load(Relaxed), 90_000);
    }

    #[test]
    fn a_copy_is_out_of_the_other_budget() {
        let (budget, other) = (Budget::new(10, 10), Budget::new(10, 10));
        let mut one = Captured::new(&budget);
        one.keep(b"123456");
        let copy = one.copy(&other).expect("there is room");
        drop(one);
        assert_eq!(budget.left.load(Relaxed), 10);
        assert_eq!(other.left.load(Relaxed), 4);
        assert_eq!(copy.content(), Some(b"123456".as_slice()));
        assert!(copy.copy(&other).is_none());
    }

    #[test]
    fn what_is_only_counted_is_not_kept() {
        let budget = Budget::new(1, 1);
        let mut captured = Captured::counting(&budget);
        captured.keep(&[0; 1000]);
        assert_eq!((captured.passed(), captured.loss()), (1000, None));
        assert_eq!(captured.content(), None);
    }
}
