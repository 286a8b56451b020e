//! SHA-256 as lower-case hex: keys, names of rows, "has it changed".

use sha2::{Digest, Sha256};

/// 64 hex digits.
pub(crate) fn sha256(text: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(text))
}
