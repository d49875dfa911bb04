//! Web listeners: HTTP/1.1 without choice, because NTLM authenticates a connection whose requests come one by one.
//!
//! Every answer has `Content-Length` and a reason phrase: pidgin-sipe reads no answer without them.

use crate::server::accept::{ListenerLimits, Serving, Stop, Visitor, start};
use crate::server::patience::Patient;
use crate::server::strangers::{HeldLimits, Share, Strangers};
use crate::server::tls::{Secured, Security};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use signin::io::{HttpRequest, HttpResponse};
use signin::service::{HttpConversation, HttpService};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Most header lines of a request.
const HEADER_LINES: usize = 128;

/// hyper cannot do with less. Bytes.
const SMALLEST_HEAD: usize = 8192;

/// How much one HTTP connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Of the listener.
    pub listener: ListenerLimits,
    /// Longest body of a request. Bytes.
    pub body: usize,
    /// Longest head of a request. Bytes; less than 8192 counts as 8192.
    pub head: usize,
    /// Longest time from one answer (or from the beginning) to the end of the next request's head, also when a byte comes
    /// now and then. Clients of the time hang up after 60 s of silence themselves.
    pub idle: Duration,
    /// Longest time from the end of the head to the end of the body, also when a byte comes now and then.
    pub body_time: Duration,
    /// Longest time a peer may take nothing of its answer.
    pub stalled: Duration,
    /// What is held of all bodies together.
    pub held: HeldLimits,
}

impl Default for HttpLimits {
    /// 256 KiB of body, 64 KiB of head, 75 s, 30 s, 30 s.
    fn default() -> HttpLimits {
        HttpLimits {
            listener: ListenerLimits::default(),
            body: 256 * 1024,
            head: 64 * 1024,
            idle: Duration::from_secs(75),
            body_time: Duration::from_secs(30),
            stalled: Duration::from_secs(30),
            held: HeldLimits::default(),
        }
    }
}

/// Serves `service` on `listener` until the [`Serving`] is stopped or dropped.
pub fn serve_http(
    listener: TcpListener,
    security: impl Into<Security>,
    service: Arc<dyn HttpService>,
    limits: HttpLimits,
) -> io::Result<Serving> {
    let desk = Arc::new(Desk { security: security.into(), service, limits, strangers: Strangers::new(limits.held) });
    start(listener, limits.listener, move |visitor| welcome(desk.clone(), visitor), || None, || ())
}

struct Desk {
    security: Security,
    service: Arc<dyn HttpService>,
    limits: HttpLimits,
    strangers: Arc<Strangers>,
}

async fn welcome(desk: Arc<Desk>, visitor: Visitor) {
    let Visitor { stream, remote, mut stop, admission, .. } = visitor;
    let shaken = tokio::select! {
        shaken = Box::pin(desk.security.accept(stream, desk.limits.listener.handshake)) => shaken,
        () = stop.requested() => return,
    };
    let conversation = desk.service.clone().conversation(remote);
    let site = Caller { conversation, share: desk.strangers.share(remote.ip()) };
    let limits = desk.limits;
    match shaken {
        Ok(Secured::Plain(stream)) => Box::pin(converse(stream, site, limits, stop)).await,
        Ok(Secured::Modern(stream)) => Box::pin(converse(stream, site, limits, stop)).await,
        Ok(Secured::Legacy(stream)) => Box::pin(converse(stream, site, limits, stop)).await,
        Err(error) => tracing::debug!(%remote, %error, "TLS handshake failed"),
    }
    drop(admission);
}

/// Who is at the other end: what was said so far, and what is held of what is being said.
struct Caller {
    conversation: Box<dyn HttpConversation>,
    share: Share,
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller, limits: HttpLimits, mut stop: Stop) {
    // One request at a time has the caller, and gives it back: nothing is locked while it is answered.
    let seat = Arc::new(Mutex::new(Some(caller)));
    let service = service_fn(move |request| {
        let seat = seat.clone();
        async move {
            let taken = at(&seat).take();
            let mut caller =
                taken.ok_or_else(|| io::Error::other("a request before the one before it was answered"))?;
            let response = answer(&mut caller, request, limits).await;
            *at(&seat) = Some(caller);
            Ok::<_, io::Error>(response)
        }
    });
    let mut connection = std::pin::pin!(
        Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle)
            .max_buf_size(limits.head.max(SMALLEST_HEAD))
            .max_headers(HEADER_LINES)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(Patient::new(stream, limits.stalled)), service)
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

fn at(seat: &Mutex<Option<Caller>>) -> MutexGuard<'_, Option<Caller>> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(caller: &mut Caller, request: Request<Incoming>, limits: HttpLimits) -> Response<Full<Bytes>> {
    let answer = match timeout(limits.body_time, whole(request, limits.body, &mut caller.share)).await {
        Ok(Ok(request)) => outgoing(caller.conversation.answer(request).await),
        Ok(Err(status)) => refusal(status),
        Err(_) => refusal(StatusCode::REQUEST_TIMEOUT),
    };
    caller.share.hold(0);
    answer
}

/// The request with its body, or the status that refuses it.
async fn whole(request: Request<Incoming>, limit: usize, share: &mut Share) -> Result<HttpRequest, StatusCode> {
    let (parts, mut incoming) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => parts.headers.get(header::HOST).map(text).unwrap_or_default(),
    };
    let promised = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if promised.is_some_and(|promised| promised > limit as u64) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
        let length = body.len().saturating_add(data.len());
        if length > limit {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if !share.hold(length) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        body.extend_from_slice(&data);
    }
    let added_by_sender = [header::HOST, header::CONTENT_LENGTH];
    let kept = parts.headers.iter().filter(|(name, _)| !added_by_sender.contains(name));
    Ok(HttpRequest {
        method: parts.method.as_str().to_owned(),
        host: without_port(&host).to_owned(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: kept.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body,
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn outgoing(answer: HttpResponse) -> Response<Full<Bytes>> {
    let Ok(status) = StatusCode::from_u16(answer.status) else {
        tracing::error!(status = answer.status, "a service answered with something that is no HTTP status");
        return refusal(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = status;
    for (name, value) in &answer.headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) if name != header::CONTENT_LENGTH => {
                response.headers_mut().append(name, value);
            }
            (Ok(_), Ok(_)) => {}
            _ => tracing::error!(%name, "a service's header cannot be written as HTTP and is left out"),
        }
    }
    if !answer.reusable {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the listener itself; the connection ends with it, since the rest of the request may still come.
fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn host_loses_its_port_only() {
        assert_eq!(without_port("web.contoso.test:443"), "web.contoso.test");
        assert_eq!(without_port("web.contoso.test"), "web.contoso.test");
        assert_eq!(without_port("[::1]:443"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port(""), "");
    }
}
