//! Fills `/work`: with one large file, or with many small ones when its config
//! says so; at most 4 GiB or a million files, until somebody ends it.
use nestor_sdk::Error;
use std::io::Write;

nestor_hostile::hostile!("disk-flood", |_host, request| {
    let many = request.config["many"].as_bool().unwrap_or(false);
    if many {
        for n in 0..1_000_000u32 {
            let _ = std::fs::write(format!("/work/{n}"), "x");
        }
        return Err(Error::failed("a million files"));
    }
    let block = vec![b'x'; 1 << 20];
    let mut file = std::fs::File::create("/work/flood").map_err(|e| Error::failed(e.to_string()))?;
    for n in 0..4096u32 {
        if let Err(error) = file.write_all(&block) {
            return Err(Error::failed(format!("wrote {n} MiB, then: {error}")));
        }
    }
    Err(Error::failed("wrote 4 GiB"))
});
