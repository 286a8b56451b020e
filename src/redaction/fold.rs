//! A view of a text in which look-alikes are what they look like: full-width letters and signs, styled letters, Cyrillic and Greek
//! letters inside Latin words, curly quotes and wide blanks. Secrets are searched in the view and masked in the text itself.

use std::borrow::Cow;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// A text and its view.
pub(super) struct Folded<'a> {
    text: &'a str,
    view: Cow<'a, str>,
    /// For each byte of the view, and for its end, the byte of the text; empty where both are the same.
    origins: Vec<usize>,
}

impl<'a> Folded<'a> {
    /// Folds `text`; free for ASCII.
    pub(super) fn new(text: &'a str) -> Self {
        if text.is_ascii() {
            return Self {
                text,
                view: Cow::Borrowed(text),
                origins: Vec::new(),
            };
        }
        let mut view = String::with_capacity(text.len());
        let mut origins = Vec::with_capacity(text.len() + 1);
        // Decided once for each word: a Russian word keeps its letters.
        let (mut in_word, mut latin) = (false, false);
        for (at, c) in text.char_indices() {
            if c.is_alphabetic() && !in_word {
                latin = is_partly_latin(text.get(at..).unwrap_or_default());
            }
            in_word = c.is_alphabetic();
            let before = view.len();
            fold(c, latin, &mut view);
            origins.resize(origins.len() + view.len() - before, at);
        }
        origins.push(text.len());
        Self {
            text,
            view: Cow::Owned(view),
            origins,
        }
    }

    /// What it looks like.
    pub(super) fn view(&self) -> &str {
        &self.view
    }

    /// The text with these ranges of the view, in order and apart, replaced by what `by` makes of them; `None` when there are none.
    pub(super) fn replace(
        &self,
        ranges: &[Range<usize>],
        by: impl Fn(&str) -> Cow<'static, str>,
    ) -> Option<String> {
        let mut out = String::new();
        let mut done = 0;
        for range in ranges {
            let (start, end) = (self.origin(range.start), self.origin(range.end));
            out.push_str(self.text.get(done..start)?);
            out.push_str(&by(self.text.get(start..end)?));
            done = end;
        }
        (done > 0).then(|| out + self.text.get(done..).unwrap_or_default())
    }

    fn origin(&self, at: usize) -> usize {
        if self.origins.is_empty() {
            at
        } else {
            self.origins.get(at).copied().unwrap_or(self.text.len())
        }
    }
}

/// Does the word that begins here have a Latin letter?
fn is_partly_latin(text: &str) -> bool {
    text.chars()
        .take_while(|c| c.is_alphabetic())
        .take(64)
        .any(|c| {
            c.is_ascii_alphabetic()
                || matches!(c, '\u{ff21}'..='\u{ff5a}' | '\u{1d400}'..='\u{1d7ff}')
        })
}

fn fold(c: char, latin: bool, into: &mut String) {
    if c.is_ascii() {
        return into.push(c);
    }
    let sign = match c {
        '\u{a789}' | '\u{2236}' | '\u{2d0}' | '\u{2d8}' | '\u{589}' | '\u{5c3}' | '\u{1803}' => ':',
        '\u{2550}' | '\u{ff1d}' | '\u{2261}' | '\u{a4ff}' | '\u{30a0}' => '=',
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2033}' | '\u{300c}'..='\u{300f}' => '"',
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2039}' | '\u{203a}' => '\'',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        c if c.is_whitespace() => ' ',
        c if latin => lookalike(c).unwrap_or(c),
        c => c,
    };
    if sign != c {
        return into.push(sign);
    }
    // Full-width and styled letters; what becomes several characters (`½`, `℡`) stays.
    let mut plain = std::iter::once(c).nfkc();
    match (plain.next(), plain.next()) {
        (Some(folded), None) if folded.is_ascii() => into.push(folded),
        _ => into.push(c),
    }
}

/// Letters of other alphabets that are drawn like Latin ones.
fn lookalike(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' | 'ɑ' => 'a',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'с' | 'ϲ' => 'c',
        'С' | 'Ϲ' => 'C',
        'ԁ' => 'd',
        'е' | 'ҽ' => 'e',
        'Е' | 'Ε' => 'E',
        'ɡ' => 'g',
        'һ' => 'h',
        'Н' | 'Η' => 'H',
        'і' | 'ι' | 'ı' => 'i',
        'І' | 'Ι' => 'I',
        'ј' => 'j',
        'Ј' => 'J',
        'к' | 'κ' => 'k',
        'К' | 'Κ' => 'K',
        'ⅼ' | 'ӏ' => 'l',
        'М' | 'Μ' => 'M',
        'ո' => 'n',
        'Ν' => 'N',
        'о' | 'ο' | 'օ' => 'o',
        'О' | 'Ο' => 'O',
        'р' | 'ρ' => 'p',
        'Р' | 'Ρ' => 'P',
        'ԛ' => 'q',
        'ѕ' => 's',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ԝ' | 'ѡ' => 'w',
        'х' | 'χ' => 'x',
        'Х' | 'Χ' => 'X',
        'у' | 'γ' => 'y',
        'У' | 'Υ' => 'Y',
        'Ζ' => 'Z',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Folded;

    #[test]
    fn what_looks_alike_reads_alike() {
        for (text, view) in [
            ("Ｐａｓｓｗｏｒｄ：ｘ", "Password:x"),
            ("pаsswоrd＝“x”", "password=\"x\""),
            ("пароль: x", "пароль: x"),
            ("𝗽𝗮𝘀𝘀\u{a0}–p", "pass -p"),
            ("Schlüssel ½", "Schlüssel ½"),
        ] {
            assert_eq!(Folded::new(text).view(), view);
        }
        let folded = Folded::new("é pаss＝zü!");
        let at = folded.view().find('z').unwrap();
        assert_eq!(
            folded
                .replace(std::slice::from_ref(&(at..at + 3)), |_| "***".into())
                .as_deref(),
            Some("é pаss＝***!")
        );
    }
}
