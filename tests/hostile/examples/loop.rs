//! Never ends `apply`, without a single call to the host.
nestor_hostile::hostile!("loop", |_host, _request| {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1));
    }
});
