//! Writes 64 MB to standard output and as much to standard error.
use std::io::Write;

nestor_hostile::hostile!("stderr-flood", |_host, _request| {
    let line = [b'x'; 64 * 1024];
    for _ in 0..1024 {
        // A refused write is what it wants to see.
        let _ = std::io::stdout().write_all(&line);
        let _ = std::io::stderr().write_all(&line);
    }
    Ok(nestor_sdk::Settled::new().ready())
});
