//! The web listener: one conversation per connection, limits held.

use crate::authority::Authority;
use crate::{LONG, SHORT, connect, sockets};
use net::server::{HeldLimits, HttpLimits, Security, Serving, listen, serve_http};
use signin::io::{HttpRequest, HttpResponse, Io, Pending};
use signin::service::{HttpConversation, HttpService};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Counts the requests of a connection and says what it saw.
struct Counting;

struct Count(u32);

impl HttpService for Counting {
    fn conversation(self: Arc<Self>, _: SocketAddr) -> Box<dyn HttpConversation> {
        Box::new(Count(0))
    }
}

impl HttpConversation for Count {
    fn answer(&mut self, request: HttpRequest) -> Pending<'_, HttpResponse> {
        self.0 += 1;
        let seen = format!(
            "{} {} {} {} {:?} {}",
            self.0,
            request.method,
            request.host,
            request.path,
            request.headers,
            request.body.len()
        );
        let headers = vec![
            ("WWW-Authenticate".to_owned(), "NTLM".to_owned()),
            ("WWW-Authenticate".to_owned(), "Negotiate".to_owned()),
            ("X-Split".to_owned(), "a\r\nInjected: b".to_owned()),
        ];
        let reusable = request.path != "/last";
        Box::pin(async move { HttpResponse { status: 401, headers, body: seen.into_bytes(), reusable } })
    }
}

fn serve(security: impl Into<Security>, limits: HttpLimits) -> Serving {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    serve_http(listener, security, Arc::new(Counting), limits).expect("it serves")
}

/// Everything the server says to `request`, until it closes.
async fn all(serving: &Serving, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(serving.local_addr()).await.expect("it listens");
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("it closes");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn each_connection_has_its_conversation() {
    let serving = serve(Security::Plain, HttpLimits::default());
    let requests = b"GET /a?b=c HTTP/1.1\r\nHost: web.contoso.test:4443\r\nAccept: x\r\nX-Y: z\r\n\r\n\
        POST /last HTTP/1.1\r\nHost: web.contoso.test\r\nContent-Length: 2\r\n\r\nhi";
    for _ in 0..2 {
        let answer = all(&serving, requests).await;
        let first = r#"1 GET web.contoso.test /a?b=c [("accept", "x"), ("x-y", "z")] 0"#;
        let second = "2 POST web.contoso.test /last [] 2";
        assert!(answer.contains(first) && answer.ends_with(second), "{answer}");
        assert!(
            answer
                .starts_with("HTTP/1.1 401 Unauthorized\r\nWww-Authenticate: NTLM\r\nWww-Authenticate: Negotiate\r\n")
        );
        assert!(answer.contains(&format!("Content-Length: {}\r\n", first.len())), "{answer}");
        assert!(!answer.contains("Injected"), "{answer}");
    }
}

#[tokio::test]
async fn our_client_talks_to_it_over_tls() {
    let ca = Authority::new("Web CA");
    let config = ca.issue("web.contoso.test").identity().for_http().expect("usable");
    let serving = serve(Some(config), HttpLimits::default());
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, serving.local_addr()).await;
    io.start_tls(conn, "web.contoso.test", LONG).await.expect("TLS");
    for number in 1..=3 {
        let request = HttpRequest {
            method: "POST".to_owned(),
            host: "web.contoso.test".to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            body: vec![b'x'; 1000],
        };
        let answer = io.exchange(conn, request, LONG).await.expect("an answer");
        assert!(answer.body.starts_with(number.to_string().as_bytes()) && answer.reusable);
    }
    serving.stop().await;
}

#[tokio::test]
async fn bodies_and_heads_have_limits() {
    let serving = serve(Security::Plain, HttpLimits { body: 100, head: 8192, ..HttpLimits::default() });
    let promised = all(&serving, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n").await;
    assert!(promised.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{promised}");
    let chunk = "f0\r\n".to_owned() + &"x".repeat(240) + "\r\n0\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    let chunked = all(&serving, request.as_bytes()).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    let long = all(&serving, format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(9000)).as_bytes()).await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    let garbage = all(&serving, b"\x16\x03\x01\x02\x00garbage garbage\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let limits = HttpLimits { idle: SHORT, body_time: SHORT, ..HttpLimits::default() };
    let serving = serve(Security::Plain, limits);
    let nothing = all(&serving, b"").await;
    assert!(nothing.is_empty() || nothing.starts_with("HTTP/1.1 408 "), "{nothing}");
    let half = all(&serving, b"GET / HTTP/1.1\r\nHos").await;
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408 "), "{half}");
    let body = all(&serving, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert!(body.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{body}");
}

/// Says `beginning`, then `more` again and again, each well within every limit; gives what the server says until it closes.
async fn trickle(serving: &Serving, beginning: &[u8], more: &[u8]) -> String {
    let stream = TcpStream::connect(serving.local_addr()).await.expect("it listens");
    let (mut reading, mut writing) = stream.into_split();
    let begun = Instant::now();
    let trickling = tokio::spawn({
        let (beginning, more) = (beginning.to_vec(), more.to_vec());
        async move {
            let mut open = writing.write_all(&beginning).await.is_ok();
            while open {
                sleep(SHORT / 5).await;
                open = writing.write_all(&more).await.is_ok();
            }
        }
    });
    let mut answer = Vec::new();
    let _ = timeout(LONG, reading.read_to_end(&mut answer)).await.expect("it closes");
    trickling.abort();
    assert!(begun.elapsed() >= SHORT, "closed early, so not for being slow: {}", String::from_utf8_lossy(&answer));
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn whoever_trickles_is_not_waited_for_longer() {
    let limits = HttpLimits { idle: SHORT, body_time: SHORT, ..HttpLimits::default() };
    let serving = serve(Security::Plain, limits);
    for beginning in ["", "\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "] {
        let more = if beginning == "\r\n" { "\r\n" } else { "G" };
        let head = trickle(&serving, beginning.as_bytes(), more.as_bytes()).await;
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 408 "), "{head}");
    }
    let second = trickle(&serving, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nX: ", b"x").await;
    assert_eq!(second.matches("HTTP/1.1 401 ").count(), 1, "{second}");
    let body = trickle(&serving, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n", b"x").await;
    assert!(body.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{body}");
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = trickle(&serving, chunked.as_bytes(), b"1\r\nx\r\n").await;
    assert!(chunks.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{chunks}");
    let trailers = trickle(&serving, format!("{chunked}0\r\nX: ").as_bytes(), b"x").await;
    assert!(trailers.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{trailers}");
}

#[tokio::test]
async fn connections_have_a_limit() {
    let mut limits = HttpLimits::default();
    limits.listener.connections = 1;
    let serving = serve(Security::Plain, limits);
    let _first = TcpStream::connect(serving.local_addr()).await.expect("it listens");
    sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(all(&serving, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
}

#[tokio::test]
async fn who_does_not_read_answers_is_given_up() {
    let mut limits = HttpLimits { stalled: SHORT, ..HttpLimits::default() };
    limits.listener.connections = 1;
    let serving = serve(Security::Plain, limits);
    let mut stream = TcpStream::connect(serving.local_addr()).await.expect("it listens");
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8000));
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(LONG, asking).await.expect("it hangs up while its answers are not read");
}

#[tokio::test]
async fn what_is_held_of_all_bodies_is_bounded() {
    let held = HeldLimits { per_address: 100 * 1024, in_all: 1024 * 1024 };
    let serving = serve(Security::Plain, HttpLimits { held, ..HttpLimits::default() });
    let head = "POST /last HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
    let mut slow = TcpStream::connect(serving.local_addr()).await.expect("it listens");
    slow.write_all(format!("{head}{}", "x".repeat(59_000)).as_bytes()).await.expect("open");
    sleep(std::time::Duration::from_millis(50)).await;
    let refused = all(&serving, format!("{head}{}", "x".repeat(60_000)).as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let brief = all(&serving, b"POST /last HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await;
    assert!(brief.starts_with("HTTP/1.1 401 "), "{brief}");
    slow.write_all("x".repeat(1_000).as_bytes()).await.expect("open");
    let mut answer = String::new();
    timeout(LONG, slow.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    assert!(answer.ends_with("1 POST a /last [] 60000"), "{answer}");
    let now = all(&serving, format!("{head}{}", "x".repeat(60_000)).as_bytes()).await;
    assert!(now.starts_with("HTTP/1.1 401 "), "{now}");
}
