//! What the malicious engines share. Each lives in `examples/` and shows one
//! thing that a host must survive; what it does wrong is its first comment.

use nestor_sdk::Description;

/// An engine's description that gives nothing away.
#[must_use]
pub fn description(name: &str) -> Description {
    Description::new(name, "0.1.0", "A hostile engine for tests")
}

/// An engine whose `apply` is the given expression over `host` and `request`,
/// and which does nothing else.
#[macro_export]
macro_rules! hostile {
    ($name:literal, |$host:ident, $request:ident| $apply:expr) => {
        #[derive(Default)]
        struct Hostile;
        impl nestor_sdk::Engine for Hostile {
            fn describe(&self) -> nestor_sdk::Description {
                $crate::description($name)
            }
            #[allow(unreachable_code, reason = "most of them never come back")]
            fn apply(
                &self,
                $host: &dyn nestor_sdk::Host,
                $request: &nestor_sdk::Request,
            ) -> Result<nestor_sdk::Outcome, nestor_sdk::Error> {
                $apply
            }
        }
        nestor_sdk::export!(Hostile);
    };
}
