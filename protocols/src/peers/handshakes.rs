//! Whose handshakes are in progress, and which of them gives way to a newcomer.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

/// The most connections of a node that are in their TLS handshake at once.
pub const HANDSHAKES_MAX: usize = 256;

/// The handshakes of one node, by where they came from.
///
/// Nobody is refused: where there are as many as may be already, the oldest of the busiest [source](source_of) gives
/// way. So an address that begins many and says nothing more displaces its own, those behind the same address that
/// answer are through before their turn comes, and others lose none.
///
/// Sans-IO: whoever accepts connections tells what begins and ends.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    begun: u64,
    sources: BTreeMap<u64, IpAddr>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::at_most(HANDSHAKES_MAX)
    }
}

impl Handshakes {
    /// None yet, and at most so many at once.
    pub fn at_most(most: usize) -> Self {
        Self { most, begun: 0, sources: BTreeMap::new() }
    }

    /// Whether a newcomer has to show first that it is where it says: others could forge its address, and make it a
    /// busy one.
    pub fn are_many(&self) -> bool {
        self.sources.len() >= self.most / 2
    }

    /// A handshake begins: its number, which is never used twice, and that of the one that gives way.
    pub fn begin(&mut self, from: IpAddr) -> (u64, Option<u64>) {
        let number = self.begun;
        self.begun += 1;
        self.sources.insert(number, source_of(from));
        let displaced = if self.sources.len() > self.most { self.oldest_of_the_busiest() } else { None };
        if let Some(displaced) = displaced {
            self.sources.remove(&displaced);
        }
        (number, displaced)
    }

    /// A handshake is over, however it ended.
    pub fn ended(&mut self, number: u64) {
        self.sources.remove(&number);
    }

    fn oldest_of_the_busiest(&self) -> Option<u64> {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        self.sources.values().for_each(|source| *counts.entry(*source).or_default() += 1);
        let most = counts.values().copied().max()?;
        self.sources.iter().find(|(_, source)| counts[source] == most).map(|(number, _)| *number)
    }
}

/// What one machine is given: an IPv4 address, or the network of 64 bits of an IPv6 address.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    /// How many of 20 honest handshakes, one a second that takes 300 ms, are displaced while an address begins so many
    /// a second that stay silent for the 5 s that one may take.
    fn displaced(attempts_per_second: u64, honest: IpAddr) -> usize {
        let (mut handshakes, mut lost) = (Handshakes::default(), 0);
        let (mut silent, mut answering) = (Vec::new(), Vec::new());
        for millis in 0..20_000 {
            let mut begin = |from, begun: &mut Vec<(u64, u64)>, takes| {
                let (number, displaced) = handshakes.begin(from);
                begun.push((number, millis + takes));
                displaced
            };
            let mut gave_way = Vec::new();
            if millis * attempts_per_second / 1_000 != (millis + 1) * attempts_per_second / 1_000 {
                gave_way.extend(begin(SILENT, &mut silent, 5_000));
            }
            if millis % 1_000 == 0 {
                gave_way.extend(begin(honest, &mut answering, 300));
            }
            for number in gave_way {
                silent.retain(|(other, _)| *other != number);
                lost += answering.extract_if(.., |(other, _)| *other == number).count();
            }
            for begun in [&mut silent, &mut answering] {
                begun
                    .extract_if(.., |(_, ends)| *ends <= millis)
                    .for_each(|(number, _)| handshakes.ended(number));
            }
            assert_eq!(handshakes.sources.len(), silent.len() + answering.len());
            assert!(handshakes.sources.len() <= HANDSHAKES_MAX);
        }
        lost
    }

    #[test]
    fn a4_a_silent_address_displaces_nobody_who_answers_not_even_behind_itself() {
        for attempts_per_second in [59, 140, 262, 700] {
            for honest in [HONEST, SILENT] {
                assert_eq!(
                    displaced(attempts_per_second, honest),
                    0,
                    "{attempts_per_second} a second, {honest}"
                );
            }
        }
    }

    #[test]
    fn a4_of_many_addresses_the_busiest_gives_way_and_an_ipv6_network_is_one() {
        let mut handshakes = Handshakes::default();
        let ip = |text: String| -> IpAddr { text.parse().unwrap() };
        let (single, _) = handshakes.begin(HONEST);
        for host in 2..HANDSHAKES_MAX {
            assert_eq!(handshakes.begin(ip(format!("2001:db8:{host:x}::1"))).1, None);
        }
        assert_eq!(handshakes.begin(ip("2001:db8:0:1::1".to_owned())).1, None);
        let (_, displaced) = handshakes.begin(ip("2001:db8:2:0:ffff::1".to_owned()));
        assert_eq!(displaced, Some(1), "the first of the only network that has two");
        handshakes.ended(single);
        assert_eq!(handshakes.begin(SILENT).1, None);
        assert!(handshakes.are_many());
    }
}
