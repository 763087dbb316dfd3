//! Panics in `apply`; the host's error must carry the text.
nestor_hostile::hostile!("trap", |_host, _request| panic!("a hostile panic"));
