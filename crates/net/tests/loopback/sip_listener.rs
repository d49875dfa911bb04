//! The SIP listener: whole messages in, answers out, limits held.

use crate::authority::{Authority, self_signed};
use crate::{LONG, SHORT};
use net::client::{Config, Sockets};
use net::server::{HeldLimits, Security, Serving, SipLimits, Wires, listen, serve_sip};
use signin::io::{ConnId, Io, Pending, StreamError, Target};
use signin::service::{SipService, Wire};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Sends back what it gets. Some first words ask for more than that.
struct Parrot {
    wires: Arc<Wires>,
    heard: Mutex<Vec<String>>,
}

impl Parrot {
    fn note(&self, what: String) {
        self.heard.lock().expect("no panic").push(what);
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }
}

impl SipService for Parrot {
    fn opened(&self, conn: ConnId, _: SocketAddr, _: SocketAddr) {
        self.note(format!("opened {}", conn.0));
    }

    fn received(self: Arc<Self>, conn: ConnId, message: &[u8]) -> Option<Pending<'static, ()>> {
        let message = message.to_vec();
        if message.starts_with(b"SLOW") {
            return Some(Box::pin(async move {
                sleep(Duration::from_millis(50)).await;
                self.wires.send(conn, message);
            }));
        }
        if message.starts_with(b"FLOOD") {
            (0..64).for_each(|_| self.wires.send(conn, vec![b'x'; 1024 * 1024]));
        }
        if message.starts_with(b"PROOF") {
            self.wires.proven(conn);
        }
        if message.starts_with(b"LONG") {
            self.note("long".to_owned());
            self.wires.send(conn, vec![b'x'; 10 * 1024]);
        }
        if message.starts_with(b"OTHER") {
            self.wires.send(ConnId(1), b"from another".to_vec());
        }
        self.wires.send(conn, message.clone());
        if message.starts_with(b"BYE") {
            self.wires.close(conn);
        }
        None
    }

    fn garbled(&self, conn: ConnId, error: sip::framing::FramingError) {
        self.note(format!("garbled {}: {error}", conn.0));
    }

    fn kept_alive(&self, conn: ConnId) {
        self.wires.send(conn, b"\r\n".to_vec());
    }

    fn closed(self: Arc<Self>, conn: ConnId) -> Option<Pending<'static, ()>> {
        self.note(format!("closed {}", conn.0));
        None
    }

    fn tick(self: Arc<Self>) -> Option<Pending<'static, ()>> {
        Some(Box::pin(async move { self.note("tick".to_owned()) }))
    }
}

fn serve(security: impl Into<Security>, limits: SipLimits) -> (Serving, Arc<Parrot>, Arc<Wires>) {
    let wires = Arc::new(Wires::new());
    let parrot = Arc::new(Parrot { wires: wires.clone(), heard: Mutex::default() });
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let serving = serve_sip(listener, security, parrot.clone(), wires.clone(), limits).expect("it serves");
    (serving, parrot, wires)
}

fn plain(limits: SipLimits) -> (Serving, Arc<Parrot>, Arc<Wires>) {
    serve(Security::Plain, limits)
}

async fn open(serving: &Serving) -> TcpStream {
    TcpStream::connect(serving.local_addr()).await.expect("it listens")
}

async fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    timeout(LONG, stream.read_exact(&mut bytes)).await.expect("in time").expect("it answers");
    String::from_utf8(bytes).expect("text")
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(LONG, stream.read(&mut [0; 16])).await, Ok(Ok(0) | Err(_)))
}

async fn until(what: impl Fn() -> bool) {
    let so = async {
        while !what() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, so).await.expect("it comes about");
}

const MESSAGE: &[u8] = b"REGISTER sip:contoso.test SIP/2.0\r\nContent-Length: 4\r\n\r\nbody";

#[tokio::test]
async fn messages_are_whole_however_they_arrive() {
    let (serving, parrot, _) = plain(SipLimits::default());
    let mut stream = open(&serving).await;
    for byte in MESSAGE {
        stream.write_all(&[*byte]).await.expect("open");
        stream.flush().await.expect("open");
    }
    assert_eq!(read(&mut stream, MESSAGE.len()).await.as_bytes(), MESSAGE);
    let many = [b"\r\n\r\n", MESSAGE, MESSAGE, b"\r\n"].concat();
    stream.write_all(&many).await.expect("open");
    let answers =
        ["\r\n", std::str::from_utf8(MESSAGE).expect("text"), std::str::from_utf8(MESSAGE).expect("text"), "\r\n"];
    assert_eq!(read(&mut stream, answers.concat().len()).await, answers.concat());
    drop(stream);
    until(|| parrot.heard().contains(&"closed 1".to_owned())).await;
}

#[tokio::test]
async fn what_takes_time_keeps_its_place() {
    let (serving, ..) = plain(SipLimits::default());
    let mut stream = open(&serving).await;
    stream.write_all(b"FIRST a SIP/2.0\r\n\r\nSLOW b SIP/2.0\r\n\r\nLAST c SIP/2.0\r\n\r\n").await.expect("open");
    assert_eq!(
        timeout(Duration::from_millis(40), read(&mut stream, 19)).await.expect("it does not wait for the slow one"),
        "FIRST a SIP/2.0\r\n\r\n"
    );
    assert_eq!(read(&mut stream, 36).await, "SLOW b SIP/2.0\r\n\r\nLAST c SIP/2.0\r\n\r\n");
}

#[tokio::test]
async fn other_connections_can_be_sent_to_and_services_hang_up() {
    let (serving, _, wires) = plain(SipLimits::default());
    let mut first = open(&serving).await;
    until(|| wires.open_connections() == 1).await;
    let mut second = open(&serving).await;
    second.write_all(b"OTHER a SIP/2.0\r\n\r\n").await.expect("open");
    assert_eq!(read(&mut first, 12).await, "from another");
    first.write_all(b"BYE a SIP/2.0\r\n\r\nMORE b SIP/2.0\r\n\r\n").await.expect("open");
    assert_eq!(read(&mut first, 17).await, "BYE a SIP/2.0\r\n\r\n");
    assert!(is_closed(&mut first).await, "nothing is handled after hanging up");
    until(|| wires.open_connections() == 1).await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let (serving, parrot, _) = plain(SipLimits::default());
    let mut good = open(&serving).await;
    let oversized = format!("M a SIP/2.0\r\nContent-Length: {}\r\n\r\n", 2 * 1024 * 1024);
    let endless_head = vec![b'a'; 70 * 1024];
    for garbage in [b"\x16\x03\x01\x02\x00".as_slice(), oversized.as_bytes(), &endless_head] {
        let mut bad = open(&serving).await;
        let _ = bad.write_all(garbage).await;
        assert!(is_closed(&mut bad).await);
    }
    good.write_all(MESSAGE).await.expect("open");
    assert_eq!(read(&mut good, MESSAGE.len()).await.as_bytes(), MESSAGE);
    let garbled = parrot.heard().into_iter().filter(|line| line.starts_with("garbled")).collect::<Vec<_>>();
    assert_eq!(
        garbled,
        [
            "garbled 2: the stream does not carry SIP",
            "garbled 3: the body of 2097152 bytes is longer than 65536 bytes",
            "garbled 4: the head is longer than 65536 bytes"
        ]
    );
}

#[tokio::test]
async fn strangers_send_less_than_those_who_have_proven_themselves() {
    let (serving, parrot, _) = plain(SipLimits::default());
    let message = format!("M a SIP/2.0\r\nContent-Length: {}\r\n\r\n{}", 100 * 1024, "x".repeat(100 * 1024));
    let mut stranger = open(&serving).await;
    let _ = stranger.write_all(message.as_bytes()).await;
    assert!(is_closed(&mut stranger).await);
    assert!(parrot.heard().contains(&"garbled 1: the body of 102400 bytes is longer than 65536 bytes".to_owned()));
    let mut known = open(&serving).await;
    known.write_all(b"PROOF a SIP/2.0\r\n\r\n").await.expect("open");
    assert_eq!(read(&mut known, 19).await, "PROOF a SIP/2.0\r\n\r\n");
    known.write_all(message.as_bytes()).await.expect("open");
    assert_eq!(read(&mut known, message.len()).await, message);
}

#[tokio::test]
async fn what_strangers_have_us_hold_is_bounded_for_all_of_them() {
    let held = HeldLimits { per_address: 200 * 1024, in_all: 1024 * 1024 };
    let (serving, _, wires) = plain(SipLimits { held, ..SipLimits::default() });
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = open(&serving).await;
        let half = format!("M a SIP/2.0\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(50_000));
        let _ = stream.write_all(half.as_bytes()).await;
        slow.push(stream);
    }
    until(|| wires.open_connections() <= 4).await;
    let mut other = open(&serving).await;
    other.write_all(MESSAGE).await.expect("open");
    assert_eq!(read(&mut other, MESSAGE.len()).await.as_bytes(), MESSAGE, "who is brief is served all the same");
    drop(slow);
    until(|| wires.open_connections() == 1).await;
    other
        .write_all(format!("M a SIP/2.0\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(50_000)).as_bytes())
        .await
        .expect("open");
    sleep(Duration::from_millis(50)).await;
    other.write_all("x".repeat(10_000).as_bytes()).await.expect("there is room again");
    assert!(read(&mut other, 60_000).await.starts_with("M a SIP/2.0"));
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_is_not_answered_in_advance() {
    let (serving, parrot, _) = plain(SipLimits::default());
    let mut stream = open(&serving).await;
    // 18 bytes each that are answered with 10 KiB: one batch could make more than 2 MiB wait, again and again.
    let asking = tokio::spawn(async move {
        for _ in 0..20 {
            let _ = stream.write_all("LONG a SIP/2.0\r\n\r\n".repeat(900).as_bytes()).await;
        }
        stream
    });
    sleep(Duration::from_millis(300)).await;
    let answered = parrot.heard().iter().filter(|line| *line == "long").count();
    assert!(answered < 1_500, "{answered}: the kernel takes some megabytes, and that is all");
    assert!(!parrot.heard().contains(&"closed 1".to_owned()), "it may still read");
    asking.abort();
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed() {
    let (serving, parrot, _) = plain(SipLimits::default());
    let mut stream = open(&serving).await;
    stream.write_all(b"FLOOD a SIP/2.0\r\n\r\n").await.expect("open");
    until(|| parrot.heard().contains(&"closed 1".to_owned())).await;
}

#[tokio::test]
async fn a_peer_that_stalls_is_closed() {
    let queued = 80 * 1024 * 1024;
    let (serving, parrot, _) = plain(SipLimits { queued, stalled: SHORT, ..SipLimits::default() });
    let mut stream = open(&serving).await;
    stream.write_all(b"FLOOD a SIP/2.0\r\n\r\n").await.expect("open");
    until(|| parrot.heard().contains(&"closed 1".to_owned())).await;
}

#[tokio::test]
async fn connections_have_a_limit_and_give_their_place_back() {
    let mut limits = SipLimits::default();
    limits.listener.connections_per_address = 2;
    let (serving, _, wires) = plain(limits);
    let mut first = open(&serving).await;
    let _second = open(&serving).await;
    until(|| wires.open_connections() == 2).await;
    assert!(is_closed(&mut open(&serving).await).await, "one too many from this address");
    first.write_all(MESSAGE).await.expect("open");
    assert_eq!(read(&mut first, MESSAGE.len()).await.as_bytes(), MESSAGE);
    drop(first);
    until(|| wires.open_connections() == 1).await;
    sleep(Duration::from_millis(20)).await;
    let mut again = open(&serving).await;
    again.write_all(MESSAGE).await.expect("open");
    assert_eq!(read(&mut again, MESSAGE.len()).await.as_bytes(), MESSAGE);

    let mut limits = SipLimits::default();
    limits.listener.connections = 1;
    let (serving, _, wires) = plain(limits);
    let _first = open(&serving).await;
    until(|| wires.open_connections() == 1).await;
    assert!(is_closed(&mut open(&serving).await).await, "one too many in total");
}

#[tokio::test]
async fn handshakes_have_a_limit_and_do_not_disturb_others() {
    let ca = Authority::new("SIP CA");
    let file = ca.file();
    let mut limits = SipLimits::default();
    limits.listener.handshake = SHORT;
    let config = ca.issue("fe1.contoso.test").identity().for_sip().expect("usable");
    let (serving, _, _) = serve(Some(config), limits);
    let mut silent = open(&serving).await;
    let mut garbage = open(&serving).await;
    garbage.write_all(b"REGISTER sip:contoso.test SIP/2.0\r\n\r\n").await.expect("open");
    let sockets = Sockets::new(Config {
        dns: Some(SocketAddr::from(([127, 0, 0, 1], 9))),
        system_roots: false,
        ca_files: vec![file.path().to_owned()],
        ..Config::default()
    })
    .expect("good");
    let io: &dyn Io = &sockets;
    let connected = io.connect(Target::Direct(serving.local_addr()), LONG).await.expect("it listens");
    let session = io.start_tls(connected.conn, "fe1.contoso.test", LONG).await.expect("TLS");
    assert!(session.chain_errors.is_empty(), "{session:?}");
    io.send(connected.conn, MESSAGE.to_vec()).await.expect("open");
    assert_eq!(io.receive(connected.conn, LONG).await, Ok(MESSAGE.to_vec()));
    assert!(is_closed(&mut silent).await);
    let mut alert = Vec::new();
    let _ = timeout(LONG, garbage.read_to_end(&mut alert)).await.expect("it is closed");
    assert_eq!(alert.first(), Some(&0x15), "an alert says what is wrong");
    serving.stop().await;
    assert_eq!(io.receive(connected.conn, LONG).await, Err(StreamError::Closed));
}

#[tokio::test]
async fn the_legacy_listener_serves_sip_too() {
    let (serving, ..) =
        serve(self_signed("fe1.contoso.test").identity().legacy().expect("usable"), SipLimits::default());
    let sockets = crate::sockets();
    let io: &dyn Io = &sockets;
    let connected = io.connect(Target::Direct(serving.local_addr()), LONG).await.expect("it listens");
    io.start_tls(connected.conn, "fe1.contoso.test", LONG).await.expect("TLS");
    io.send(connected.conn, MESSAGE.to_vec()).await.expect("open");
    assert_eq!(io.receive(connected.conn, LONG).await, Ok(MESSAGE.to_vec()));
}

#[tokio::test]
async fn services_tick_and_stopping_writes_what_is_queued() {
    let (serving, parrot, wires) = plain(SipLimits::default());
    until(|| parrot.heard().contains(&"tick".to_owned())).await;
    let mut stream = open(&serving).await;
    until(|| wires.open_connections() == 1).await;
    wires.send(ConnId(1), b"goodbye".to_vec());
    let address = serving.local_addr();
    serving.stop().await;
    assert_eq!(read(&mut stream, 7).await, "goodbye");
    assert!(is_closed(&mut stream).await);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    assert_eq!(wires.open_connections(), 0);
}
