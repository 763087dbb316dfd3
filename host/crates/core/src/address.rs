//! What kind of place a network address is: whether it leads to the world, to
//! a private network, to this machine, or to where nothing of ours may go.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The world.
    Public,
    /// A network of somebody's own.
    Private,
    /// This machine.
    Loopback,
    /// Metadata services, link-local, multicast, unspecified: never.
    Never,
}

/// The place of an address, seen through every spelling of an IPv4 address in
/// IPv6.
#[must_use]
pub fn place(address: IpAddr) -> Place {
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

/// A range of addresses, written `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    base: IpAddr,
    prefix: u8,
}

impl Range {
    /// Parses a range.
    ///
    /// # Errors
    /// What is wrong with the text, and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a range of addresses such as 10.0.0.0/8");
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| bad())?;
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => widest,
            Some(digits) => digits
                .parse::<u8>()
                .ok()
                .filter(|n| *n <= widest)
                .ok_or_else(bad)?,
        };
        let range = Self { base, prefix };
        if range.masked(base) != bits(base) {
            return Err(format!(
                "{text:?} has bits after its prefix; the range begins at {}",
                range.first()
            ));
        }
        Ok(range)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && self.masked(address) == bits(self.base)
    }

    /// The part of an address that the prefix covers.
    fn masked(&self, address: IpAddr) -> u128 {
        let width: u32 = if address.is_ipv4() { 32 } else { 128 };
        let free = width - u32::from(self.prefix);
        let value = bits(address);
        value
            .checked_shr(free)
            .and_then(|v| v.checked_shl(free))
            .unwrap_or(0)
    }

    fn first(&self) -> IpAddr {
        let value = self.masked(self.base);
        match self.base {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(value).unwrap_or(0))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(value)),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("fd00::/8", "fd12::1", "fc00::1"),
            ("::/0", "2001::1", "1.2.3.4"),
            ("192.168.7.128/25", "192.168.7.200", "192.168.7.1"),
        ] {
            let range = Range::parse(range).unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(
                !range.contains(outside.parse().unwrap()),
                "{range} {outside}"
            );
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "host",
            "::/129",
            "10.0.0/8",
            "1.2.3.4/-1",
        ] {
            assert!(Range::parse(bad).is_err(), "{bad}");
        }
    }

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
}
