//! The laws every answer of a parser keeps; the fuzz targets check the same ones.

use aiops_rca::sources::{Malformed, Parsed};

/// What must hold for any answer to any body.
pub(crate) fn assert_lawful(what: &str, parsed: &Result<Parsed, Malformed>) {
    match parsed {
        Ok(Parsed::Failures(failures)) => {
            assert!(!failures.is_empty(), "{what}: no failures is not an answer");
            let mut keys: Vec<_> = failures.iter().map(|failure| &failure.key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), failures.len(), "{what}: one run, one failure");
            for failure in failures {
                assert_eq!(&failure.clone().sealed(), failure, "{what}: not sealed");
                assert!(
                    !failure.message.is_empty() && !failure.asset.is_empty(),
                    "{what}: {failure:?}"
                );
                let written = failure.key.to_string();
                assert!(
                    written.len() <= 3 * 64 + 16,
                    "{what}: more than digests: {written}"
                );
            }
        }
        Ok(Parsed::NeedsRows(request)) => {
            assert!(
                !request.alert.id.is_empty(),
                "{what}: a request has an idempotency key"
            );
            if let (Some(from), Some(to)) = (request.from, request.to) {
                assert!(from < to, "{what}: the window is empty");
            }
        }
        Ok(Parsed::Ignored(reason)) => assert!(
            !reason.is_empty() && reason.len() < 1500,
            "{what}: {reason}"
        ),
        Err(malformed) => {
            assert!(
                ["not_json", "wrong_type", "nothing_usable"].contains(&malformed.code),
                "{what}: {malformed:?}"
            );
            assert!(
                !malformed.message.is_empty() && malformed.message.len() < 300,
                "{what}: {malformed:?}"
            );
        }
    }
}
