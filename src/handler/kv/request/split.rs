//! Splits a line into words, as Redis does for inline commands.

/// Splits a line at whitespace. Words may be quoted as in Redis: `"a b\n\x00"` with escapes, or `'a b'` with no escape
/// but `\'`. Returns `None` if a quote is not closed, or not followed by whitespace.
pub(in crate::handler::kv) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = line.iter().copied().peekable();
    let mut words = Vec::new();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'"' | b'\'' => {
                    read_quoted(&mut rest, byte, &mut word)?;
                    if rest.peek().is_some_and(|next| !next.is_ascii_whitespace()) {
                        return None;
                    }
                }
                _ => word.push(byte),
            }
        }
        words.push(word);
    }
}

/// Adds everything up to the closing quote to `word`.
fn read_quoted(rest: &mut (impl Iterator<Item = u8> + Clone), quote: u8, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match rest.next()? {
            byte if byte == quote => return Some(()),
            b'\\' if quote == b'"' => word.push(read_escape(rest)?),
            b'\\' => {
                let mut ahead = rest.clone();
                if ahead.next() == Some(b'\'') {
                    *rest = ahead;
                    word.push(b'\'');
                } else {
                    word.push(b'\\');
                }
            }
            byte => word.push(byte),
        }
    }
}

/// The byte that an escape stands for. The backslash has been read.
fn read_escape(rest: &mut (impl Iterator<Item = u8> + Clone)) -> Option<u8> {
    let mut ahead = rest.clone();
    let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
    if ahead.next() == Some(b'x')
        && let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next()))
    {
        *rest = ahead;
        return Some((high * 16 + low) as u8);
    }
    Some(match rest.next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_are_read_as_in_redis() {
        let split = |line: &str| super::split(line.as_bytes());
        let words = |words: &[&[u8]]| Some(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
        assert_eq!(split(r#"set greeting "hello world""#), words(&[b"set", b"greeting", b"hello world"]));
        assert_eq!(split(r#""\x00\xfF\n\q\x1""#), words(&[b"\x00\xff\nqx1"]));
        assert_eq!(split(r"'it\'s \n'"), words(&[br"it's \n"]));
        assert_eq!(split(r#""" ''"#), words(&[b"", b""]));
        assert_eq!(split(r#"a"b"c"#), None);
        assert_eq!(split(r#""open"#), None);
        assert_eq!(split(r"'open"), None);
        assert_eq!(split("   "), words(&[]));
    }
}
