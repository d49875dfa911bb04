//! Both doors over real sockets on loopback: each error a sign-in can meet is really produced here.

mod authority;
mod connect;
mod dns;
mod http_exchange;
mod liveness;
mod sip_listener;
mod stream;
mod tls;
mod web_listener;

use net::client::{Config, Sockets};
use signin::io::{ConnId, Io, Target};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything on loopback takes.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// Waits that are meant to run out.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

pub(crate) fn sockets() -> Sockets {
    sockets_with(Config::default())
}

/// Asks nobody's name servers: a test that forgets to name one gets no answer.
pub(crate) fn sockets_with(config: Config) -> Sockets {
    let dns = config.dns.or(Some(SocketAddr::from(([127, 0, 0, 1], 9))));
    Sockets::new(Config { dns, system_roots: false, ..config }).expect("the configuration is good")
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

pub(crate) async fn connect(io: &dyn Io, address: SocketAddr) -> ConnId {
    io.connect(Target::Direct(address), LONG).await.expect("somebody listens").conn
}

/// A server for one connection, by a function.
pub(crate) async fn server<F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the test connects");
        serve(stream).await;
    });
    address
}
