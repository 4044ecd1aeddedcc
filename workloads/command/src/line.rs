//! One human-readable line, whatever is in it: what others wrote, on a host or in a file, may hold anything.

/// Longer than this nobody reads a line.
const LONGEST: usize = 1000;

/// The text with everything escaped that could end the line, move about in it or turn it round.
#[must_use]
pub fn one_line(text: &dyn std::fmt::Display) -> String {
    let text = text.to_string();
    let text = text.trim_end();
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if line.len() >= LONGEST {
            line.push_str(" [...]");
            break;
        }
        if c.is_control() || turns(c) {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
    line
}

/// Separators of lines and paragraphs, marks of direction, invisible ones.
fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_and_is_read_as_it_was_written() {
        assert_eq!(one_line(&"plain `\"$(x)\u{e9}\n"), "plain `\"$(x)\u{e9}");
        assert_eq!(one_line(&"a\nb\u{1b}[2J\u{202e}c"), r"a\u{a}b\u{1b}[2J\u{202e}c");
        assert!(one_line(&"long".repeat(1000)).len() < LONGEST + 10);
    }
}
