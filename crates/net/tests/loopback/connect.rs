//! Opening TCP, directly and through a proxy.

use crate::{LONG, SHORT, connect, listener, server, sockets, sockets_with};
use net::client::Config;
use signin::io::{ConnectError, Io, Operation, Target};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

async fn direct(address: SocketAddr, limit: Duration) -> ConnectError {
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    io.connect(Target::Direct(address), limit).await.expect_err("nothing can be reached there")
}

#[tokio::test]
async fn a_port_nobody_listens_on_refuses() {
    let (listener, address) = listener().await;
    drop(listener);
    assert_eq!(direct(address, LONG).await, ConnectError::Refused);
}

#[tokio::test]
async fn a_silent_port_times_out() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let full = socket.listen(0).expect("it listens");
    let address = full.local_addr().expect("it is bound");
    // Once its queue is full, the kernel leaves further connections without an answer.
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    assert_eq!(direct(address, SHORT).await, ConnectError::Timeout);
}

#[tokio::test]
async fn a_broadcast_address_is_unreachable() {
    assert_eq!(direct(SocketAddr::from(([255, 255, 255, 255], 5061)), LONG).await, ConnectError::Unreachable);
}

#[tokio::test]
async fn the_offset_moves_the_port_and_is_not_reported() {
    let (_listener, address) = listener().await;
    let asked = SocketAddr::new(address.ip(), 1000);
    let moved = sockets_with(Config { port_offset: address.port() - 1000, ..Config::default() });
    let io: &dyn Io = &moved;
    let connected = io.connect(Target::Direct(asked), LONG).await.expect("it is moved to the listener");
    assert_eq!(connected.peer, asked);
    let beyond = SocketAddr::new(address.ip(), 65000);
    let too_far = sockets_with(Config { port_offset: 10_000, ..Config::default() });
    let io: &dyn Io = &too_far;
    let error = io.connect(Target::Direct(beyond), LONG).await.expect_err("there is no such port");
    assert!(matches!(error, ConnectError::Failed(_)), "{error}");
}

#[tokio::test]
async fn a_connection_given_up_is_not_kept() {
    let (_listener, address) = listener().await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let kept = connect(io, address).await;
    let given_up = io.perform(Operation::Connect { target: Target::Direct(address), limit: LONG });
    drop(given_up);
    assert_eq!(sockets.open_connections(), 1);
    io.close(kept).await;
    assert_eq!(sockets.open_connections(), 0);
}

/// A proxy that reads one request and answers with `answer`, then sends back what it gets.
async fn proxy(answer: &'static [u8]) -> (SocketAddr, tokio::sync::oneshot::Receiver<String>) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let address = server(move |mut stream| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        tell.send(String::from_utf8(request).expect("text")).expect("the test listens");
        stream.write_all(answer).await.expect("the client reads");
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    (address, told)
}

fn through(proxy: SocketAddr) -> Target {
    Target::Proxied {
        host: "sip.contoso.test".to_owned(),
        port: 443,
        proxy: proxy.to_string(),
        authorization: Some("Basic YTpi".to_owned()),
    }
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel_and_keeps_no_byte_of_it() {
    let (address, request) = proxy(b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\nfirst words").await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let connected = io.connect(through(address), LONG).await.expect("a tunnel");
    assert_eq!(connected.peer, address);
    assert_eq!(
        request.await.expect("it was asked"),
        "CONNECT sip.contoso.test:443 HTTP/1.1\r\nHost: sip.contoso.test:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
    );
    assert_eq!(io.receive(connected.conn, LONG).await, Ok(b"first words".to_vec()));
    io.send(connected.conn, b"echo".to_vec()).await.expect("it is open");
    assert_eq!(io.receive(connected.conn, LONG).await, Ok(b"echo".to_vec()));
}

async fn refused_tunnel(answer: &'static [u8]) -> ConnectError {
    let (address, _request) = proxy(answer).await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let error = io.connect(through(address), LONG).await.expect_err("there is no tunnel");
    assert_eq!(sockets.open_connections(), 0);
    error
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_says_which() {
    let error = refused_tunnel(
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\nproxy-authenticate: Basic realm=\"p\"\r\n\r\n",
    );
    assert_eq!(
        error.await,
        ConnectError::Proxy {
            status: 407,
            reason: "Proxy Authentication Required".to_owned(),
            challenges: vec!["NTLM".to_owned(), "Basic realm=\"p\"".to_owned()],
        }
    );
}

#[tokio::test]
async fn a_proxy_that_speaks_something_else_is_quoted() {
    let ConnectError::Failed(words) = refused_tunnel(b"220 mail.contoso.test ESMTP\r\n").await else { panic!() };
    assert!(words.contains("220 mail.contoso.test ESMTP"), "{words}");
    let ConnectError::Failed(words) = refused_tunnel(b"HTTP/1.1 yes\r\n\r\n").await else { panic!() };
    assert!(words.contains("HTTP/1.1 yes"), "{words}");
}

#[tokio::test]
async fn a_proxy_answer_without_end_is_given_up() {
    let address = server(|mut stream| async move {
        let endless = async {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(b"X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await?;
            }
        };
        let _: std::io::Result<()> = endless.await;
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let ConnectError::Failed(words) = io.connect(through(address), LONG).await.expect_err("no tunnel") else {
        panic!()
    };
    assert!(words.contains("16384"), "{words}");
}

#[tokio::test]
async fn a_proxy_that_hangs_up_or_has_no_name_is_told() {
    let address = server(|stream| async move { drop(stream) }).await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    assert!(io.connect(through(address), LONG).await.is_err());
    for proxy in ["", "proxy", "proxy:", "proxy:99999"] {
        let target =
            Target::Proxied { host: "a.test".to_owned(), port: 1, proxy: proxy.to_owned(), authorization: None };
        assert!(matches!(io.connect(target, SHORT).await, Err(ConnectError::Failed(_))), "{proxy}");
    }
}
