//! Classes of addresses: the intervals that a program's networks cut the address space into.

use crate::planted::planted;
use ipnet::IpNet;
use std::net::IpAddr;

/// Intervals of both families, numbered through. An interval begins at its bound and ends before the next.
#[derive(Debug, Default)]
pub(crate) struct AddressClasses {
    v4: Vec<u32>,
    v6: Vec<u128>,
}

impl AddressClasses {
    /// Takes in a network.
    pub(crate) fn add(&mut self, net: &IpNet) {
        match net {
            IpNet::V4(net) => {
                self.v4.push(net.network().to_bits());
                self.v4.extend(net.broadcast().to_bits().checked_add(1));
            }
            IpNet::V6(net) => {
                self.v6.push(net.network().to_bits());
                self.v6.extend(net.broadcast().to_bits().checked_add(1));
            }
        }
    }

    /// Once all networks are taken in.
    pub(crate) fn finish(&mut self) {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v6.sort_unstable();
        self.v6.dedup();
    }

    /// Whether no condition reads addresses.
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Number of classes; ids are `0..count`.
    pub(crate) fn count(&self) -> usize {
        self.v4.len() + self.v6.len() + 2
    }

    /// The class of an address. An IPv4 caller on a dual-stack listener shows as `::ffff:a.b.c.d` and is meant by `a.b.c.d`.
    #[inline]
    pub(crate) fn class(&self, ip: IpAddr) -> u32 {
        let ip = if planted!(MappedAddressesStaySix) { ip } else { ip.to_canonical() };
        match ip {
            IpAddr::V4(ip) => self.class_v4(ip.to_bits()),
            IpAddr::V6(ip) => self.class_v6(ip.to_bits()),
        }
    }

    fn class_v4(&self, bits: u32) -> u32 {
        if planted!(AddressBoundsAreOpen) {
            return self.v4.partition_point(|bound| *bound < bits) as u32;
        }
        self.v4.partition_point(|bound| *bound <= bits) as u32
    }

    fn class_v6(&self, bits: u128) -> u32 {
        (self.v4.len() + 1 + self.v6.partition_point(|bound| *bound <= bits)) as u32
    }

    /// The classes inside a network that was taken in.
    pub(crate) fn inside(&self, net: &IpNet) -> std::ops::RangeInclusive<u32> {
        match net {
            IpNet::V4(net) => {
                let bounds = |bits: u32| self.v4.partition_point(|bound| *bound <= bits) as u32;
                bounds(net.network().to_bits())..=bounds(net.broadcast().to_bits())
            }
            IpNet::V6(net) => self.class_v6(net.network().to_bits())..=self.class_v6(net.broadcast().to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_are_intervals_to_their_last_address() {
        let nets: Vec<IpNet> =
            ["10.0.0.0/8", "10.1.0.0/16", "255.0.0.0/8", "::/0", "ffff::/16"].map(|net| net.parse().unwrap()).to_vec();
        let mut classes = AddressClasses::default();
        assert!(classes.is_empty());
        nets.iter().for_each(|net| classes.add(net));
        classes.finish();
        for address in [
            "9.255.255.255",
            "10.0.0.0",
            "10.0.255.255",
            "10.1.0.0",
            "10.1.255.255",
            "10.2.0.0",
            "11.0.0.0",
            "255.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "ffff::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "::ffff:10.1.2.3",
        ] {
            let ip: IpAddr = address.parse().unwrap();
            let class = classes.class(ip);
            assert!((class as usize) < classes.count());
            for net in &nets {
                assert_eq!(
                    classes.inside(net).contains(&class),
                    net.contains(&ip.to_canonical()),
                    "{address} in {net}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_networks(nets in prop::collection::vec((any::<u32>(), 0..=32_u8), 1..8), ip: u32) {
            let net = |(bits, length): &(u32, u8)| {
                IpNet::new(IpAddr::V4((*bits).into()), *length).unwrap().trunc()
            };
            let nets: Vec<IpNet> = nets.iter().map(net).collect();
            let mut classes = AddressClasses::default();
            nets.iter().for_each(|net| classes.add(net));
            classes.finish();
            let ip = IpAddr::V4(ip.into());
            for net in &nets {
                prop_assert_eq!(classes.inside(net).contains(&classes.class(ip)), net.contains(&ip));
            }
        }
    }
}
