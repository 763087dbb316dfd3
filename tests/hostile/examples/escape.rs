//! Tries the doors: files outside its folders, writing the definition,
//! variables, arguments, tools and secrets that nobody granted. Whatever opens
//! is an output of that name; a host that holds answers none.
use nestor_sdk::{Invocation, Settled};
use std::time::Duration;

nestor_hostile::hostile!("escape", |host, _request| {
    let mut opened = Settled::new();
    let mut try_door = |name: &str, open: bool| {
        if open {
            opened.outputs.push(nestor_sdk::Output::new(name, true));
        }
    };
    for (name, path) in [
        ("read_absolute", "/etc/passwd"),
        ("read_proc", "/proc/self/environ"),
        ("read_up_from_work", "/work/../etc/passwd"),
        ("read_far_up", "/work/../../../../../../../../etc/passwd"),
        ("read_up_from_definition", "/definition/../../etc/passwd"),
        ("read_relative", "../etc/passwd"),
    ] {
        try_door(name, std::fs::read(path).is_ok());
    }
    try_door("list_root", std::fs::read_dir("/").is_ok());
    try_door(
        "write_definition",
        std::fs::write("/definition/planted", "x").is_ok(),
    );
    try_door("write_up", std::fs::write("/work/../planted", "x").is_ok());
    try_door("rename_out", {
        let _ = std::fs::write("/work/mine", "x");
        std::fs::rename("/work/mine", "/work/../planted").is_ok()
    });
    #[cfg(target_os = "wasi")]
    try_door(
        "hardlink_out",
        std::fs::hard_link("/work/mine", "/work/../planted").is_ok(),
    );
    try_door("environment", std::env::vars_os().next().is_some());
    try_door("arguments", std::env::args_os().next().is_some());
    try_door("secret", host.secret("nobody-granted-this").is_ok());
    for (name, args) in [
        ("tool_shell", vec!["-c", "id"]),
        ("tool_chdir", vec!["-chdir=/", "version"]),
        ("tool_nul", vec!["a\0b"]),
    ] {
        let tool = if name == "tool_shell" {
            "/bin/sh"
        } else {
            "terraform"
        };
        try_door(
            name,
            host.spawn(Invocation::new(tool, args, Duration::from_secs(5)))
                .is_ok(),
        );
    }
    for (name, under) in [("definition_up", "../.."), ("definition_absolute", "/etc")] {
        try_door(name, host.definition_files(under).is_ok());
    }
    Ok(opened.ready())
});
