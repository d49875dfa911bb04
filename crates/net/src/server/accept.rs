//! Accepting connections under limits, and stopping in order.

use signin::io::Pending;
use signin::service::network_of;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Connections the kernel holds for us until we accept them. Whole companies reconnect at once.
const BACKLOG: u32 = 4096;

/// How often a service may sweep.
const TICK: Duration = Duration::from_secs(1);

/// How long connections may go on writing after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Rest after the system refused us a connection (usually: too many open files), so that we do not spin.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Opens a listener with a backlog fit for everybody signing in at once.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many connections a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// In total. One more is closed as soon as it was accepted.
    pub connections: usize,
    /// From one remote address; a branch office behind one address is one, and so is an IPv6 network of 64 bits.
    pub connections_per_address: usize,
    /// Longest TLS handshake.
    pub handshake: Duration,
}

impl Default for ListenerLimits {
    /// 100 000 connections, 5 000 from one address, 10 s.
    fn default() -> ListenerLimits {
        ListenerLimits { connections: 100_000, connections_per_address: 5_000, handshake: Duration::from_secs(10) }
    }
}

/// A listener at work. Dropping it stops it too, without waiting for the end.
#[derive(Debug)]
pub struct Serving {
    local: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts no more, lets connections write what is queued for them (5 s at most), closes them.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // The task ends by itself; that it might have panicked changes nothing about having stopped.
        let _ = self.task.await;
    }
}

/// Resolves when a [`Serving`] is to stop.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) async fn requested(&mut self) {
        // An error means that the `Serving` was dropped.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// A connection that was let in.
pub(super) struct Visitor {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) stop: Stop,
    /// Held as long as the connection counts.
    pub(super) admission: Admission,
}

/// Runs a listener: `receive` makes the future that serves one connection, `tick` is called each second, `close` when
/// the connections are to end.
pub(super) fn start<F>(
    listener: TcpListener,
    limits: ListenerLimits,
    receive: impl Fn(Visitor) -> F + Send + 'static,
    tick: impl FnMut() -> Option<Pending<'static, ()>> + Send + 'static,
    close: impl FnOnce() + Send + 'static,
) -> io::Result<Serving>
where
    F: Future<Output = ()> + Send + 'static,
{
    let local = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let mut connections = accept(listener, limits, Stop(stopped), receive, tick).await;
        close();
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            tracing::warn!("connections that did not end in time are cut off");
        }
    });
    Ok(Serving { local, stop, task })
}

/// Accepts until stopped; the listener is closed and the connections go on when it returns.
async fn accept<F>(
    listener: TcpListener,
    limits: ListenerLimits,
    stop: Stop,
    receive: impl Fn(Visitor) -> F,
    mut tick: impl FnMut() -> Option<Pending<'static, ()>>,
) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let census = Arc::new(Census { limits, counts: Mutex::default() });
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    let mut seconds = interval(TICK);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep: Option<Pending<'static, ()>> = None;
    loop {
        tokio::select! {
            biased;
            () = stopping.requested() => return connections,
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    if let Some(visitor) = admit(&census, stream, remote, &stop) {
                        connections.spawn(receive(visitor));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(REST_AFTER_FAILURE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = finished(&mut sweep) => sweep = None,
            _ = seconds.tick() => {
                census.tell_refused();
                let next = tick();
                sweep = sweep.take().or(next);
            }
        }
    }
}

async fn finished(sweep: &mut Option<Pending<'static, ()>>) {
    match sweep {
        Some(sweep) => sweep.await,
        None => std::future::pending().await,
    }
}

fn admit(census: &Arc<Census>, stream: TcpStream, remote: SocketAddr, stop: &Stop) -> Option<Visitor> {
    let Some(admission) = Census::admit(census, remote.ip()) else {
        tracing::debug!(%remote, "closed at once: too many connections");
        return None;
    };
    // A peer that is gone already has no addresses any more.
    let local = stream.local_addr().ok()?;
    // Answers are whole when they are written; waiting for more only costs time.
    let _ = stream.set_nodelay(true);
    Some(Visitor { stream, remote, local, stop: stop.clone(), admission })
}

struct Census {
    limits: ListenerLimits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    /// Since it was last told.
    refused: u64,
    per_address: HashMap<IpAddr, usize>,
}

impl Census {
    fn admit(census: &Arc<Census>, address: IpAddr) -> Option<Admission> {
        let address = network_of(address);
        let mut counts = census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.per_address.get(&address).copied().unwrap_or(0);
        if counts.total >= census.limits.connections || here >= census.limits.connections_per_address {
            counts.refused += 1;
            return None;
        }
        counts.total += 1;
        counts.per_address.insert(address, here + 1);
        Some(Admission { census: census.clone(), address })
    }

    /// One line for all that were refused: a flood of connections must not become a flood of lines.
    fn tell_refused(&self) {
        let refused = std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner).refused);
        if refused > 0 {
            tracing::warn!(refused, "connections were closed at once: there are too many");
        }
    }
}

/// One connection's place under the limits; given back when dropped.
pub(super) struct Admission {
    census: Arc<Census>,
    address: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(here) = counts.per_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let limits = ListenerLimits { connections: 10, connections_per_address: 2, handshake: Duration::ZERO };
        let census = Arc::new(Census { limits, counts: Mutex::default() });
        let admit = |address: &str| Census::admit(&census, address.parse().expect("an address"));
        let kept = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "::ffff:192.0.2.1"].map(admit);
        assert!(kept.iter().all(Option::is_some));
        assert!(admit("2001:db8::3:4:5:6").is_none() && admit("192.0.2.1").is_none());
        assert!(admit("2001:db8:0:1::1").is_some() && admit("192.0.2.2").is_some());
        drop(kept);
        assert!(admit("2001:db8::3").is_some() && admit("192.0.2.1").is_some());
        assert_eq!(census.counts.lock().expect("no panic").per_address.len(), 0);
    }
}
