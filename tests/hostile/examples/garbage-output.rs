//! Answers one undeclared output of 48 MB, ten thousand small ones, one name
//! twice, and a name with path characters.
use nestor_sdk::Settled;

nestor_hostile::hostile!("garbage-output", |_host, _request| {
    let many = (0..10_000).fold(Settled::new(), |settled, n| {
        settled.output(format!("many{n}"), n)
    });
    Ok(many
        .output("huge", "x".repeat(48 << 20))
        .output("twice", 1)
        .output("twice", 2)
        .output("../../up", true)
        .ready())
});
