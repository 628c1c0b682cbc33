//! Redis's glob-style patterns for keys.

use crate::handler::kv::keyspace::CommandError;

/// The longest pattern, in bytes. Other clients wait for the keys while a pattern is matched.
const MAX_PATTERN: usize = 512;

pub(super) fn check_length(pattern: &[u8]) -> Result<&[u8], CommandError> {
    let fits = pattern.len() <= MAX_PATTERN;
    if fits { Ok(pattern) } else { Err(CommandError::new("ERR the pattern is longer than 512 bytes")) }
}

/// Whether a text matches a pattern: `*`, `?`, `[abc]`, `[^a-c]`, and `\` before a literal character.
///
/// At worst the time is proportional to the product of the two lengths.
pub(in crate::handler::kv) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // As in Redis, `*` alone matches an empty text, and `**` does not.
    if text.is_empty() {
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut p, mut t) = (0, 0);
    // The position after the last star, and the text position up to which the star has matched. On a mismatch the star
    // takes one byte more.
    let mut last_star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                last_star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (Some(_), Some(&byte)) => match_byte(pattern.get(p..).unwrap_or_default(), byte),
            _ => None,
        };
        match (step, last_star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after_star, matched))) if matched < text.len() => {
                (p, t) = (after_star, matched + 1);
                last_star = Some((after_star, matched + 1));
            }
            _ => return false,
        }
    }
}

/// The length of the pattern's first element if it matches `byte`.
fn match_byte(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', b'^', set @ ..] => {
            let (is_found, rest) = find_in_set(set, byte);
            (!is_found).then_some(pattern.len() - rest.len())
        }
        [b'[', set @ ..] => {
            let (is_found, rest) = find_in_set(set, byte);
            is_found.then_some(pattern.len() - rest.len())
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether the set that `pattern` begins with contains `byte`, and the pattern after the set.
fn find_in_set(mut pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut is_found = false;
    loop {
        pattern = match pattern {
            // An unclosed set ends with the pattern, as in Redis.
            [] => return (is_found, pattern),
            [b']', rest @ ..] => return (is_found, rest),
            [b'\\', literal, rest @ ..] => {
                is_found |= *literal == byte;
                rest
            }
            [from, b'-', to, rest @ ..] => {
                is_found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                is_found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("h?llo", "hello"),
            ("h*llo", "hllo"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("*", ""),
            ("**", "abc"),
            (r"\*", "*"),
            (r"[\]]", "]"),
            ("a*b*c", "a-b-b-c"),
            ("[ab", "a"),
            ("", ""),
        ];
        let no = [
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("**", ""),
            (r"\*", "a"),
            ("a*b", "abc"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should match {text}");
        }
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_quickly() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
    }
}
