//! Pseudo-random numbers, which are the same for the same seed (xorshift64*).

use std::time::{SystemTime, UNIX_EPOCH};

/// The state of the generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Uses `LATCHKEY_TEST_SEED` or the clock; prints the seed, which is part of the output of a failed test.
    pub fn seeded() -> Random {
        let given = std::env::var("LATCHKEY_TEST_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.expect("it is later than 1970").as_nanos() as u64
        });
        println!("LATCHKEY_TEST_SEED={seed}");
        Random::from(seed)
    }

    pub fn from(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}
