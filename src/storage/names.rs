//! Names and keys: what a table or queue is called, and how any text becomes a legal, equally ordered key.

use crate::fault::Fault;

/// The longest encoded key, in bytes: 1 KiB of UTF-16 is what Table Storage takes.
const KEY_CAP: usize = 512;

/// What stands before every table and queue, so that several deployments can share one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(String);

impl Prefix {
    /// Lower-case letters and digits, a letter first, at most 20; may be empty.
    pub(super) fn new(prefix: &str) -> Result<Self, Fault> {
        let legal = prefix.len() <= 20
            && prefix
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && prefix.bytes().next().is_none_or(|b| b.is_ascii_lowercase());
        if legal {
            Ok(Self(prefix.to_owned()))
        } else {
            Err(Fault::permanent(
                "the storage prefix must be up to 20 lower-case letters and digits, beginning with a letter",
            ))
        }
    }

    /// `rca` + `tickets` = `rcatickets`. Letters and digits, a letter first, 3 to 63.
    pub(super) fn table(&self, bare: &str) -> Result<String, Fault> {
        let name = format!("{}{bare}", self.0);
        let legal = (3..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && name != "tables";
        if legal {
            Ok(name)
        } else {
            Err(Fault::permanent(
                "a table name must be 3 to 63 letters and digits, beginning with a letter",
            ))
        }
    }

    /// `rca` + `failures` = `rca-failures`. Lower-case letters, digits and single dashes inside, 3 to 63.
    pub(super) fn queue(&self, bare: &str) -> Result<String, Fault> {
        let name = if self.0.is_empty() {
            bare.to_owned()
        } else {
            format!("{}-{bare}", self.0)
        };
        let legal = (3..=63).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !(name.starts_with('-') || name.ends_with('-') || name.contains("--"));
        if legal {
            Ok(name)
        } else {
            Err(Fault::permanent(
                "a queue name must be 3 to 63 lower-case letters, digits and single dashes",
            ))
        }
    }
}

/// Any text as a legal key of Table Storage, reversibly and **in the same order**: `a < b` (by bytes) exactly when
/// `encode(a) < encode(b)`, so range scans mean the same on every backend.
///
/// `0-9 A-Z a-z - :` stay. Every other byte becomes an introducer and two hex digits, and each introducer sorts
/// where its bytes do: `!` for those below `-`, `.` for `.` and `/`, `;` for those between `:` and `A`, `_` for
/// those between `Z` and `a`, `~` for those above `z`. None of them has a meaning in a URL path or in OData.
pub(super) fn encode_key(key: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(key.len() + 16);
    for byte in key.bytes() {
        let introducer = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b':' => {
                out.push(char::from(byte));
                continue;
            }
            0..b'-' => '!',
            b'.' | b'/' => '.',
            b';'..b'A' => ';',
            b'['..b'a' => '_',
            _ => '~',
        };
        out.push(introducer);
        out.extend([byte >> 4, byte & 15].map(|nibble| {
            char::from_digit(nibble.into(), 16)
                .unwrap_or('0')
                .to_ascii_uppercase()
        }));
    }
    if out.len() > KEY_CAP {
        return Err(Fault::permanent(
            "a storage key is longer than 512 bytes when encoded",
        ));
    }
    Ok(out)
}

/// The inverse of [`encode_key`]; `None` for what it never made.
pub(super) fn decode_key(encoded: &str) -> Option<String> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        if matches!(byte, b'!' | b'.' | b';' | b'_' | b'~') {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_obey_the_rules_of_azure() {
        let prefix = Prefix::new("rca").unwrap();
        assert_eq!(prefix.table("tickets").unwrap(), "rcatickets");
        assert_eq!(
            prefix.queue("failures-poison").unwrap(),
            "rca-failures-poison"
        );
        assert_eq!(
            Prefix::new("").unwrap().queue("failures").unwrap(),
            "failures"
        );
        for bad in [
            "Rca",
            "1rca",
            "r-ca",
            "r_ca",
            "é",
            "averylongprefixthatdoesnotfit",
        ] {
            assert!(Prefix::new(bad).is_err(), "{bad}");
        }
        for bad in ["with-dash", "a/b", "x'", ""] {
            assert!(Prefix::new("").unwrap().table(bad).is_err(), "{bad}");
        }
        assert!(Prefix::new("").unwrap().table("tables").is_err());
        for bad in ["UPPER", "double--dash", "end-", "a.b"] {
            assert!(prefix.queue(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn readable_keys_stay_readable() {
        assert_eq!(
            encode_key("ADF-20251212T100000-abc123").unwrap(),
            "ADF-20251212T100000-abc123"
        );
        assert_eq!(
            encode_key("o'br/ien #1?").unwrap(),
            "o!27br.2Fien!20!231;3F"
        );
        assert!(encode_key(&"é".repeat(100)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn keys_come_back_in_the_same_order(a in ".{0,12}", b in ".{0,12}") {
            let (x, y) = (encode_key(&a).unwrap(), encode_key(&b).unwrap());
            prop_assert_eq!(decode_key(&x).unwrap(), a.clone());
            prop_assert_eq!(a.as_bytes().cmp(b.as_bytes()), x.as_bytes().cmp(y.as_bytes()));
            prop_assert!(x.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:!.;_~".contains(&b)));
        }
    }
}
