//! Opens files and keeps them open, up to 5,000; answers how many it got.
use nestor_sdk::{Error, Settled};

nestor_hostile::hostile!("fd-hoard", |_host, _request| {
    let mut held = Vec::new();
    for n in 0..5_000u32 {
        match std::fs::File::create(format!("/work/{n}")) {
            Ok(file) => held.push(file),
            Err(error) => return Err(Error::failed(format!("held {n}, then: {error}"))),
        }
    }
    Ok(Settled::new().output("endpoint", held.len()).ready())
});
