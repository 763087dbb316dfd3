//! Recurses without end.
#[allow(unconditional_recursion, reason = "that is what it is for")]
fn deeper(n: u64) -> u64 {
    let room = std::hint::black_box([n; 64]);
    deeper(room[0] + 1) + room[63]
}

nestor_hostile::hostile!("stack-overflow", |_host, _request| Err(
    nestor_sdk::Error::failed(deeper(0).to_string())
));
