//! Writes a hundred thousand log lines and progress reports, one of them of
//! 8 MB and one with control characters, and then ends well.
use nestor_sdk::{Level, Settled, json};

nestor_hostile::hostile!("log-flood", |host, _request| {
    host.log(Level::Info, &"x".repeat(8 << 20), json!({}));
    host.log(
        Level::Info,
        "\u{1b}[2J\u{0}\r\nforged: line \u{202e}",
        json!({"level": "error", "deployment": "forged"}),
    );
    for n in 0..100_000u32 {
        host.log(Level::Error, "flood", json!({ "n": n }));
        host.progress(Some((n % 101) as u8), "flood");
    }
    Ok(Settled::new().ready())
});
