//! HTTP as a client, on one pinned connection.

use crate::authority::Authority;
use crate::{LONG, SHORT, connect, server, sockets, sockets_with};
use net::client::Config;
use signin::io::{ConnId, HttpError, HttpRequest, HttpResponse, Io, StreamError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

fn get(path: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        host: "lyncdiscover.contoso.test".to_owned(),
        path: path.to_owned(),
        headers: vec![("Accept".to_owned(), "application/xml".to_owned())],
        body: Vec::new(),
    }
}

fn post(body: &[u8]) -> HttpRequest {
    HttpRequest { method: "POST".to_owned(), body: body.to_vec(), ..get("/WebTicket") }
}

const HEAD: &[u8] = b"\r\n\r\n";

/// Reads a request up to its last bytes, answers it, and so on; then closes and says what was asked.
async fn answering(mut stream: impl AsyncRead + AsyncWrite + Unpin, turns: &[(&[u8], &[u8])]) -> String {
    let mut seen = Vec::new();
    for (last, answer) in turns {
        while !seen.ends_with(last) {
            match stream.read_u8().await {
                Ok(byte) => seen.push(byte),
                Err(_) => break,
            }
        }
        stream.write_all(answer).await.expect("the client reads");
        stream.flush().await.expect("the client reads");
        seen.push(b'|');
    }
    let _ = stream.shutdown().await;
    String::from_utf8(seen).expect("text")
}

async fn one(answer: &'static [u8], limit: usize) -> Result<HttpResponse, HttpError> {
    let address = server(move |stream| async move {
        answering(stream, &[(HEAD, answer)]).await;
    })
    .await;
    let sockets = sockets_with(Config { http_body_limit: limit, ..Config::default() });
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    io.exchange(conn, get("/"), LONG).await
}

#[tokio::test]
async fn requests_share_their_connection_and_carry_no_port() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let address = server(|stream| async move {
        let turns: [(&[u8], &[u8]); 2] = [
            (HEAD, b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nWWW-Authenticate: Negotiate\r\nX-Ms: a\r\nContent-Length: 0\r\n\r\n"),
            (b"</soap>", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n"),
        ];
        tell.send(answering(stream, &turns).await).expect("the test listens");
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    let first = io.exchange(conn, get("/Autodiscover?sipuri=a%40b"), LONG).await.expect("an answer");
    assert_eq!((first.status, first.reusable), (401, true));
    assert_eq!(first.all("www-authenticate").collect::<Vec<_>>(), ["NTLM", "Negotiate"]);
    assert_eq!(first.header("x-ms"), Some("a"));
    let second = io.exchange(conn, post(b"<soap></soap>"), LONG).await.expect("an answer");
    assert_eq!((second.status, second.body.as_slice()), (200, b"yes".as_slice()));
    io.close(conn).await;
    assert_eq!(
        told.await.expect("it was asked"),
        "GET /Autodiscover?sipuri=a%40b HTTP/1.1\r\nhost: lyncdiscover.contoso.test\r\naccept: application/xml\r\n\r\n\
         |POST /WebTicket HTTP/1.1\r\nhost: lyncdiscover.contoso.test\r\ncontent-length: 13\r\naccept: application/xml\r\n\r\n\
         <soap></soap>|"
    );
}

#[tokio::test]
async fn the_same_works_inside_tls() {
    let ca = Authority::new("Web CA");
    let config = ca.issue("web.contoso.test").identity().for_http().expect("usable");
    let address = server(move |tcp| async move {
        let stream = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await.expect("a handshake");
        answering(stream, &[(HEAD, b"HTTP/1.1 204 No Content\r\n\r\n")]).await;
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    io.start_tls(conn, "web.contoso.test", LONG).await.expect("TLS");
    assert_eq!(io.exchange(conn, get("/"), LONG).await.expect("an answer").status, 204);
}

#[tokio::test]
async fn a_connection_that_ends_with_its_answer_is_not_reusable() {
    let closing =
        one(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 100).await.expect("whole");
    assert!(!closing.reusable && closing.body == b"ok");
    let until_the_end = one(b"HTTP/1.0 200 OK\r\n\r\nall of it", 100).await.expect("whole");
    assert!(!until_the_end.reusable && until_the_end.body == b"all of it");
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let fits = one(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234", 4).await.expect("it fits");
    assert_eq!(fits.body, b"1234");
    let promised = one(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 4).await;
    assert_eq!(promised, Err(HttpError::TooLarge { limit: 4 }));
    let chunked = one(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n", 4).await;
    assert_eq!(chunked, Err(HttpError::TooLarge { limit: 4 }));
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be_so() {
    for garbage in
        [b"SIP/2.0 200 OK\r\n\r\n".as_slice(), b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"]
    {
        let error = one(garbage, 100).await.expect_err("not HTTP");
        assert!(matches!(error, HttpError::NotHttp(_)), "{error:?}");
    }
}

#[tokio::test]
async fn heads_have_a_limit() {
    let address = server(|mut stream| async move {
        let endless = async {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await?;
            loop {
                stream.write_all(&[b'a'; 1024]).await?;
            }
        };
        let _: std::io::Result<()> = endless.await;
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    let error = io.exchange(conn, get("/"), LONG).await.expect_err("it has no end");
    assert_eq!(error, HttpError::TooLarge { limit: 64 * 1024 });
}

#[tokio::test]
async fn the_ends_of_a_connection_are_told_apart() {
    let closed = one(b"", 100).await;
    assert_eq!(closed, Err(HttpError::Stream(StreamError::Closed)));
    let cut_short = one(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 100).await;
    assert_eq!(cut_short, Err(HttpError::Stream(StreamError::Closed)));
    let resetting = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 4]).await;
        stream.set_zero_linger().expect("a socket");
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, resetting).await;
    assert_eq!(io.exchange(conn, get("/"), LONG).await, Err(HttpError::Stream(StreamError::Reset)));
}

#[tokio::test]
async fn an_exchange_given_up_closes_its_connection() {
    let address = server(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    assert_eq!(io.exchange(conn, get("/"), SHORT).await, Err(HttpError::Stream(StreamError::Timeout)));
    assert_eq!(io.exchange(conn, get("/"), SHORT).await, Err(HttpError::Stream(StreamError::Closed)));
    assert_eq!(io.exchange(ConnId(77), get("/"), SHORT).await, Err(HttpError::Stream(StreamError::Closed)));
}

#[tokio::test]
async fn a_link_that_is_no_link_is_no_panic() {
    let address = server(|stream| async move { drop(stream) }).await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    let error = io.exchange(conn, get("/a b\r\nX: y"), LONG).await.expect_err("it cannot be written");
    assert!(matches!(error, HttpError::NotHttp(_)), "{error:?}");
}
