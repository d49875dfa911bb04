//! A tunnel through an HTTP proxy: CONNECT. RFC 9110 §9.3.6.

use crate::client::dns::Resolver;
use crate::client::tcp;
use signin::io::{ConnectError, DnsAnswer, RecordKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest head of a proxy's answer. Bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Longest time for the proxy's own name; the limit of the operation is usually shorter.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// The addresses of `host:port`.
pub(super) async fn addresses(proxy: &str, resolver: &Resolver) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = proxy.parse() {
        return Ok(vec![address]);
    }
    let named = proxy.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) =
        named.ok_or_else(|| ConnectError::Failed(format!("the proxy {proxy:?} is not written host:port")))?;
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match resolver.resolve(host, RecordKind::Address, RESOLVE_LIMIT).await {
        DnsAnswer::Addresses { addresses, .. } => {
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        }
        other => Err(ConnectError::Failed(format!("the proxy's name {host} does not resolve: {other:?}"))),
    }
}

/// Asks the proxy for a tunnel to `host:port`. Afterwards the stream belongs to whoever listens there; not one byte
/// of theirs has been read.
pub(super) async fn tunnel(
    stream: &mut TcpStream,
    host: &str,
    port: u16,
    authorization: Option<&str>,
) -> Result<(), ConnectError> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(value) = authorization {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| tcp::connect_error(&e))?;
    let answer = Answer::parse(&read_head(stream).await?)?;
    if answer.status == 200 {
        return Ok(());
    }
    Err(ConnectError::Proxy { status: answer.status, reason: answer.reason, challenges: answer.challenges })
}

/// Reads up to the empty line and not one byte further.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, ConnectError> {
    let mut head = Vec::new();
    let mut seen = [0u8; 1024];
    loop {
        let available = stream.peek(&mut seen).await.map_err(|e| tcp::connect_error(&e))?;
        if available == 0 {
            return Err(ConnectError::Failed("the proxy closed the connection instead of answering".to_owned()));
        }
        let before = head.len();
        head.extend_from_slice(&seen[..available]);
        let end = head_length(&head);
        let consumed = end.map_or(available, |end| end - before);
        stream.read_exact(&mut seen[..consumed]).await.map_err(|e| tcp::connect_error(&e))?;
        if let Some(end) = end {
            head.truncate(end);
            return Ok(head);
        }
        if !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
            return Err(not_http(&head));
        }
        if head.len() > HEAD_LIMIT {
            return Err(ConnectError::Failed(format!("the proxy's answer has a head of over {HEAD_LIMIT} bytes")));
        }
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

struct Answer {
    status: u16,
    reason: String,
    challenges: Vec<String>,
}

impl Answer {
    fn parse(head: &[u8]) -> Result<Answer, ConnectError> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| word.parse().ok()).filter(|status| (100..1000).contains(status));
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else { return Err(not_http(head)) };
        let reason = words.next().unwrap_or_default().to_owned();
        let challenges = lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("Proxy-Authenticate"))
            .map(|(_, value)| value.trim().to_owned())
            .collect();
        Ok(Answer { status, reason, challenges })
    }
}

fn not_http(seen: &[u8]) -> ConnectError {
    ConnectError::Failed(format!("the proxy does not speak HTTP: it sent {:?}", super::tls::excerpt(seen)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_without_reason_is_one() {
        let answer = Answer::parse(b"HTTP/1.0 200\r\n\r\n").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((answer.status, answer.reason.as_str()), (200, ""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(answer) = Answer::parse(&head) {
                prop_assert!((100..1000).contains(&answer.status));
            }
        }

        #[test]
        fn status_and_challenges_are_found(status in 100u16..1000, reason in "[ -~]{0,40}", scheme in "[A-Za-z]{1,9}") {
            let head = format!("HTTP/1.1 {status} {reason}\r\nVia: p\r\nPROXY-authenticate:  {scheme}\r\n\r\n");
            let answer = Answer::parse(head.as_bytes());
            let answer = answer.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!((answer.status, answer.reason, answer.challenges), (status, reason, vec![scheme]));
        }
    }
}
