//! Sleeps for a year, inside the host's clock.
nestor_hostile::hostile!("sleep", |_host, _request| {
    std::thread::sleep(std::time::Duration::from_secs(365 * 24 * 3600));
    Ok(nestor_sdk::Settled::new().ready())
});
