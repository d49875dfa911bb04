//! The processes that are measured: `bench --serve NAME …` is one of our own servers and not the benchmark.
//!
//! `front-end USERS` is a whole Front End, behind TLS, on a runtime with one worker: what spends least per message.
//!
//! `ceiling WATCHERS LENGTH` is what no fan-out can do without, and nothing else. It waits for one message on its first
//! connection, writes a fixed one of that length to each of the others, and answers. One thread, the same TLS, blocking
//! sockets: it never even asks which connection is ready.

use crate::deployment::{DOMAIN, Deployment, FRONT_END, told};
use net::server::{Identity, Serving, SipLimits, SystemSurroundings, Wires, listen, serve_sip};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use signin::authenticate::offer::Offer;
use signin::service::Surroundings;
use sip::framing::{Cut, Limits, cut};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use store::{OwnDirectoryVerifier, Throttle};

/// Serves until standard input ends.
pub(crate) fn serve(arguments: &[String]) -> Result<(), String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().map_err(told);
    match arguments.as_slice() {
        ["front-end", users] => front_end(number(users)?),
        ["ceiling", watchers, length] => ceiling(number(watchers)?, number(length)?),
        _ => Err(format!("there is no server {arguments:?}")),
    }
}

/// Certificate and key of every server here, PEM: ECDSA with P-256, which costs least.
pub(crate) fn certificate() -> Result<(String, String), String> {
    let made = rcgen::generate_simple_self_signed([FRONT_END.to_owned(), DOMAIN.to_owned()]).map_err(told)?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

fn tls() -> Result<Arc<ServerConfig>, String> {
    let (chain, key) = certificate()?;
    Identity::from_pem(chain.as_bytes(), key.as_bytes()).and_then(|identity| identity.for_sip()).map_err(told)
}

fn front_end(users: usize) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(told)?;
    let (_serving, _deployment) = runtime.block_on(open_front_end(users))?;
    end_with_input()
}

async fn open_front_end(users: usize) -> Result<(Serving, Deployment), String> {
    let surroundings: Arc<dyn Surroundings> = Arc::new(SystemSurroundings::new());
    let wires = Arc::new(Wires::new());
    let offers = |store: &Arc<store::Store>| {
        let verifier = OwnDirectoryVerifier::new(store.clone(), surroundings.clone(), Throttle::default());
        vec![Offer::Ntlm(Arc::new(verifier))]
    };
    let deployment = Deployment::open(users, surroundings.clone(), wires.clone(), offers).await?;
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(told)?;
    let address = listener.local_addr().map_err(told)?;
    let serving =
        serve_sip(listener, tls()?, deployment.front_end.clone(), wires, SipLimits::default()).map_err(told)?;
    say(address);
    Ok((serving, deployment))
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

fn ceiling(watchers: usize, length: usize) -> Result<(), String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(told)?;
    say(listener.local_addr().map_err(told)?);
    let tls = tls()?;
    let mut publisher = accept(&listener, &tls)?;
    let mut streams = (0..watchers).map(|_| accept(&listener, &tls)).collect::<Result<Vec<Stream>, String>>()?;
    let notification = fixed("BENOTIFY sip:watcher SIP/2.0", length);
    let answer = fixed("SIP/2.0 200 OK", 600);
    let mut received = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let read = publisher.read(&mut chunk).map_err(told)?;
        if read == 0 {
            return Ok(());
        }
        received.extend_from_slice(&chunk[..read]);
        if let Cut::Message { length } = cut(&received, &Limits::default()).map_err(told)? {
            received.drain(..length);
            for stream in &mut streams {
                stream.write_all(&notification).map_err(told)?;
            }
            publisher.write_all(&answer).map_err(told)?;
        }
    }
}

fn accept(listener: &TcpListener, tls: &Arc<ServerConfig>) -> Result<Stream, String> {
    let (tcp, _) = listener.accept().map_err(told)?;
    tcp.set_nodelay(true).map_err(told)?;
    let mut stream = StreamOwned::new(ServerConnection::new(tls.clone()).map_err(told)?, tcp);
    stream.conn.complete_io(&mut stream.sock).map_err(told)?;
    Ok(stream)
}

/// A message of this length, or a little longer when its head alone is.
fn fixed(first_line: &str, length: usize) -> Vec<u8> {
    let head = |body: usize| format!("{first_line}\r\nContent-Length: {body:>6}\r\n\r\n");
    let body = length.saturating_sub(head(0).len());
    let mut message = head(body).into_bytes();
    message.resize(message.len() + body, b'x');
    message
}

#[allow(clippy::print_stdout)] // whoever started this waits for the line
fn say(address: SocketAddr) {
    println!("{address}");
}

fn end_with_input() -> Result<(), String> {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map(drop).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_message_is_one_message_of_its_length() {
        for length in [100, 600, 1_234] {
            let message = fixed("SIP/2.0 200 OK", length);
            assert_eq!(message.len(), length);
            assert!(matches!(cut(&message, &Limits::default()), Ok(Cut::Message { length: l }) if l == length));
        }
    }
}
