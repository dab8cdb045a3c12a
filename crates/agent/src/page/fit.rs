//! Labels that fit into a drawing, which knows nothing of the fonts that it will be drawn with.

/// A label that fits into so many units of a drawing whose letters are 14 units high. Of one that does not, what tells it
/// from others is most often at its end: its middle goes.
pub fn cut(label: &str, room: f64) -> String {
    if width_of(label) <= room {
        return label.to_owned();
    }
    let half = |letters: &mut dyn Iterator<Item = char>| -> String {
        let mut left = (room - width('…')) / 2.0;
        letters
            .take_while(|letter| {
                left -= width(*letter);
                left >= 0.0
            })
            .collect()
    };
    let start = half(&mut label.chars());
    let end: String = half(&mut label.chars().rev()).chars().rev().collect();
    format!("{start}…{end}")
}

/// How wide a letter may be, in the fonts that browsers have at hand.
pub fn width(letter: char) -> f64 {
    match letter {
        'f' | 'i' | 'j' | 'l' | 't' | 'I' | ' ' | '\'' | '"' | '.' | ',' | ':' | '(' | ')' => 6.0,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 14.0,
        '<' | '=' | '>' | '+' => 12.0,
        letter if letter.is_ascii_uppercase() => 11.0,
        letter if letter.is_ascii() => 9.0,
        _ => 14.0,
    }
}

/// How wide a text may be.
pub fn width_of(text: &str) -> f64 {
    text.chars().map(width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_label_both_ends_are_seen() {
        assert_eq!(cut("plan = 'basic'", 200.0), "plan = 'basic'");
        let long = format!("{} = 'x'", "a".repeat(60));
        let cut = cut(&long, 200.0);
        assert!(cut.starts_with("aaa") && cut.ends_with("a = 'x'"), "{cut}");
        assert!(cut.chars().count() <= 22, "{cut}");
    }
}
