//! Dollars as a person reads them; what programs read stays a plain number.

use rust_decimal::Decimal;

/// `$1,830,018,115.00`; below zero `-$5.00`.
pub(crate) fn dollars(value: Decimal) -> String {
    let cents = value.round_dp(2);
    let digits = format!("{:.2}", cents.abs());
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, "00"));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 2);
    if cents.is_sign_negative() && !cents.is_zero() {
        text.push('-');
    }
    text.push('$');
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text.push('.');
    text.push_str(fraction);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_decimals_and_thousands() {
        for (value, wanted) in [
            ("1829999817", "$1,829,999,817.00"),
            ("1830018115.001", "$1,830,018,115.00"),
            ("999.999", "$1,000.00"),
            ("100", "$100.00"),
            ("0", "$0.00"),
            ("-0.001", "$0.00"),
            ("-1234.5", "-$1,234.50"),
        ] {
            assert_eq!(dollars(value.parse().unwrap()), wanted);
        }
    }
}
