//! UDP and TCP for a KDC: one request, one answer. RFC 4120 §7.2.
//!
//! Over TCP a message has its length before it (4 bytes, big-endian), and a connection may carry several. All limits are
//! small, for a request is small and nobody has authenticated.

use super::accept::{ListenerLimits, Serving, Visitor, listen, start};
use signin::service::RequestService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Largest request read, in bytes: a TGS-REQ carries a ticket.
const MAX_REQUEST: usize = 64 * 1024;

/// Largest answer in a datagram, in bytes; a longer one is asked for again over TCP.
const MAX_DATAGRAM: usize = 1400;

/// Connections at one time, in all and from one address. One more is closed at once, so that nobody waits behind peers
/// that say nothing.
const CONNECTIONS: ListenerLimits =
    ListenerLimits { connections: 256, connections_per_address: 64, handshake: Duration::ZERO };

/// How long a connection may take for a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A KDC that is being served. Dropping it stops it.
#[derive(Debug)]
pub struct ServingKdc {
    _datagrams: JoinSet<()>,
    _connections: Serving,
}

/// Serves requests at this address, over UDP and TCP. Needs a Tokio runtime.
pub fn serve_kdc(address: SocketAddr, service: Arc<dyn RequestService>) -> io::Result<ServingKdc> {
    let datagrams = std::net::UdpSocket::bind(address)?;
    datagrams.set_nonblocking(true)?;
    let datagrams = UdpSocket::from_std(datagrams)?;
    let listener = listen(address)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(answer_datagrams(datagrams, service.clone()));
    let receive = move |visitor| welcome(visitor, service.clone());
    let connections = start(listener, CONNECTIONS, receive, || None, || ())?;
    Ok(ServingKdc { _datagrams: tasks, _connections: connections })
}

async fn answer_datagrams(socket: UdpSocket, service: Arc<dyn RequestService>) {
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        // An error belongs to an earlier datagram whose sender is gone.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(request) = buffer.get(..length) else { continue };
        let answer = service.answer(request, Some(MAX_DATAGRAM));
        let _ = socket.send_to(&answer, peer).await;
    }
}

async fn welcome(visitor: Visitor, service: Arc<dyn RequestService>) {
    let Visitor { stream, mut stop, admission, .. } = visitor;
    tokio::select! {
        // A peer that breaks off has nobody to be told.
        _ = converse(stream, &*service) => {}
        () = stop.requested() => {}
    }
    drop(admission);
}

async fn converse(mut stream: TcpStream, service: &dyn RequestService) -> io::Result<()> {
    loop {
        let request = timeout(PATIENCE, read_request(&mut stream)).await??;
        let answer = service.answer(&request, None);
        let length = u32::try_from(answer.len()).map_err(io::Error::other)?;
        let bytes = [&length.to_be_bytes(), &answer[..]].concat();
        timeout(PATIENCE, stream.write_all(&bytes)).await??;
    }
}

async fn read_request(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > MAX_REQUEST {
        return Err(io::Error::other("longer than any request"));
    }
    let mut request = vec![0; length];
    stream.read_exact(&mut request).await?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl RequestService for Echo {
        fn answer(&self, request: &[u8], limit: Option<usize>) -> Vec<u8> {
            let mut answer = request.to_vec();
            answer.reverse();
            answer.truncate(limit.unwrap_or(usize::MAX));
            answer
        }
    }

    async fn ask(stream: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(&u32::try_from(request.len()).expect("short").to_be_bytes()).await?;
        stream.write_all(request).await?;
        let length = stream.read_u32().await? as usize;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn answers_over_both_and_ends_what_is_too_long() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let _serving = serve_kdc(free, Arc::new(Echo)).expect("serves");
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        udp.send_to(b"abc", free).await.expect("sent");
        let mut buffer = [0; 16];
        let (length, _) = udp.recv_from(&mut buffer).await.expect("an answer");
        assert_eq!(&buffer[..length], b"cba");
        let mut tcp = TcpStream::connect(free).await.expect("connects");
        assert_eq!(ask(&mut tcp, b"one").await.expect("an answer"), b"eno");
        assert_eq!(ask(&mut tcp, &[7; 3000]).await.expect("an answer").len(), 3000);
        tcp.write_all(&u32::MAX.to_be_bytes()).await.expect("sent");
        assert_eq!(tcp.read(&mut buffer).await.expect("the end"), 0);
        let mut other = TcpStream::connect(free).await.expect("still served");
        assert_eq!(ask(&mut other, b"two").await.expect("an answer"), b"owt");
    }

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_from_being_answered() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let _serving = serve_kdc(free, Arc::new(Echo)).expect("serves");
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(TcpStream::connect(free).await.expect("accepted, if only to be closed"));
        }
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.2:0".parse().expect("an address")).expect("bound");
        let mut other = socket.connect(free).await.expect("connects");
        let answer = timeout(Duration::from_secs(5), ask(&mut other, b"three")).await;
        assert_eq!(answer.expect("long before the silent ones are given up").expect("an answer"), b"eerht");
    }
}
