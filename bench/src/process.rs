//! A server in a process of its own, so that its processor time and memory are its alone.
//!
//! Our servers are this program run again with `--serve NAME …`: it says where it listens, and ends when its standard input
//! does, which is when whoever started it is gone.

use crate::cpu;
use crate::deployment::told;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to end by itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// A server, in a process group of its own. Dropping it ends the group.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one of ours.
    pub(crate) fn ours(arguments: &[&str]) -> Result<Server, String> {
        let program = std::env::current_exe().map_err(told)?;
        let mut command = Command::new(program);
        command.arg("--serve").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut server =
            Server { child: command.spawn().map_err(told)?, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        let said = server.child.stdout.take().ok_or("a server without an output")?;
        BufReader::new(said).read_line(&mut line).map_err(told)?;
        server.address = line.trim().parse().map_err(|_| format!("the server {arguments:?} did not start"))?;
        Ok(server)
    }

    /// Starts somebody else's, which will listen at this address.
    pub(crate) fn foreign(command: &mut Command, address: SocketAddr) -> Result<Server, String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn().map_err(told)?;
        Ok(Server { child, address })
    }

    /// Processor time of its processes so far: user and kernel.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        members(self.child.id())?.into_iter().map(cpu::of).sum()
    }

    /// Memory of its processes: their proportional set size, in bytes.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        members(self.child.id())?.into_iter().map(proportional_set_size).sum()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One of ours ends by itself when its input does, and takes its folder along.
        if self.child.stdin.take().is_some() {
            let begun = Instant::now();
            while self.runs() && begun.elapsed() < GOODBYE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // Gone already, or not: either way nothing more can be done about it.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// The processes of a group.
fn members(group: u32) -> Result<Vec<u32>, String> {
    let processes = std::fs::read_dir("/proc").map_err(told)?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|pid| group_of(*pid) == Some(group)).collect())
}

/// Its process group, from `/proc/PID/stat`: the third word after the name, which is in parentheses. `None`: it is gone.
fn group_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

fn proportional_set_size(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| format!("{path}: no Pss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_seen_and_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let mut server = Server::foreign(&mut command, SocketAddr::from(([127, 0, 0, 1], 1))).expect("sh starts");
        let group = server.child.id();
        while members(group).expect("a list").len() < 3 {
            assert!(server.runs());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(server.cpu().expect("its time") > Duration::ZERO);
        assert!(server.memory().expect("its memory") > 0);
        drop(server);
        // The grandchild was left to whoever reaps; it does nothing any more.
        let runs = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
        };
        // Whoever was killed still has to get a processor to die on.
        let begun = Instant::now();
        while members(group).expect("a list").iter().any(runs) {
            assert!(begun.elapsed() < Duration::from_secs(10), "they go on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
