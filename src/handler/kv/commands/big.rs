//! Whole numbers of any length, with no more than it takes to read a number with a fraction and to show it.

/// A number in pieces of 32 bits, the lowest first; the last one is not 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Big(Vec<u32>);

impl From<u128> for Big {
    fn from(number: u128) -> Big {
        let mut big = Big((0..4).map(|place| (number >> (32 * place)) as u32).collect());
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn multiply_and_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for piece in &mut self.0 {
            carry += u64::from(*piece) * u64::from(factor);
            *piece = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Multiplies by `base`^`power`.
    pub(super) fn multiply_by_power(&mut self, base: u32, power: usize) {
        steps(base, power).for_each(|factor| self.multiply_and_add(factor, 0));
    }

    /// The remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for piece in self.0.iter_mut().rev() {
            let number = rest << 32 | u64::from(*piece);
            *piece = (number / u64::from(divisor)) as u32;
            rest = number % u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    /// Divides by `base`^`power`: whether there is a remainder.
    pub(super) fn divide_by_power(&mut self, base: u32, power: usize) -> bool {
        let mut is_inexact = false;
        for divisor in steps(base, power) {
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

    pub(super) fn bit(&self, place: usize) -> bool {
        self.0.get(place / 32).is_some_and(|piece| piece >> (place % 32) & 1 == 1)
    }

    pub(super) fn has_bits_below(&self, place: usize) -> bool {
        let mut pieces = self.0.iter().take(place / 32);
        pieces.any(|piece| *piece != 0) || (place / 32 * 32..place).any(|place| self.bit(place))
    }

    /// 64 bits, from this place upwards.
    pub(super) fn bits_from(&self, place: usize) -> u64 {
        (0..64).filter(|bit| self.bit(place + bit)).fold(0, |bits, bit| bits | 1 << bit)
    }

    /// In decimal.
    pub(super) fn digits(mut self) -> String {
        let mut pieces = Vec::new();
        while !self.0.is_empty() {
            pieces.push(self.divide(1_000_000_000));
        }
        let first = pieces.pop().unwrap_or(0).to_string();
        pieces.iter().rev().fold(first, |digits, piece| format!("{digits}{piece:09}"))
    }
}

/// A power as factors that fit in a piece.
fn steps(base: u32, power: usize) -> impl Iterator<Item = u32> {
    // 10^9 and 5^9 fit.
    let rest = base.pow((power % 9) as u32);
    std::iter::repeat_n(base.pow(9), power / 9).chain((rest > 1).then_some(rest))
}
