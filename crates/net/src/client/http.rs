//! HTTP/1.1 on one given connection: NTLM authenticates connections, so no pool may choose one. RFC 9112.
//!
//! The connection is driven only while an exchange is under way: there is no task in the background, so a channel
//! that is dropped is closed.

use crate::client::tcp::{Stream, stream_error};
use crate::client::tls::excerpt;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use signin::io::{HttpError, HttpRequest, HttpResponse, StreamError};
use std::error::Error;
use std::future::Future;
use std::pin::pin;

/// Longest head of an answer. Bytes.
const HEAD_LIMIT: usize = 64 * 1024;

/// Most header lines of an answer.
const HEADER_LINES: usize = 128;

/// A connection that speaks HTTP, between two exchanges.
pub(super) struct HttpChannel {
    sender: SendRequest<Full<Bytes>>,
    /// Until it has ended.
    connection: Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
}

impl HttpChannel {
    /// Takes a connection over for good. Nothing is sent yet.
    pub(super) async fn open(stream: Stream) -> Result<HttpChannel, HttpError> {
        let handshake =
            Builder::new().max_buf_size(HEAD_LIMIT).max_headers(HEADER_LINES).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| http_error(&error))?;
        Ok(HttpChannel { sender, connection: Some(connection) })
    }

    /// One request and its whole answer, its body at most `limit` bytes. Only a response that says so leaves the
    /// channel fit for another.
    pub(super) async fn exchange(&mut self, request: HttpRequest, limit: usize) -> Result<HttpResponse, HttpError> {
        let request = outgoing(request)?;
        let HttpChannel { sender, connection } = self;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| http_error(&error))?;
            whole(response, limit).await
        };
        let mut response = drive(connection, answer).await?;
        response.reusable = drive(connection, async { Ok(sender.ready().await.is_ok()) }).await.unwrap_or(false);
        Ok(response)
    }
}

/// Polls the connection for as long as `answer` needs it. The connection may end first, for example because the
/// server closes after answering: then what it already delivered decides.
async fn drive<T>(
    connection: &mut Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
    answer: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    let mut answer = pin!(answer);
    let Some(running) = connection else { return answer.await };
    let ended = tokio::select! {
        biased;
        result = &mut answer => return result,
        ended = running => ended,
    };
    // Only when it is gone does whoever waits for more from it learn that there will be none.
    *connection = None;
    match (ended, answer.await) {
        // Why the connection ended tells more than that it did.
        (Err(error), Err(HttpError::Stream(StreamError::Closed))) => Err(http_error(&error)),
        (_, result) => result,
    }
}

fn outgoing(request: HttpRequest) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut builder = Request::builder().method(request.method.as_str()).uri(request.path).header("Host", request.host);
    if !request.body.is_empty() || request.method != "GET" {
        builder = builder.header("Content-Length", request.body.len());
    }
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    // The path may come from a link of the peer's, so this can fail without a fault of ours.
    builder
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|error| HttpError::NotHttp(format!("the request cannot be written as HTTP: {error}")))
}

async fn whole(response: Response<hyper::body::Incoming>, limit: usize) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let promised = parts.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if promised.is_some_and(|promised| promised > limit as u64) {
        return Err(HttpError::TooLarge { limit });
    }
    let body = Limited::new(body, limit).collect().await.map_err(|error| body_error(&*error, limit))?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(HttpResponse {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: body.to_bytes().to_vec(),
        reusable: false,
    })
}

fn body_error(error: &(dyn Error + Send + Sync + 'static), limit: usize) -> HttpError {
    if error.is::<LengthLimitError>() {
        return HttpError::TooLarge { limit };
    }
    match error.downcast_ref::<hyper::Error>() {
        Some(error) => http_error(error),
        None => HttpError::NotHttp(error.to_string()),
    }
}

fn http_error(error: &hyper::Error) -> HttpError {
    if error.is_parse_too_large() {
        return HttpError::TooLarge { limit: HEAD_LIMIT };
    }
    if error.is_parse() || error.is_user() {
        return HttpError::NotHttp(excerpt(error.to_string().as_bytes()));
    }
    match error.source().and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(error) => HttpError::Stream(stream_error(error)),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            HttpError::Stream(StreamError::Closed)
        }
        None => HttpError::NotHttp(error.to_string()),
    }
}
