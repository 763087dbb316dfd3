//! Fills the engine's map until the host says no, at most with 1 GB, and fails
//! with how much it got in; also with keys that look like paths.
use nestor_sdk::Error;

nestor_hostile::hostile!("store-flood", |host, _request| {
    let value = vec![b'x'; 64 * 1024];
    for key in ["../up", "a/../../b", "/absolute", "nul\0"] {
        // Refused or kept as a plain key: both are fine.
        let _ = host.store_put(key, b"x");
    }
    for n in 0..16_384u32 {
        if let Err(error) = host.store_put(&format!("key{n}"), &value) {
            return Err(Error::failed(format!(
                "stored {} KiB, then: {error}",
                n * 64
            )));
        }
    }
    Err(Error::failed("stored 1 GiB"))
});
