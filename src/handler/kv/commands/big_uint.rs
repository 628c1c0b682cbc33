//! Unsigned integers of any size, with just the operations that parsing and printing a decimal fraction needs.

/// A number in limbs of 32 bits, the lowest first. The last limb is not 0.
#[derive(Clone, Debug, Default)]
pub(super) struct BigUint(Vec<u32>);

impl From<u128> for BigUint {
    fn from(number: u128) -> BigUint {
        let mut big = BigUint((0..4).map(|limb| (number >> (32 * limb)) as u32).collect());
        big.trim();
        big
    }
}

impl BigUint {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn multiply_and_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Multiplies by `base`^`power`.
    pub(super) fn multiply_by_power(&mut self, base: u32, power: usize) {
        factors(base, power).for_each(|factor| self.multiply_and_add(factor, 0));
    }

    /// Divides by `divisor` and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0;
        for limb in self.0.iter_mut().rev() {
            let number = remainder << 32 | u64::from(*limb);
            *limb = (number / u64::from(divisor)) as u32;
            remainder = number % u64::from(divisor);
        }
        self.trim();
        remainder as u32
    }

    /// Divides by `base`^`power` and returns whether there was a remainder.
    pub(super) fn divide_by_power(&mut self, base: u32, power: usize) -> bool {
        let mut is_inexact = false;
        for divisor in factors(base, power) {
            is_inexact |= self.divide(divisor) != 0;
        }
        is_inexact
    }

    pub(super) fn shift_left(&mut self, bits: usize) {
        self.multiply_and_add(1 << (bits % 32), 0);
        if !self.0.is_empty() {
            self.0.splice(..0, std::iter::repeat_n(0, bits / 32));
        }
    }

    pub(super) fn bit_length(&self) -> usize {
        self.0.len() * 32 - self.0.last().map_or(0, |last| last.leading_zeros() as usize)
    }

    /// The bit with the value 2^`index`.
    pub(super) fn bit(&self, index: usize) -> bool {
        self.0.get(index / 32).is_some_and(|limb| limb >> (index % 32) & 1 == 1)
    }

    pub(super) fn has_bits_below(&self, index: usize) -> bool {
        let mut limbs = self.0.iter().take(index / 32);
        limbs.any(|limb| *limb != 0) || (index / 32 * 32..index).any(|index| self.bit(index))
    }

    /// The 64 bits from `index` upwards.
    pub(super) fn bits_from(&self, index: usize) -> u64 {
        (0..64).filter(|bit| self.bit(index + bit)).fold(0, |bits, bit| bits | 1 << bit)
    }

    pub(super) fn into_decimal(mut self) -> String {
        let mut limbs = Vec::new();
        while !self.0.is_empty() {
            limbs.push(self.divide(1_000_000_000));
        }
        let first = limbs.pop().unwrap_or(0).to_string();
        limbs.iter().rev().fold(first, |digits, limb| format!("{digits}{limb:09}"))
    }
}

/// Splits `base`^`power` into factors that fit in a limb.
fn factors(base: u32, power: usize) -> impl Iterator<Item = u32> {
    // 10^9 and 5^9 fit into 32 bits.
    let rest = base.pow((power % 9) as u32);
    std::iter::repeat_n(base.pow(9), power / 9).chain((rest > 1).then_some(rest))
}
