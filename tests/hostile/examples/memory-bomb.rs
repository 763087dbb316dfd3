//! Takes memory, and touches it, until it is stopped.
nestor_hostile::hostile!("memory-bomb", |_host, _request| {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&mut hoard);
    }
});
