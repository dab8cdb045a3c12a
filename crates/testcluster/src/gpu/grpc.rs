//! As much of gRPC as the device plugin API needs: one request message; one answer, or one
//! answer on a stream that stays open, or a refusal.

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::UnixStream;

/// gRPC's status for a message that cannot be read.
pub const INVALID_ARGUMENT: u8 = 3;
/// gRPC's status for a call that is not there.
pub const UNIMPLEMENTED: u8 = 12;

/// The length of what precedes each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What a call is answered with.
pub enum Reply {
    /// One message, and the end.
    Once(Vec<u8>),
    /// One message, and no end for as long as the caller listens.
    Open(Vec<u8>),
    /// A gRPC status other than 0.
    Refused(u8),
}

/// Answers the calls that come over one connection.
pub async fn serve(
    stream: UnixStream,
    answer: impl Fn(&str, &[u8]) -> Reply + Copy + Send + 'static,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(async move {
            if let Err(error) = reply(request, respond, answer).await {
                eprintln!("answering the kubelet: {error:#}");
            }
        });
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: impl Fn(&str, &[u8]) -> Reply,
) -> Result<()> {
    let (head, mut body) = request.into_parts();
    let message = receive(&mut body).await.context("reading a request")?;
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .body(())?;
    let mut stream = respond.send_response(response, false)?;
    match answer(head.uri.path(), &message) {
        Reply::Once(message) => {
            stream.send_data(framed(&message), false)?;
            finish(&mut stream, 0)
        }
        Reply::Open(message) => {
            stream.send_data(framed(&message), false)?;
            std::future::poll_fn(|context| stream.poll_reset(context))
                .await
                .map(drop)
                .or(Ok(()))
        }
        Reply::Refused(status) => finish(&mut stream, status),
    }
}

fn finish(stream: &mut SendStream<Bytes>, status: u8) -> Result<()> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
    Ok(stream.send_trailers(trailers)?)
}

/// Makes one call, and drops its answer: the error says why it was refused.
pub async fn call(stream: UnixStream, path: &str, message: &[u8]) -> Result<()> {
    let (send, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let result = async {
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = send.ready().await?.send_request(request, false)?;
        body.send_data(framed(message), true)?;
        let (head, mut body) = response.await?.into_parts();
        receive(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or_default();
        // A refusal without an answer has its status among the first headers.
        let value = |name: &str| {
            trailers
                .get(name)
                .or(head.headers.get(name))
                .and_then(|value| value.to_str().ok())
        };
        match value("grpc-status") {
            Some("0") => Ok(()),
            status => bail!(
                "status {}: {}",
                status.unwrap_or("none"),
                value("grpc-message").unwrap_or_default()
            ),
        }
    }
    .await;
    driver.abort();
    result
}

/// All that is sent, without the prefix of its one message.
async fn receive(body: &mut RecvStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        all.extend_from_slice(&chunk);
    }
    all.drain(..PREFIX.min(all.len()));
    Ok(all)
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(message);
    bytes.freeze()
}
