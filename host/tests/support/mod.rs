//! A real host: the binary, on a free port of loopback, with a data directory
//! that outlives it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nestor_client::Client;

/// The slowest start: an empty cache, and Cranelift over Helm on two busy cores.
const START: Duration = Duration::from_secs(300);

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("host/ is below the checkout")
        .to_owned()
}

/// A component that `make guests` builds.
pub(crate) fn guest(path: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let file = target.join(path);
    assert!(
        file.exists(),
        "{} is not there: run `make guests` first",
        file.display()
    );
    file
}

/// Terraform or OpenTofu, as `make test` found it, or from PATH.
pub(crate) fn terraform() -> PathBuf {
    if let Some(named) = std::env::var_os("NESTOR_TERRAFORM") {
        return named.into();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&paths)
        .flat_map(|dir| ["tofu", "terraform"].map(|name| dir.join(name)));
    found
        .find(|file| file.is_file())
        .expect("neither tofu nor terraform is on PATH: set NESTOR_TERRAFORM, or run `make test`")
}

/// OpenTofu: from PATH, else the pinned one, which `make test` builds.
pub(crate) fn tofu() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join("tofu"));
    if let Some(found) = found.into_iter().find(|file| file.is_file()) {
        return found;
    }
    let built = Command::new(root().join("scripts/peers"))
        .args(["--built", "tofu"])
        .output()
        .expect("the script runs");
    assert!(
        built.status.success(),
        "there is no tofu: run `scripts/peers tofu`, which builds it once, or `make test`"
    );
    String::from_utf8_lossy(&built.stdout).trim().into()
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    config: PathBuf,
    host: Option<Child>,
}

impl World {
    /// With a catalog of the test's own, or the example's.
    pub(crate) fn new(catalog: Option<&str>) -> Self {
        Self::with_tool(catalog, &terraform())
    }

    /// As [`Self::new`], with this program in Terraform's place.
    pub(crate) fn with_tool(catalog: Option<&str>, tool: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let directory = match catalog {
            None => root().join("examples/catalog"),
            Some(definition) => {
                let directory = folder.path().join("catalog/thing");
                std::fs::create_dir_all(&directory).expect("a folder");
                std::fs::write(directory.join("definition.yaml"), definition).expect("written");
                folder.path().join("catalog")
            }
        };
        // Compiled engines are the same for every test.
        let cache = guest("engines").with_file_name("test-cache");
        let config = folder.path().join("nestor.yaml");
        let text = format!(
            "server: {{listen: \"127.0.0.1:{port}\", data_dir: {data:?}, cache_dir: {cache:?}}}\n\
             catalog: {{directory: {directory:?}}}\n\
             engines: {{terraform: {{tool: {tool:?}}}}}\n\
             telemetry: {{format: json}}\n",
            data = folder.path().join("data"),
        );
        std::fs::write(&config, text).expect("written");
        Self {
            folder,
            port,
            config,
            host: None,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url()).expect("an address")
    }

    /// Starts the host and waits until it takes requests.
    pub(crate) async fn start(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_nestor"))
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("the host starts");
        self.host = Some(child);
        let (client, until) = (self.client(), Instant::now() + START);
        while client.ready().await.is_err() {
            let ended = self
                .host
                .as_mut()
                .and_then(|child| child.try_wait().expect("a child"));
            assert!(
                ended.is_none() && Instant::now() < until,
                "the host does not start:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until no engine is being compiled any more.
    pub(crate) async fn engines_ready(&self) {
        let (client, until) = (self.client(), Instant::now() + START);
        while client
            .engines()
            .await
            .expect("listed")
            .items
            .iter()
            .any(|e| e.status == "preparing")
        {
            assert!(
                Instant::now() < until,
                "the engines are not ready:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.host.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The command line against this host.
    pub(crate) fn nestor(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nestor"))
            .args(arguments)
            .env("NESTOR_URL", self.url())
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .expect("the command runs")
    }

    /// Its output, when it ends with this code.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.nestor(arguments);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "nestor {arguments:?}:\n{text}\nthe host's log:\n{}",
            self.log()
        );
        text
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).expect("written");
        file.to_string_lossy().into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until the deployment has settled; what it is then, as JSON.
pub(crate) async fn settled(client: &Client, id: &str) -> serde_json::Value {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let found = client.deployment(id).await.expect("there");
        if found.status.is_settled() && found.queued_revision.is_none() && found.phase == "done" {
            return found.raw;
        }
        assert!(
            Instant::now() < until,
            "{id} does not settle: {}",
            found.raw
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
