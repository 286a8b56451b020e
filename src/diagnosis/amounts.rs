//! Amounts: does the text say that something asks for more than there ever is?
//!
//! In: an error text. Out: the two numbers in words, where what is requested is larger than the whole quota ("requested 64
//! vcores … out of quota of 50 vcores"). Then waiting cannot help, though the same error with other numbers passes.

/// What stands before the amount that is asked for.
const ASKED: [&str; 4] = ["requested ", "requires ", "requesting ", "asked for "];
/// What stands before the most that there can be.
const MOST: [&str; 5] = [
    "quota of ",
    "limit of ",
    "maximum of ",
    "limit is ",
    "capacity of ",
];

/// Why a later try cannot fit, if the amounts say so.
pub(super) fn never_fits(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let asked = after(&lower, &ASKED)?;
    let most = after(&lower, &MOST)?;
    (asked > most).then(|| format!("its amounts: {asked} are requested, {most} is the limit"))
}

fn after(text: &str, words: &[&str]) -> Option<u64> {
    words.iter().find_map(|word| {
        text.match_indices(word).find_map(|(at, _)| {
            let rest = text.get(at + word.len()..)?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest.get(..digits)?.parse().ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::never_fits;

    #[test]
    fn more_than_the_whole_quota_never_fits() {
        let text = "Your job requested 64 vcores. However, the pool has 48 vcores available out of quota of 50 vcores.";
        assert!(never_fits(text).is_some());
        assert!(never_fits(&text.replace("64", "12")).is_none());
        assert!(never_fits("requested many of them, limit of 3").is_none());
        assert!(never_fits("requested 99999999999999999999999 vcores, quota of 5").is_none());
    }
}
