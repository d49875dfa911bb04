//! Sending and receiving on an open connection, and how it ends.

use crate::{LONG, SHORT, connect, listener, server, sockets};
use signin::io::{ConnId, Io, StreamError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn bytes_go_both_ways() {
    let address = server(|mut stream| async move {
        let mut asked = [0; 5];
        stream.read_exact(&mut asked).await.expect("it asks");
        stream.write_all(&asked).await.expect("it reads");
        let _ = stream.read_u8().await;
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    io.send(conn, b"hello".to_vec()).await.expect("it is open");
    assert_eq!(io.receive(conn, LONG).await, Ok(b"hello".to_vec()));
    assert_eq!(io.receive(conn, SHORT).await, Err(StreamError::Timeout));
    io.close(conn).await;
    assert_eq!(io.receive(conn, LONG).await, Err(StreamError::Closed));
    assert_eq!(io.send(conn, vec![1]).await, Err(StreamError::Closed));
}

#[tokio::test]
async fn the_servers_end_is_told_apart_from_its_reset() {
    let closing = server(|stream| async move { drop(stream) }).await;
    let resetting = server(|stream| async move { stream.set_zero_linger().expect("it is a socket") }).await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, closing).await;
    assert_eq!(io.receive(conn, LONG).await, Err(StreamError::Closed));
    let conn = connect(io, resetting).await;
    assert_eq!(io.receive(conn, LONG).await, Err(StreamError::Reset));
}

#[tokio::test]
async fn sending_while_receiving_does_not_wait() {
    let address = server(|mut stream| async move {
        let word = stream.read_u8().await.expect("it sends");
        stream.write_all(&[word + 1]).await.expect("it reads");
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    let (received, sent) = tokio::join!(io.receive(conn, LONG), io.send(conn, vec![1]));
    assert_eq!((received, sent), (Ok(vec![2]), Ok(())));
}

#[tokio::test]
async fn closing_ends_a_wait_for_bytes() {
    let (_listener, address) = listener().await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    let (received, ()) = tokio::join!(io.receive(conn, LONG), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        io.close(conn).await;
    });
    assert_eq!(received, Err(StreamError::Closed));
}

#[tokio::test]
async fn giving_up_a_wait_loses_nothing() {
    let address = server(|mut stream| async move {
        tokio::time::sleep(Duration::from_millis(60)).await;
        stream.write_all(b"late").await.expect("it reads");
        let _ = stream.read_u8().await;
    })
    .await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    assert!(tokio::time::timeout(Duration::from_millis(10), io.receive(conn, LONG)).await.is_err());
    assert_eq!(io.receive(conn, LONG).await, Ok(b"late".to_vec()));
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_given_up() {
    let (_listener, address) = listener().await;
    let sockets = sockets();
    let io: &dyn Io = &sockets;
    let conn = connect(io, address).await;
    tokio::time::pause();
    assert_eq!(io.send(conn, vec![0; 64 * 1024 * 1024]).await, Err(StreamError::Timeout));
    assert_eq!(io.send(conn, vec![0]).await, Err(StreamError::Closed), "half of a message may have been sent");
}

#[tokio::test]
async fn time_passes_and_events_are_told() {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hearing = heard.clone();
    let sockets = crate::sockets_with(net::client::Config {
        events: std::sync::Arc::new(move |event| hearing.lock().expect("one thread").push(event)),
        ..Default::default()
    });
    let io: &dyn Io = &sockets;
    let before = io.now();
    io.wait(Duration::from_millis(10)).await;
    assert!(io.now().since_start >= before.since_start + Duration::from_millis(10));
    io.tell(signin::report::Event::Began(signin::report::Step::Discovery));
    assert_eq!(heard.lock().expect("one thread").len(), 1);
    assert_eq!(io.receive(ConnId(404), LONG).await, Err(StreamError::Closed));
}
