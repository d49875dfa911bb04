//! When somebody wants the program to end: Ctrl-C, or the system's request to terminate.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for either.
pub(crate) async fn wanted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
