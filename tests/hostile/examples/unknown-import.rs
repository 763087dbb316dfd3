//! Imports an interface that no host of ours has, besides the real ones.
mod bindings {
    #![allow(
        missing_docs,
        unsafe_code,
        unreachable_pub,
        clippy::all,
        reason = "generated"
    )]
    wit_bindgen::generate!({
        inline: "
            package evil:host@1.0.0;
            interface escape {
                shell: func(command: string) -> string;
            }
            world evil {
                import escape;
            }
        ",
    });
}

nestor_hostile::hostile!("unknown-import", |_host, _request| {
    Err(nestor_sdk::Error::failed(
        bindings::evil::host::escape::shell("id"),
    ))
});
