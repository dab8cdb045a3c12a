//! The connection to the model server that a client's connection has for itself.
//!
//! ```text
//!   a request ──> its client's line is free? ──yes──> over the line
//!                      │ no, or closed by the server before it was sent ──> over a connection of the pool
//! ```
//!
//! So requests that follow each other over a client's connection follow each other over one to the server, and no pool is
//! locked and searched for each. Only over HTTP/1.1: one connection of HTTP/2 is enough for all. Where only so many
//! requests may be at the server at once, all share connections instead: a line that waits for its client's next request
//! would keep one of the server's few threads.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as PoolError};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

use super::upstream::{BUFFER, CONNECTS, IDLE, connect, uri};

/// How often is looked whether a connection is in use: more often than it may be idle, so that the end of a long answer is
/// not the end of its connection.
const LOOK: Duration = IDLE.checked_div(2).expect("two is not zero");

/// Why a server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It took no connection.
    #[error("it took no connection")]
    Connect(#[source] io::Error),
    /// The connection broke off.
    #[error(transparent)]
    Lost(#[from] hyper::Error),
    /// One of the pool's did, or could not be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Unanswered {
    /// Whether it took no connection.
    pub fn is_connect(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Lost(_) => false,
            Self::Pool(problem) => problem.is_connect(),
        }
    }
}

/// A line; of no connection yet.
#[derive(Debug)]
pub struct Line<B>(Arc<Mutex<Place<B>>>);

#[derive(Debug)]
enum Place<B> {
    /// There is no connection.
    Empty,
    /// A request has it, up to its answer's head.
    Taken,
    /// The next request may have it. It was last seen in use at that time.
    Free(SendRequest<B>, Instant),
}

/// The line, taken. Dropped halfway, it is left without a connection.
struct Turn<'a, B> {
    line: &'a Line<B>,
    sender: Option<SendRequest<B>>,
}

impl<B> Default for Line<B> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Place::Empty)))
    }
}

impl<B> Line<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The server's answer to a request, whose address is a path.
    ///
    /// # Errors
    /// When there is none.
    pub async fn request(
        &self,
        mut request: Request<B>,
        server: &Authority,
        pool: &Client<HttpConnector, B>,
    ) -> Result<Response<Incoming>, Unanswered> {
        // Of a client that speaks HTTP/2 there are several at once.
        if let Some(mut turn) = self.turn().filter(|_| request.method() != Method::CONNECT) {
            if let (None, Ok(host)) = (
                request.headers().get(header::HOST),
                HeaderValue::from_str(server.as_str()),
            ) {
                request.headers_mut().insert(header::HOST, host);
            }
            let sender = match turn.sender.take() {
                Some(sender) => sender,
                None => self.connect(server).await?,
            };
            match turn.send(sender, request).await? {
                Ok(response) => return Ok(response),
                Err(unsent) => request = unsent,
            }
        }
        pooled(request, server, pool).await
    }

    /// Takes the line; absent where another request has it.
    fn turn(&self) -> Option<Turn<'_, B>> {
        let mut place = self.place();
        let sender = match std::mem::replace(&mut *place, Place::Taken) {
            Place::Taken => return None,
            Place::Empty => None,
            Place::Free(sender, used) if sender.is_closed() || used.elapsed() >= IDLE => None,
            // An answer is still on its way, which the next request is not to wait for.
            Place::Free(sender, used) if !sender.is_ready() => {
                *place = Place::Free(sender, used);
                return None;
            }
            Place::Free(sender, _) => Some(sender),
        };
        drop(place);
        Some(Turn { line: self, sender })
    }

    async fn connect(&self, server: &Authority) -> Result<SendRequest<B>, Unanswered> {
        let stream = connect(server, CONNECTS).await;
        let stream = stream.map_err(Unanswered::Connect)?;
        if let Err(problem) = stream.set_nodelay(true) {
            debug!("a connection stays with delays: {problem}");
        }
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(run(connection, Arc::downgrade(&self.0)));
        Ok(sender)
    }
}

/// The server's answer to a request, whose address is a path, over one of the connections that all share.
///
/// # Errors
/// When there is none.
pub async fn pooled<B>(
    mut request: Request<B>,
    server: &Authority,
    pool: &Client<HttpConnector, B>,
) -> Result<Response<Incoming>, Unanswered>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    *request.uri_mut() = uri(server, request.uri().path_and_query().cloned());
    Ok(pool.request(request).await?)
}

impl<B> Line<B> {
    fn place(&self) -> MutexGuard<'_, Place<B>> {
        self.0.lock().expect("no thread panics with it")
    }
}

impl<B: Body + 'static> Turn<'_, B> {
    /// The answer; or the request, where the server had closed the connection before it was sent.
    async fn send(
        self,
        mut sender: SendRequest<B>,
        request: Request<B>,
    ) -> Result<Result<Response<Incoming>, Request<B>>, hyper::Error> {
        match sender.try_send_request(request).await {
            Ok(response) => {
                *self.line.place() = Place::Free(sender, Instant::now());
                Ok(Ok(response))
            }
            Err(mut problem) => match problem.take_message() {
                Some(unsent) => Ok(Err(unsent)),
                None => Err(problem.into_error()),
            },
        }
    }
}

impl<B> Drop for Turn<'_, B> {
    fn drop(&mut self) {
        let mut place = self.line.place();
        if matches!(*place, Place::Taken) {
            *place = Place::Empty;
        }
    }
}

/// Runs a connection until one of both sides closes it. The line gives it up once it was not used for a while.
async fn run<B>(connection: Connection<TokioIo<TcpStream>, B>, line: Weak<Mutex<Place<B>>>)
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    loop {
        match tokio::time::timeout(LOOK, &mut connection).await {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => return debug!("a connection to the server ended: {problem}"),
            Err(_) => {
                if let Some(place) = line.upgrade() {
                    look(&mut place.lock().expect("no thread panics with it"), IDLE);
                }
            }
        }
    }
}

/// Closes a connection that was not used for so long. One whose answer is still on its way is in use.
fn look<B>(place: &mut Place<B>, idle: Duration) {
    match place {
        Place::Free(sender, used) if !sender.is_ready() => *used = Instant::now(),
        Place::Free(_, used) if used.elapsed() >= idle => *place = Place::Empty,
        Place::Free(..) | Place::Taken | Place::Empty => {}
    }
}
