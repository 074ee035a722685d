//! The networks that a key is used from: 24 bits of an IPv4 address, 56 bits of an IPv6 address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

/// The number of networks of a key that are remembered.
pub const NETWORKS_MAX: usize = 8;

/// Set in the number of an IPv4 network.
const IPV4: u64 = 1 << 56;

/// A network as a number: cheap to take from an address and to compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network(NonZeroU64);

impl Network {
    /// The network of an address; `None` for the IPv6 network that has the loopback address.
    pub fn of(address: IpAddr) -> Option<Network> {
        let number = match address {
            IpAddr::V4(address) => IPV4 | u64::from(address.to_bits() >> 8),
            IpAddr::V6(address) => (address.to_bits() >> 72) as u64,
        };
        NonZeroU64::new(number).map(Network)
    }

    /// The inverse of `to_string`.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, _) = text.split_once('/')?;
        let network = Network::of(address.parse().ok()?)?;
        (network.to_string() == text).then_some(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.get();
        match number & IPV4 {
            0 => {
                let address = Ipv6Addr::from_bits(u128::from(number) << 72);
                write!(f, "{address}/56")
            }
            _ => {
                let address = Ipv4Addr::from_bits((number << 8) as u32);
                write!(f, "{address}/24")
            }
        }
    }
}

/// The networks of a key after uses from `used`, the latest first, and those among `used` that are new. The oldest make
/// room for new ones.
pub fn merge(known: &[Network], used: &[Network]) -> (Vec<Network>, Vec<Network>) {
    let new = used.iter().filter(|network| !known.contains(network));
    let new: Vec<Network> = new.copied().collect();
    let others = known.iter().filter(|network| !used.contains(network));
    let mut all: Vec<Network> = used.iter().chain(others).copied().collect();
    all.truncate(NETWORKS_MAX);
    (all, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn addresses_of_one_network_are_one_and_its_text_is_read_back() {
        for (one, other, text) in [
            ("192.0.2.1", "192.0.2.255", "192.0.2.0/24"),
            ("2001:db8:0:1::1", "2001:db8:0:ff::2", "2001:db8::/56"),
            ("255.255.255.255", "255.255.255.0", "255.255.255.0/24"),
        ] {
            assert_eq!(network(one), network(other));
            assert_eq!(network(one).to_string(), text);
            assert_eq!(Network::parse(text), Some(network(one)));
        }
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:100::1"));
        assert_eq!(Network::of("::1".parse().unwrap()), None);
        for text in ["", "192.0.2.1/24", "192.0.2.0/25", "x/24", "192.0.2.0"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_latest_networks_are_remembered() {
        let nets: Vec<Network> = (0..12).map(|n| network(&format!("10.0.{n}.1"))).collect();
        let (all, new) = merge(&[], &nets[..1]);
        assert_eq!((all.as_slice(), new.as_slice()), (&nets[..1], &nets[..1]));
        let (all, new) = merge(&nets[..8], &[nets[3], nets[9]]);
        assert_eq!(new, [nets[9]]);
        assert_eq!(all.len(), NETWORKS_MAX);
        assert_eq!(all[..3], [nets[3], nets[9], nets[0]]);
        assert!(!all.contains(&nets[7]));
    }
}
