//! The remaining uses of a key: what is stored, and what a process has reserved of it.

/// The largest block of uses that is reserved at once. A block is a sixteenth of the remaining uses, but at least
/// one, and more than the maximum only if the request itself costs more. A crash loses at most one block.
const RESERVE_MAX: u64 = 256;

/// The remaining uses of a key: a reserved part in memory and the rest in the store.
///
/// The reserved part is subtracted from the stored number before any of it is spent. So a crash loses at most the
/// reserved part, and never restores a use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uses {
    /// Grows whenever the number is set. What was reserved of a number with another epoch is void.
    pub epoch: u64,
    pub reserved: u64,
    pub stored: u64,
}

/// Uses that were reserved and not spent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Block {
    pub epoch: u64,
    pub count: u64,
}

impl Uses {
    /// As stored, with nothing reserved.
    pub fn stored(epoch: u64, stored: u64) -> Uses {
        Uses {
            epoch,
            reserved: 0,
            stored,
        }
    }

    /// What is reserved of the number with this epoch.
    pub fn reserved_of(&self, epoch: u64) -> u64 {
        match self.epoch == epoch {
            true => self.reserved,
            false => 0,
        }
    }

    /// Follows the stored number, of which `more` uses were reserved, unless one with a later epoch is known.
    pub fn follow(&mut self, epoch: u64, stored: u64, more: u64) {
        if epoch < self.epoch {
            return;
        }
        *self = Uses {
            epoch,
            reserved: self.reserved_of(epoch) + more,
            stored,
        };
    }
}

/// How many of the remaining uses are taken at once, for a request of this cost.
pub fn block(stored: u64, reserved: u64, cost: u64) -> u64 {
    let wanted = (stored / 16).clamp(1, RESERVE_MAX);
    wanted.max(cost.saturating_sub(reserved)).min(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reserved_of_another_number_is_void() {
        let mut uses = Uses::stored(3, 100);
        uses.follow(3, 94, 6);
        uses.follow(3, 88, 6);
        assert_eq!((uses.reserved, uses.stored), (12, 88));
        // Somebody else has reserved too.
        uses.follow(3, 50, 0);
        assert_eq!((uses.reserved, uses.stored), (12, 50));
        // The number is set, and a block that was reserved before comes late.
        uses.follow(7, 10, 0);
        uses.follow(3, 44, 6);
        assert_eq!(uses, Uses::stored(7, 10));
        assert_eq!((uses.reserved_of(3), uses.reserved_of(7)), (0, 0));
        uses.follow(7, 9, 1);
        assert_eq!((uses.reserved_of(3), uses.reserved_of(7)), (0, 1));
    }
}
