//! Patterns of keys, as Redis has them.

use crate::handler::kv::engine::Failure;

/// The longest pattern, in bytes: matching takes time for each byte of it, while others wait for the keys.
const LONGEST_PATTERN: usize = 512;

pub(super) fn checked(pattern: &[u8]) -> Result<&[u8], Failure> {
    let fits = pattern.len() <= LONGEST_PATTERN;
    if fits { Ok(pattern) } else { Err(Failure::new("ERR the pattern is longer than 512 bytes")) }
}

/// Whether a text matches a pattern of Redis: `*`, `?`, `[abc]`, `[^a-c]`, and `\` before what stands for itself.
///
/// In time proportional to the product of their lengths at the worst, whatever the pattern.
pub(in crate::handler::kv) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Redis tries no star on a text of no bytes, unless it asks for all keys.
    if text.is_empty() {
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut p, mut t) = (0, 0);
    // Where to go back to when what follows a star does not match: the star may stand for one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (Some(_), Some(&byte)) => one(pattern.get(p..).unwrap_or_default(), byte),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, at))) if at < text.len() => {
                (p, t) = (after, at + 1);
                star = Some((after, at + 1));
            }
            _ => return false,
        }
    }
}

/// Whether the first element of a pattern takes a byte: how long the element is then.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => {
            let (negated, mut rest) = match rest {
                [b'^', rest @ ..] => (true, rest),
                _ => (false, rest),
            };
            let mut found = false;
            loop {
                rest = match rest {
                    // The end of a set that is not closed closes it, as in Redis.
                    [] => break,
                    [b']', rest @ ..] => {
                        return (found != negated).then_some(pattern.len() - rest.len());
                    }
                    [b'\\', literal, rest @ ..] => {
                        found |= *literal == byte;
                        rest
                    }
                    [from, b'-', to, rest @ ..] => {
                        found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                        rest
                    }
                    [literal, rest @ ..] => {
                        found |= *literal == byte;
                        rest
                    }
                };
            }
            (found != negated).then_some(pattern.len())
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_redis_own() {
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
    fn a_pattern_of_many_stars_takes_no_time() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
    }
}
