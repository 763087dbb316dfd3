//! Which addresses a name may lead to.

use std::net::IpAddr;

use nestor_core::address::{Place, place};
use nestor_core::grant::Addresses;

/// Whether a grant lets a request go to an address; the error says what it is.
pub(super) fn check(address: IpAddr, allowed: Addresses) -> Result<(), String> {
    let place = place(address);
    let ok = match place {
        Place::Public => true,
        Place::Private => allowed >= Addresses::Private,
        Place::Loopback => allowed >= Addresses::Loopback,
        Place::Never => false,
    };
    if ok {
        return Ok(());
    }
    let what = match place {
        Place::Public | Place::Private => {
            "a private address; grant addresses = \"private\" if it is meant"
        }
        Place::Loopback => "this machine itself; grant addresses = \"loopback\" if it is meant",
        Place::Never => "a link-local, metadata or special address, which is never allowed",
    };
    Err(format!("{address} is {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_open_one_place_after_the_other() {
        let opens = |text: &str| {
            let address = text.parse().unwrap();
            [Addresses::Public, Addresses::Private, Addresses::Loopback]
                .map(|allowed| check(address, allowed).is_ok())
        };
        assert_eq!(opens("8.8.8.8"), [true, true, true]);
        assert_eq!(opens("10.0.0.1"), [false, true, true]);
        assert_eq!(opens("127.0.0.1"), [false, false, true]);
        assert_eq!(opens("169.254.169.254"), [false, false, false]);
    }
}
