//! A document as properties of a Table Storage entity, and back.
//!
//! A property takes 64 KiB and an entity 1 MiB, both counted in UTF-16. So a document lies in text pieces `d0`,
//! `d1` … that a person can read in Storage Explorer; one too long for that lies in binary pieces `b0`, `b1` …

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize as _;
use serde_json::ser::Formatter;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fault::Fault;

/// UTF-16 units of a text piece.
const TEXT_PIECE: usize = 30_000;
/// UTF-16 units of all text pieces: leaves room for keys and names below 1 MiB.
const TEXT_TOTAL: usize = 480_000;
/// Bytes of a binary piece.
const BINARY_PIECE: usize = 60_000;
/// The property that says which write made this version.
const NONCE: &str = "w";

/// All properties of an entity.
pub(super) type Properties = Map<String, Value>;

/// The JSON of an entity with its (encoded) keys; `nonce` is unique to this write.
///
/// ASCII only: Azurite decodes each chunk of a request by itself and spoils characters that lie across two.
pub(super) fn entity(
    partition: &str,
    row: &str,
    nonce: &str,
    document: &str,
) -> Result<Box<RawValue>, Fault> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Ascii);
    let unwritable = || Fault::permanent("a document cannot be written as JSON");
    split(partition, row, nonce, document)
        .serialize(&mut serializer)
        .map_err(|_| unwritable())?;
    let json = String::from_utf8(json).map_err(|_| unwritable())?;
    RawValue::from_string(json).map_err(|_| unwritable())
}

/// Writes every character beyond ASCII as `\uXXXX`.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = fragment;
        while let Some((at, c)) = plain.char_indices().find(|(_, c)| !c.is_ascii()) {
            let (before, rest) = plain.split_at(at);
            writer.write_all(before.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = rest.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(plain.as_bytes())
    }
}

fn split(partition: &str, row: &str, nonce: &str, document: &str) -> Properties {
    let mut properties = Map::new();
    properties.insert("PartitionKey".to_owned(), partition.into());
    properties.insert("RowKey".to_owned(), row.into());
    properties.insert(NONCE.to_owned(), nonce.into());
    if document.encode_utf16().count() <= TEXT_TOTAL {
        for (number, piece) in text_pieces(document).into_iter().enumerate() {
            properties.insert(format!("d{number}"), piece.into());
        }
    } else {
        for (number, piece) in document.as_bytes().chunks(BINARY_PIECE).enumerate() {
            properties.insert(format!("b{number}@odata.type"), "Edm.Binary".into());
            properties.insert(format!("b{number}"), STANDARD.encode(piece).into());
        }
    }
    properties
}

/// The document of an entity.
pub(super) fn join(properties: &Properties) -> Result<String, Fault> {
    let pieces = |kind: char| {
        (0..)
            .map_while(move |number| {
                properties
                    .get(&format!("{kind}{number}"))
                    .and_then(Value::as_str)
            })
            .collect::<Vec<_>>()
    };
    let binary = pieces('b');
    if binary.is_empty() {
        return Ok(pieces('d').concat());
    }
    let mut bytes = Vec::new();
    for piece in binary {
        STANDARD
            .decode_vec(piece, &mut bytes)
            .map_err(|_| unreadable())?;
    }
    String::from_utf8(bytes).map_err(|_| unreadable())
}

/// Was this version made by the write with this nonce?
pub(super) fn is_of(properties: &Properties, nonce: &str) -> bool {
    properties.get(NONCE).and_then(Value::as_str) == Some(nonce)
}

fn unreadable() -> Fault {
    Fault::permanent("an entity in Table Storage holds a document that was not written by us")
}

fn text_pieces(document: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut units) = (0, 0);
    for (at, c) in document.char_indices() {
        if units + c.len_utf16() > TEXT_PIECE {
            pieces.push(document.get(start..at).unwrap_or_default());
            (start, units) = (at, 0);
        }
        units += c.len_utf16();
    }
    pieces.push(document.get(start..).unwrap_or_default());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_and_pieces_keep_their_size() {
        for document in [
            String::new(),
            "{}".to_owned(),
            "x".repeat(30_001),
            "😱é".repeat(25_000),
            "a".repeat(900 * 1024),
            "€".repeat(300_000),
        ] {
            let json = entity("p", "r", "n", &document).unwrap();
            assert!(json.get().is_ascii());
            let properties: Properties = serde_json::from_str(json.get()).unwrap();
            assert_eq!(join(&properties).unwrap(), document);
            for (name, value) in &properties {
                let units = value.as_str().unwrap().encode_utf16().count();
                assert!(
                    units
                        <= if name.starts_with('b') {
                            80_000
                        } else {
                            30_000
                        },
                    "{name}: {units}"
                );
            }
            assert!(is_of(&properties, "n") && !is_of(&properties, "m"));
        }
    }
}
