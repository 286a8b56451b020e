//! Removes what could hide, reorder or overwrite text: ANSI escapes, control, bidi and invisible characters.

use std::borrow::Cow;

const ESC: char = '\u{1b}';

/// The text without such characters; borrowed when there were none.
pub fn clean(text: &str) -> Cow<'_, str> {
    let Some(first) = text
        .char_indices()
        .find(|&(_, c)| !is_plain(c))
        .map(|(at, _)| at)
    else {
        return Cow::Borrowed(text);
    };
    let (head, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len());
    out.push_str(head);
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() != Some(&'\n') => out.push('\n'),
            '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{b}' | '\u{c}' => out.push('\n'),
            ESC => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            c if is_plain(c) => out.push(c),
            _ => {}
        }
    }
    Cow::Owned(out)
}

/// The text without such characters, on one line, its words one space apart.
pub fn one_line(text: &str) -> String {
    let text = clean(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Can this character stay as it is?
fn is_plain(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => true,
        c if c.is_control() => false,
        '\u{ad}' // soft hyphen
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' // bidi
        | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' // zero width
        | '\u{2028}' | '\u{2029}' // line ends that logs and JSON read differently
        | '\u{fff9}'..='\u{fffb}' // interlinear annotations
        | '\u{e0000}'..='\u{e0fff}' => false, // tags and selectors: invisible text
        c if (c as u32 & 0xfffe) == 0xfffe => false, // no characters at all
        _ => true,
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After ESC: a CSI sequence, a string sequence (title, hyperlink), or a short one.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // Ends with BEL or ESC \. A title has one line: an unclosed one must not swallow the rest.
            while let Some(&c) = chars.peek() {
                if c == '\n' {
                    return;
                }
                chars.next();
                if c == '\u{7}' || c == '\u{9c}' {
                    return;
                }
                if c == ESC {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
        }
        Some('(' | ')' | '*' | '+' | '#' | '%') => {
            chars.next();
            chars.next_if(char::is_ascii_graphic);
        }
        Some('7' | '8' | '=' | '>' | 'A'..='Z' | 'a'..='z') => {
            chars.next();
        }
        _ => {}
    }
}

/// Parameters and one final character.
fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

#[cfg(test)]
mod tests {
    use super::{clean, one_line};

    #[test]
    fn what_hides_text_goes_and_the_text_stays() {
        for (dirty, plain) in [
            ("plain \t text\n", "plain \t text\n"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]0;title without end\nnext", "\nnext"),
            ("\u{9b}31mred", "red"),
            ("nul\0bell\u{7}del\u{7f}", "nulbelldel"),
            ("\u{202e}gpj.exe", "gpj.exe"),
            ("pass\u{200b}word", "password"),
            ("tag\u{e0041}\u{e0042}", "tag"),
            ("one\u{2028}two", "one\ntwo"),
            ("ошибка 😱 é", "ошибка 😱 é"),
            ("literal \\u0000 \\x1b[31m", "literal \\u0000 \\x1b[31m"),
        ] {
            assert_eq!(clean(dirty), plain);
        }
    }
    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line(" a\r\n\tb\u{2028}\u{202e}c\u{a0} "), "a b c");
    }
}
