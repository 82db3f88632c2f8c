//! What a network does to the datagrams between two nodes, and what of it is left above QUIC.

use std::{ops::Range, time::Duration};

/// How many bytes of a stream share a datagram, and so its fate.
pub(super) const DATAGRAM_BYTES: usize = 1200;

/// A peer waits this long before it acknowledges what it has got (RFC 9000, max_ack_delay).
const ACK_DELAY: Duration = Duration::from_millis(25);

/// How often in a row a datagram is lost; the next transmission arrives. QUIC backs off further only
/// while it hears nothing at all, which is a partition here.
const LOSSES_MAX: u32 = 5;

/// The network between two nodes of [`pair_over`](crate::testing::pair_over).
///
/// A session never meets the datagrams themselves: QUIC repeats what was lost, drops what came
/// twice, and puts every stream back in order. What gets through to a user of QUIC is **time**, and
/// that is what this network makes of its faults:
///
/// | on the wire | above QUIC, and here |
/// |---|---|
/// | delay, jitter | every datagram takes a time of its own within [`delay`](Self::delay) |
/// | loss | the bytes come a retransmission timeout later, three times that if they are lost again, and so on up to five losses in a row; what follows on the same stream waits for them, other streams do not |
/// | duplication | the first of the two copies counts |
/// | reordering | none within a stream; streams overtake each other |
/// | partition | nothing arrives until [healed](crate::testing::Partition::heal), or until the sessions give up |
///
/// The retransmission timeout is that of RFC 9002 for the slowest round trip: two of the longest
/// delays and 25 ms. QUIC often repairs a loss sooner, from the acknowledgements of later packets,
/// and shares its bandwidth over all streams; neither is modelled, nor is a bandwidth.
///
/// # The same again
/// The fate of a datagram is a function of the seed, the direction, the stream, the millisecond in
/// which it is sent and its number in that millisecond. So under a paused clock a seed gives the same
/// events in the same milliseconds every time. What happens *within* a millisecond, the resolution
/// of tokio's timers, has no promised order.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Two runs with the same seed go alike.
    pub seed: u64,
    /// How long a datagram is under way, in whole milliseconds; the upper end is excluded.
    pub delay: Range<Duration>,
    /// The probability that a datagram is lost, from 0 to 0.9.
    pub loss: f64,
    /// The probability that a datagram comes twice, from 0 to 1.
    pub duplication: f64,
}

impl Network {
    /// A network that delays, and does nothing worse.
    pub fn new(seed: u64, delay: Range<Duration>) -> Self {
        Self { seed, delay, loss: 0.0, duplication: 0.0 }
    }

    /// Where bytes arrive at once.
    pub(crate) fn perfect() -> Self {
        Self::new(0, Duration::ZERO..Duration::ZERO)
    }

    pub(super) fn is_perfect(&self) -> bool {
        *self == Self::perfect()
    }

    /// # Panics
    /// Where a probability is none.
    pub(crate) fn check(&self) {
        assert!((0.0..=0.9).contains(&self.loss), "a loss of {} is not from 0 to 0.9", self.loss);
        let duplication = self.duplication;
        assert!((0.0..=1.0).contains(&duplication), "a duplication of {duplication} is not from 0 to 1");
    }

    /// How long it takes until the bytes of `datagram` can be read.
    pub(super) fn transit(&self, datagram: Datagram) -> Duration {
        let Datagram { stream, to_acceptor, sent_ms, number } = datagram;
        let place = [stream, u64::from(to_acceptor), sent_ms, number];
        let mut random = Random(place.iter().fold(self.seed, |seed, part| Random(seed ^ part).next()));
        let first = self.copy(&mut random);
        if random.chance(self.duplication) { first.min(self.copy(&mut random)) } else { first }
    }

    fn copy(&self, random: &mut Random) -> Duration {
        let (mut waited, mut timeout) = (Duration::ZERO, 2 * self.delay.end + ACK_DELAY);
        for _ in 0..LOSSES_MAX {
            if !random.chance(self.loss) {
                break;
            }
            waited += timeout;
            timeout *= 2;
        }
        waited + random.within(&self.delay)
    }
}

/// What a datagram is known by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    pub(super) stream: u64,
    pub(super) to_acceptor: bool,
    pub(super) sent_ms: u64,
    pub(super) number: u64,
}

/// SplitMix64: passes the usual statistical tests, and one addition is all its state.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are as many as a double holds exactly.
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    fn within(&mut self, range: &Range<Duration>) -> Duration {
        let [start, end] = [range.start, range.end].map(|end| end.as_millis() as u64);
        let span = end.saturating_sub(start).max(1);
        Duration::from_millis(start + self.next() % span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn transits(network: &Network) -> Vec<Duration> {
        let datagram = |number| Datagram { stream: 3, to_acceptor: true, sent_ms: 7, number };
        (0..10_000).map(|number| network.transit(datagram(number))).collect()
    }

    #[test]
    fn a_delay_is_drawn_evenly_from_its_range() {
        let transits = transits(&Network::new(1, 10 * MS..20 * MS));
        for delay in 10..20 {
            let count = transits.iter().filter(|transit| **transit == delay * MS).count();
            assert!((900..1100).contains(&count), "{count} of 10000 took {delay} ms");
        }
    }

    #[test]
    fn a_loss_costs_a_timeout_and_the_next_one_twice_that() {
        let network = Network { loss: 0.2, ..Network::new(1, 5 * MS..6 * MS) };
        let transits = transits(&network);
        let timeout = 2 * 6 + 25;
        for (waited, expected) in [(0, 8_000), (timeout, 1_600), (3 * timeout, 320), (7 * timeout, 64)] {
            let count = transits.iter().filter(|transit| **transit == (5 + waited) * MS).count();
            assert!(count.abs_diff(expected) < expected / 3, "{count} of 10000 waited {waited} ms");
        }
    }

    #[test]
    fn a_datagram_is_not_lost_for_ever() {
        let network = Network { loss: 0.9, ..Network::new(1, 5 * MS..6 * MS) };
        let longest = transits(&network).into_iter().max();
        assert_eq!(longest, Some((5 + 31 * (2 * 6 + 25)) * MS));
    }

    #[test]
    fn a_copy_can_only_come_sooner() {
        let network = Network { loss: 0.3, ..Network::new(1, 5 * MS..50 * MS) };
        let twice = Network { duplication: 1.0, ..network.clone() };
        let (once, twice) = (transits(&network), transits(&twice));
        assert!(once.iter().zip(&twice).all(|(once, twice)| twice <= once));
        let sum = |transits: &[Duration]| transits.iter().sum::<Duration>();
        assert!(sum(&twice) < sum(&once) / 3 * 2);
    }

    #[test]
    fn seeds_directions_and_streams_differ_and_a_seed_repeats() {
        let network = Network::new(1, Duration::ZERO..1_000 * MS);
        let datagram = Datagram { stream: 0, to_acceptor: true, sent_ms: 0, number: 0 };
        let transit = network.transit(datagram);
        assert_eq!(transit, network.transit(datagram));
        assert_ne!(transit, Network { seed: 2, ..network.clone() }.transit(datagram));
        assert_ne!(transit, network.transit(Datagram { stream: 1, ..datagram }));
        assert_ne!(transit, network.transit(Datagram { to_acceptor: false, ..datagram }));
        assert_ne!(transit, network.transit(Datagram { sent_ms: 1, ..datagram }));
        assert_ne!(transit, network.transit(Datagram { number: 1, ..datagram }));
    }

    #[test]
    #[should_panic(expected = "a loss of 1 is not from 0 to 0.9")]
    fn a_network_that_loses_everything_is_refused() {
        Network { loss: 1.0, ..Network::perfect() }.check();
    }
}
