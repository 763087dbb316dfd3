//! Which addresses a name may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nestor_core::grant::Addresses;

/// What kind of place an address is, in the order in which grants open them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Public,
    Private,
    Loopback,
    /// Metadata services, link-local, multicast, unspecified: never.
    Never,
}

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

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        [0, ..] | [169, 254, ..] | [224..=255, ..] => Place::Never,
        // Metadata services of Alibaba Cloud, Azure and Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Place::Never,
        [127, ..] => Place::Loopback,
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Place::Private,
        [198, 18 | 19, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Place::Private
        }
        _ => Place::Public,
    }
}

fn v6(address: Ipv6Addr) -> Place {
    if let Some(inner) = embedded(address) {
        // `::1` is one of these spellings as well; whatever is worse counts.
        return v4(inner);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => Place::Never,
        [0xfc00..=0xfdff, ..] => Place::Private,
        // Link-local, the old site-local, multicast, documentation.
        [0xfe80..=0xffff, ..] | [0x2001, 0x0db8, ..] => Place::Never,
        [0x2000..=0x3fff, ..] => Place::Public,
        // Everything else is not handed out: unspecified, discard, translation.
        _ => Place::Never,
    }
}

/// The IPv4 address that an IPv6 address stands for, in each of its disguises.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible, -mapped and -translated.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            Some(from(high, low))
        }
        // NAT64, well-known and local.
        [0x64, 0xff9b, 0 | 1, .., high, low] => Some(from(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => Some(from(high, low)),
        // Teredo: the client's address, inverted.
        [0x2001, 0, .., high, low] => Some(from(!high, !low)),
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disguise_of_an_inner_address() {
        let table = [
            ("8.8.8.8", Place::Public),
            ("2606:4700::1111", Place::Public),
            ("10.0.0.1", Place::Private),
            ("172.31.255.255", Place::Private),
            ("172.32.0.1", Place::Public),
            ("100.64.0.1", Place::Private),
            ("192.168.1.1", Place::Private),
            ("fd12::1", Place::Private),
            ("127.0.0.1", Place::Loopback),
            ("127.255.0.1", Place::Loopback),
            ("::1", Place::Loopback),
            ("::ffff:127.0.0.1", Place::Loopback),
            ("::127.0.0.1", Place::Loopback),
            ("::ffff:0:127.0.0.1", Place::Loopback),
            ("64:ff9b::7f00:1", Place::Loopback),
            ("64:ff9b:1::7f00:1", Place::Loopback),
            ("2002:7f00:1::", Place::Loopback),
            ("2001:0:1::80ff:fffe", Place::Loopback),
            ("fe80::5efe:7f00:1", Place::Loopback),
            ("2001:db8::5efe:a9fe:a9fe", Place::Never),
            ("::ffff:10.1.2.3", Place::Private),
            ("64:ff9b::808:808", Place::Public),
            ("169.254.169.254", Place::Never),
            ("::ffff:169.254.169.254", Place::Never),
            ("fd00:ec2::254", Place::Never),
            ("100.100.100.200", Place::Never),
            ("168.63.129.16", Place::Never),
            ("0.0.0.0", Place::Never),
            ("0.1.2.3", Place::Never),
            ("::", Place::Never),
            ("255.255.255.255", Place::Never),
            ("224.0.0.1", Place::Never),
            ("fe80::1", Place::Never),
            ("fec0::1", Place::Never),
            ("ff02::1", Place::Never),
            ("100::1", Place::Never),
        ];
        for (text, expected) in table {
            assert_eq!(place(text.parse().unwrap()), expected, "{text}");
        }
    }

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
