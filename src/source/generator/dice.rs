//! Randomness that is a pure function of (seed, index): SplitMix64, a stream of its own for every index.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// The stream of event `index`.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        Self {
            state: mix(seed ^ 0x6d65_6461_6c6c_696f).wrapping_add(mix(index)),
        }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: even but for a bias of bound / 2^64.
        let product = u128::from(self.next()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// A number from `from` up to, and without, `to`; `from` where the range is empty.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = to.saturating_sub(from).max(0).unsigned_abs();
        from.saturating_add_unsigned(self.below(span))
    }

    /// A number in 0..1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
