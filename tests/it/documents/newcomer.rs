//! A newcomer types every command of the documents that is marked as local: each must succeed, and show what its lines
//! `#> …` say.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{documents, read, root};

const PROGRAM: &str = env!("CARGO_BIN_EXE_aiops-rca");

/// The fenced blocks of a text: their info string and what stands in them.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => open = Some((info.trim().to_owned(), String::new())),
            (None, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "every block is closed");
    blocks
}

/// The demo as the README starts it; asked to stop at the end, as by Ctrl-C.
struct Demo(Child);

impl Demo {
    fn start(port: u16, folder: &Path) -> Self {
        let port = port.to_string();
        let mut command = Command::new(PROGRAM);
        command
            .args(["local", "--demo", "--port", &port])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let asked = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        let give_up = Instant::now() + Duration::from_secs(10);
        while asked.is_ok()
            && Instant::now() < give_up
            && self.0.try_wait().is_ok_and(|ended| ended.is_none())
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The checkout without what its owner has set up: a folder of links.
fn fresh_checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root()).unwrap().flatten() {
        let name = entry.file_name();
        let own = [".env", "local.settings.json", ".aiops-rca"];
        if !own.iter().any(|own| name == *own) {
            std::os::unix::fs::symlink(entry.path(), folder.path().join(&name)).unwrap();
        }
    }
    folder
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Runs a block as a careful person's shell; its end and everything it said.
fn run(block: &str, port: u16, folder: &Path) -> (bool, String) {
    let local = format!("{PROGRAM} local --port 0");
    let script = block
        .replace("cargo run -- local", &local)
        .replace("cargo run --", PROGRAM)
        .replace("7071", &port.to_string());
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    (output.status.success(), said)
}

/// What a block says one will see, and what it did not show.
fn missing<'a>(block: &'a str, said: &str) -> Vec<&'a str> {
    let expected = block.lines().filter_map(|line| line.strip_prefix("#> "));
    expected.filter(|words| !said.contains(words)).collect()
}

#[test]
fn every_local_command_of_the_documents_does_what_they_say() {
    const DEMO: &str = "cargo run -- local --demo\n";
    let texts: Vec<_> = documents().iter().map(|name| read(name)).collect();
    let all: Vec<_> = texts.iter().flat_map(|text| blocks(text)).collect();
    for (info, block) in &all {
        let local = block.contains("cargo run -- ") || block.contains("localhost:7071");
        assert_eq!(
            info == "bash local",
            local,
            "a block that needs only this machine is marked `bash local`, others are not:\n{block}"
        );
    }
    let local: Vec<&str> = all
        .iter()
        .filter(|(info, _)| info == "bash local")
        .map(|(_, block)| block.as_str())
        .collect();
    for word in [
        "curl",
        "cargo run -- local --demo",
        "cargo run -- diagnose",
        "cargo run -- doctor",
    ] {
        assert!(
            local.iter().any(|block| block.contains(word)),
            "the documents show {word}"
        );
    }
    assert!(
        local.contains(&DEMO),
        "the README starts the demo by itself"
    );

    let (folder, port) = (fresh_checkout(), free_port());
    let _demo = Demo::start(port, folder.path());
    let ready = format!(
        "for i in $(seq 300); do curl -fs http://localhost:{port}/health && exit 0; sleep 0.1; done; exit 1"
    );
    assert!(run(&ready, port, folder.path()).0, "the demo answers");
    let rest = local.iter().filter(|block| **block != DEMO);
    let outcomes: Vec<(&str, bool, String)> = std::thread::scope(|scope| {
        let runs: Vec<_> = rest
            .map(|block| (*block, scope.spawn(|| run(block, port, folder.path()))))
            .collect();
        let ended = runs
            .into_iter()
            .map(|(block, run)| (block, run.join().unwrap()));
        ended
            .map(|(block, (good, said))| (block, good, said))
            .collect()
    });
    for (block, good, said) in outcomes {
        assert!(good, "this block fails:\n{block}\nIt says:\n{said}");
        let missing = missing(block, &said);
        assert!(
            missing.is_empty(),
            "this block does not show {missing:?}:\n{block}\nIt says:\n{said}"
        );
    }
}
