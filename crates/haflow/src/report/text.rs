//! Text for terminals: harmless, measured, shortened.

use haflow_model::HostName;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One line of what somebody else wrote, so that it can't move the cursor, colour anything or hide: what
/// would becomes visible signs.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(harmful) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(visible(text.trim_end_matches('\r'), "    "))
}

/// One line that a program printed: colours and other escape sequences go, and of a line that overwrites
/// itself the last state stays.
pub(super) fn said(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let text = text.trim_end_matches('\r');
    clean(text.rsplit('\r').next().unwrap_or(text)).into_owned()
}

/// One line of a file, of which nothing is left out: what can't be seen becomes a visible sign, also a tab
/// and blanks at the end.
pub(super) fn literal(text: &str) -> Cow<'_, str> {
    let shown = text.trim_end_matches(' ');
    let strange = |c| harmful(c) || is_foreign_blank(c);
    if shown.len() == text.len() && !text.chars().any(strange) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(visible(shown, "→   ") + "␠".repeat(text.len() - shown.len()).as_str())
}

fn visible(text: &str, tab: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => clean.push_str(tab),
            '\n' => clean.push('⏎'),
            '\0'..='\x1f' => clean.extend(char::from_u32(0x2400 + u32::from(c))),
            '\x7f' => clean.push('␡'),
            c if harmful(c) || is_foreign_blank(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    clean
}

/// Control characters, and those that change the direction of what follows or can't be seen: Unicode's
/// `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), marks of annotations, an empty braille cell.
pub(crate) fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}

/// What looks like a blank and is none.
fn is_foreign_blank(c: char) -> bool {
    c.is_whitespace() && !c.is_ascii()
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// At most `most` columns, with `…` where the end was cut.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if width(text) <= most {
        return Cow::Borrowed(text);
    }
    Cow::Owned(if most == 0 { String::new() } else { head(text, most - 1) + "…" })
}

/// At most `most` columns, with `…` where the middle was cut: of names, both ends tell.
pub(super) fn cut_middle(text: &str, most: usize) -> Cow<'_, str> {
    if width(text) <= most || most < 5 {
        return cut(text, most);
    }
    let back = (most - 1) / 2;
    let reversed: String = text.chars().rev().collect();
    let tail: String = head(&reversed, back).chars().rev().collect();
    Cow::Owned(head(text, most - 1 - back) + "…" + tail.as_str())
}

fn head(text: &str, most: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= most
        })
        .collect()
}

/// Fills up with blanks to `columns`.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let mut text = text.to_owned();
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&text))));
    text
}

/// Lines of at most `columns`, broken at blanks. A longer word stays whole, so that it can be copied.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A time span for people, from milliseconds.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 if ms < 100 => format!("{ms} ms"),
        0..60 => format!("{s}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

/// The same in whole seconds, for what still goes on.
pub(super) fn seconds(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..60 => format!("{s} s"),
        _ => span(ms),
    }
}

/// How long ago something was, for people: in one unit.
pub(crate) fn age(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0 => format!("{} s", age.as_secs()),
        1..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

/// So many bytes, for people.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A task's id without its host, where that is the host that is spoken of.
pub(super) fn local<'a>(id: &'a str, host: &HostName) -> &'a str {
    id.strip_prefix(host.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id)
}

/// A sentence with the ids in it like that.
pub(super) fn local_names(text: &str, host: &HostName) -> String {
    text.replace(&format!("`{host}/"), "`")
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cant_be_seen_in_a_file_is_shown() {
        let shown = [literal("no\u{fe0f}"), literal("x\u{3164}"), literal("/srv/x\u{a0}"), literal("a\u{2003}b")];
        assert_eq!(shown, ["no\\u{fe0f}", "x\\u{3164}", "/srv/x\\u{a0}", "a\\u{2003}b"]);
        assert_eq!(literal("é 日本 →"), "é 日本 →");
    }

    #[test]
    fn what_hosts_print_cant_reach_the_terminal() {
        assert_eq!(clean("plain → é"), "plain → é");
        assert_eq!(said("\x1b[31mred\x1b[0m \x1b]0;title\x07x"), "red x");
        assert_eq!(said("10%\r100%\r"), "100%");
        // Elsewhere nothing is hidden.
        assert_eq!(clean("evil\rgood \x1b[8mx\r"), "evil␍good ␛[8mx");
        assert_eq!(clean("a\tb\x08\x7f\u{202e}c\u{9b}d"), "a    b␈␡\\u{202e}c\\u{9b}d");
    }

    #[test]
    fn names_are_cut_by_columns() {
        assert_eq!(cut("rabbit", 6), "rabbit");
        assert_eq!(cut("rabbit1", 6), "rabbi…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut_middle("rabbit-eu-west-1.example.com", 11), "rabbi…e.com");
        assert_eq!(pad("日", 4), "日  ");
    }

    #[test]
    fn lines_break_at_blanks_only() {
        assert_eq!(wrap("a bc def /a/long/path x", 6), ["a bc", "def", "/a/long/path", "x"]);
        assert_eq!(wrap("", 6), [""]);
    }

    #[test]
    fn the_host_that_is_spoken_of_is_not_named() {
        let host = HostName::from("web1");
        assert_eq!(local("web1/file:/etc/a", &host), "file:/etc/a");
        assert_eq!(local("web10/file:/etc/a", &host), "web10/file:/etc/a");
        let text = "waits for `web1/a:b` and `web10/a:b`, not web1/a";
        assert_eq!(local_names(text, &host), "waits for `a:b` and `web10/a:b`, not web1/a");
    }

    #[test]
    fn spans_read_well() {
        let spans = [45, 320, 12_340, 185_000, 3_780_000].map(span);
        assert_eq!(spans, ["45 ms", "0.3 s", "12.3 s", "3 min 05 s", "1 h 03 min"]);
    }
}
