//! Lists of client addresses that a key may be used from.

use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, or a range of them in CIDR notation (RFC 4632, RFC 4291 section 2.3), in canonical form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Block {
    network: IpAddr,
    prefix_bits: u8,
}

/// Which forms the entries of a list may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grammar {
    /// Addresses and ranges.
    Ranges,
    /// Addresses without a prefix length. `192.0.2.1/32` has one, so it is refused.
    Single,
}

/// At least one block. "No restriction" is the absence of a list, never an empty one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddressList(Vec<Block>);

/// The form in which addresses are compared: an IPv4-mapped IPv6 address is its IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Reads one address in the forms that gateways write into the list of hops: the address alone, `203.0.113.9:51234`,
/// `[2001:db8::1]` or `[2001:db8::1]:443`. A port has one to five digits.
pub fn parse_hop(text: &str) -> Option<IpAddr> {
    let is_port = |port: &str| {
        (1..=5).contains(&port.len())
            && port.bytes().all(|b| b.is_ascii_digit())
            && !port.starts_with('0')
            && port.parse::<u16>().is_ok()
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let fits = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().ok().filter(|_| fits)?;
        return Some(canonical(address.into()));
    }
    match text.split_once(':') {
        // An IPv6 address has several colons, and one without brackets never has a port.
        Some((address, port)) if !port.contains(':') => {
            let address: Ipv4Addr = address.parse().ok().filter(|_| is_port(port))?;
            Some(address.into())
        }
        _ => parse_address(text),
    }
}

/// Reads one address without port, zone or brackets, in canonical form.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(canonical)
}

impl Block {
    fn parse_as(grammar: Grammar, text: &str) -> Option<Block> {
        match grammar {
            Grammar::Ranges => Block::parse(text),
            Grammar::Single if text.contains('/') => None,
            Grammar::Single => Block::parse(text),
        }
    }

    /// Reads `203.0.113.9`, `10.0.0.0/8` or `2001:db8::/32`. Bits beyond the prefix must be zero. A prefix of 0 bits is
    /// refused: a key without a list may be used from every address.
    pub fn parse(text: &str) -> Option<Block> {
        let Some((address, bits)) = text.split_once('/') else {
            let network = parse_address(text)?;
            return Some(Block {
                network,
                prefix_bits: width(network),
            });
        };
        let plain = !bits.starts_with('0') && bits.bytes().all(|b| b.is_ascii_digit());
        if !plain {
            return None;
        }
        let written: IpAddr = address.parse().ok()?;
        let mut prefix_bits: u8 = bits.parse().ok()?;
        if prefix_bits > width(written) {
            return None;
        }
        let network = canonical(written);
        if network.is_ipv4() && written.is_ipv6() {
            // A range of mapped addresses is a range of IPv4 addresses only below the mapping prefix.
            prefix_bits = prefix_bits.checked_sub(96).filter(|bits| *bits > 0)?;
        }
        (masked(network, prefix_bits) == network).then_some(Block {
            network,
            prefix_bits,
        })
    }

    /// Whether this is one address and not a range.
    pub fn is_single(&self) -> bool {
        self.prefix_bits == width(self.network)
    }

    /// Whether the block is a whole network rather than a few machines: /24 or wider, in IPv6 /64 or wider.
    pub fn is_wide(&self) -> bool {
        self.prefix_bits <= if self.network.is_ipv4() { 24 } else { 64 }
    }

    /// Whether the block holds a canonical address.
    pub fn holds(&self, address: IpAddr) -> bool {
        width(address) == width(self.network) && masked(address, self.prefix_bits) == self.network
    }

    /// Whether every address of `other` is in this block.
    fn covers(&self, other: &Block) -> bool {
        self.prefix_bits <= other.prefix_bits && self.holds(other.network)
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_single() {
            write!(f, "{}", self.network)
        } else {
            write!(f, "{}/{}", self.network, self.prefix_bits)
        }
    }
}

impl AddressList {
    /// Reads entries in any order, merges repeats, and names the first entry that is not valid.
    pub fn parse<'a>(
        field: &str,
        entries: impl IntoIterator<Item = &'a str>,
    ) -> Result<AddressList> {
        AddressList::parse_as(Grammar::Ranges, field, entries, refusals::keys::address)
    }

    /// As [`AddressList::parse`], with entries of one grammar only; `refusal` describes what an entry must be.
    pub fn parse_as<'a>(
        grammar: Grammar,
        field: &str,
        entries: impl IntoIterator<Item = &'a str>,
        refusal: impl Fn() -> Refusal,
    ) -> Result<AddressList> {
        let mut blocks: Vec<Block> = Vec::new();
        for (position, entry) in entries.into_iter().enumerate() {
            let block = Block::parse_as(grammar, entry)
                .ok_or_else(|| Error::invalid(format!("{field}[{position}]"), refusal()))?;
            if !blocks.contains(&block) {
                blocks.push(block);
            }
        }
        if blocks.is_empty() {
            return Err(Error::invalid(field, refusals::keys::address_list_empty()));
        }
        if blocks.len() > super::ADDRESSES_MAX {
            return Err(Error::invalid(
                field,
                refusals::values::entries_at_most(super::ADDRESSES_MAX),
            ));
        }
        Ok(AddressList(blocks))
    }

    /// Whether a client with this address may use the key.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.0.iter().any(|block| block.holds(address))
    }

    /// Whether `wider` permits every address that this list permits.
    pub fn is_within(&self, wider: &AddressList) -> bool {
        self.0
            .iter()
            .all(|block| wider.0.iter().any(|outer| outer.covers(block)))
    }

    /// The entries in their canonical form.
    pub fn blocks(&self) -> &[Block] {
        &self.0
    }
}

/// The entries separated by blanks, in the form of the store.
impl std::fmt::Display for AddressList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries: Vec<String> = self.0.iter().map(Block::to_string).collect();
        f.write_str(&entries.join(" "))
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix_bits))
                .unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix_bits))
                .unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_may_have_a_port_in_the_forms_of_gateways_and_no_other() {
        let hop = |text: &str| parse_hop(text).map(|address| address.to_string());
        for (text, address) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:51234", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8:0::1]:443", "2001:db8::1"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
        ] {
            assert_eq!(hop(text).as_deref(), Some(address), "{text}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "203.0.113.9:",
            "203.0.113.9:0",
            "203.0.113.9:080",
            "203.0.113.9:65536",
            "203.0.113.9:123456",
            "203.0.113.9:80:80",
            "203.0.113.9:+80",
            "203.0.113.9: 80",
            "203.0.113.9 :80",
            "203.0.113.9:http",
            "203.0.113:80",
            "[203.0.113.9]",
            "[203.0.113.9]:80",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "[2001:db8::1]:0",
            "[2001:db8::1]:65536",
            "[2001:db8::1]:80x",
            "[[2001:db8::1]]",
            "[2001:db8::1]]:80",
            "[]",
            "[]:80",
            "[fe80::1%eth0]:80",
            "\"203.0.113.9:80\"",
            "for=203.0.113.9",
            "unknown",
            "unknown:80",
            "203.0.113.9/32",
        ] {
            assert_eq!(hop(bad), None, "{bad}");
        }
    }

    #[track_caller]
    fn check(entry: &str, address: &str, expected: bool) {
        let list = AddressList::parse("allowed_ips", [entry]).unwrap();
        assert_eq!(
            list.holds(address.parse().unwrap()),
            expected,
            "{address} in {entry}"
        );
    }

    #[test]
    fn addresses_are_compared_in_canonical_form() {
        check("203.0.113.9", "203.0.113.9", true);
        check("203.0.113.9", "203.0.113.8", false);
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        // attacks 108
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("10.0.0.0/8", "::ffff:a00:1", true);
        check("::ffff:10.0.0.0/104", "10.0.0.1", true);
        check("::ffff:10.0.0.1", "10.0.0.1", true);
        // attacks 109
        check("10.0.0.1", "::10.0.0.1", false);
        check("10.0.0.1", "64:ff9b::a00:1", false);
        check("10.0.0.1", "2002:a00:1::", false);
    }

    // attacks 111, 112
    #[test]
    fn only_the_strict_grammar_is_read() {
        for bad in [
            "",
            " ",
            "10.0.0.1 ",
            "10.0.0.*",
            "10.0.0.0/08",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "0.0.0.0/0",
            "::/0",
            "010.0.0.1",
            "1.2.3",
            "1.2.3.4:80",
            "[::1]",
            "fe80::1%eth0",
            "::/129",
            "::ffff:10.0.0.0/96",
            "a-b",
            "10.0.0.1-10.0.0.9",
        ] {
            assert!(Block::parse(bad).is_none(), "{bad}");
        }
        assert!(AddressList::parse("allowed_ips", []).is_err());
    }

    #[test]
    fn a_list_is_within_another_if_each_block_is() {
        let list = |entries: &[&str]| AddressList::parse("x", entries.iter().copied()).unwrap();
        assert!(list(&["10.1.0.0/16", "10.0.0.1"]).is_within(&list(&["10.0.0.0/8"])));
        assert!(!list(&["10.0.0.0/8"]).is_within(&list(&["10.1.0.0/16"])));
        assert!(!list(&["::1"]).is_within(&list(&["10.0.0.0/8"])));
    }
}
