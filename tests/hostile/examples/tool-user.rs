//! Not malicious by itself: runs the tool that the config names, in the way
//! that it says, and answers what it saw. `leave` ends after the first line,
//! without waiting for the tool.
use std::time::Duration;

use nestor_sdk::{Error, Invocation, Settled, Value};

nestor_hostile::hostile!("tool-user", |host, request| {
    let config = &request.config;
    let texts = |key: &str| -> Vec<String> {
        let items = config[key].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| item.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let timeout = Duration::from_millis(config["timeout_ms"].as_u64().unwrap_or(30_000));
    let tool = config["tool"].as_str().unwrap_or_default();
    let mut invocation = Invocation::new(tool, texts("args"), timeout);
    for (name, value) in config["env"].as_object().cloned().unwrap_or_default() {
        invocation = invocation.env(name, value.as_str().unwrap_or_default());
    }
    invocation.directory = config["directory"].as_str().unwrap_or_default().to_owned();
    invocation.stdin = config["stdin"]
        .as_str()
        .map(|text| text.as_bytes().to_vec());
    let mut child = host.spawn(invocation)?;
    let mut lines = Vec::new();
    while let Some(line) = child.next_line() {
        let from = if line.stderr { "err" } else { "out" };
        lines.push(Value::from(format!("{from}: {}", line.text)));
        if config["leave"] == true {
            return Ok(Settled::new().output("lines", lines).ready());
        }
        if config["kill"] == true {
            child.kill();
        }
    }
    let exit = match child.wait() {
        Ok(code) => Value::from(code),
        Err(Error::Failed(text)) => Value::from(text),
        Err(other) => return Err(other),
    };
    Ok(Settled::new()
        .output("lines", lines)
        .output("exit", exit)
        .ready())
});
