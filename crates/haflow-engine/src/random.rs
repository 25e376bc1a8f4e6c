//! Random bits.

/// 128 random bits, in hex.
pub(crate) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bits = [0_u8; 16];
    getrandom::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

/// A random number from 0 to 1: those who were turned away together shouldn't come back together.
pub(crate) fn spread() -> f64 {
    let random = random_hex().ok().and_then(|hex| u8::from_str_radix(&hex[..2], 16).ok());
    f64::from(random.unwrap_or(128)) / 255.0
}
