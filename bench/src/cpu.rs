//! How much processor time a process has used: user and kernel, all threads.

use nix::time::{ClockId, clock_gettime};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// `ESRCH`.
const NO_SUCH_PROCESS: i32 = nix::errno::Errno::ESRCH as i32;

/// Of this process. Asking costs less than a microsecond.
pub(crate) fn own() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has this clock");
    Duration::new(u64::try_from(time.tv_sec()).unwrap_or(0), u32::try_from(time.tv_nsec()).unwrap_or(0))
}

/// Of another process: what the scheduler counted for its threads, in nanoseconds (`/proc/PID/task/*/schedstat`). Threads
/// that have ended are not in it, so the process must keep those it has.
pub(crate) fn of(pid: u32) -> Result<Duration, String> {
    let folder = format!("/proc/{pid}/task");
    let tasks = std::fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut total = 0;
    for task in tasks {
        let path = task.map_err(|error| format!("{folder}: {error}"))?.path().join("schedstat");
        total += run_time(&path)?;
    }
    Ok(Duration::from_nanos(total))
}

fn run_time(path: &Path) -> Result<u64, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        // It ended since the threads were listed: reading says either.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS) => {
            return Ok(0);
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| format!("{}: no run time in {text:?}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_is_seen_from_inside_and_from_outside() {
        let before = (own(), of(std::process::id()).expect("this process"));
        let enough = Duration::from_millis(20);
        let begun = Instant::now();
        // Other threads of this process may end meanwhile, and take their time with them.
        while of(std::process::id()).expect("this process") < before.1 + enough {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing is seen");
        }
        assert!(own() > before.0);
    }
}
