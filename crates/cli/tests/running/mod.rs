//! The program in processes of its own: a lab that runs, and what is asked of it.

#![allow(dead_code)] // each test program uses its own part

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program, with nothing of the environment that changes what it says.
pub(crate) fn signpost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    command.env_remove("SIGNPOST_PASSWORD").env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A running lab, stopped when dropped.
pub(crate) struct Lab {
    pub(crate) child: Child,
    pub(crate) folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn start() -> Lab {
        Lab::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        let lab = Lab { child: Lab::child(&folder, more), folder };
        lab.wait();
        lab
    }

    fn child(folder: &tempfile::TempDir, more: &[&str]) -> Child {
        let mut command = signpost();
        command.args(["lab", "--seconds", "120", "--ready-file"]).arg(folder.path().join("ready.json"));
        command.arg("--state").arg(folder.path().join("state")).args(more);
        command.stdout(Stdio::null()).spawn().expect("the lab starts")
    }

    /// Until it serves.
    pub(crate) fn wait(&self) {
        let began = Instant::now();
        while !self.ready().exists() {
            assert!(began.elapsed() < Duration::from_secs(20), "the lab is not ready after 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a power failure does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        std::fs::remove_file(self.ready()).expect("it was ready");
    }

    /// The same deployment once more.
    pub(crate) fn start_again(&mut self, more: &[&str]) {
        self.child = Lab::child(&self.folder, more);
        self.wait();
    }

    /// The file that says where everything is.
    pub(crate) fn ready(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    /// Runs `signin` against it.
    pub(crate) fn signin(&self, address: &str, password: &str, more: &[&str]) -> Output {
        let name = address.split('@').next().expect("a name");
        let mut command = signpost();
        command.args(["signin", address, "--user", &format!("CONTOSO\\{name}"), "--lab"]).arg(self.ready());
        command.args(more).env("SIGNPOST_PASSWORD", password).output().expect("runs")
    }

    /// Runs `admin` on the lab's store, while the lab runs.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Output {
        let state = self.folder.path().join("state");
        signpost().args(["admin", "--state"]).arg(state).args(arguments).output().expect("runs")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The document it wrote.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard error on one line, without the box it is drawn in.
pub(crate) fn told(output: &Output) -> String {
    text(&output.stderr).replace(['\n', '│', '×', '╰', '─', '▶'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}
