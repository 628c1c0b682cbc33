//! The key-value store, in both of its dialects.
//!
//! What holds for every engine is a function that takes an engine, and stands in a list at the top of its file; one that is
//! forgotten there is never called, which the compiler says.

mod expiry;
mod files;
mod requests;
mod resp;
mod settings;
mod sharing;
mod telnet;
mod text;
mod transactions;

use std::fmt::Write;

/// A value as the text dialect shows it: as it is, or quoted and escaped.
fn shown(value: &[u8]) -> String {
    let mut shown = String::from("\"");
    for &byte in value {
        match byte {
            b'"' | b'\\' => shown.extend(['\\', byte as char]),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b'\t' => shown.push_str("\\t"),
            b' '..=b'~' => shown.push(byte as char),
            _ => write!(shown, "\\x{byte:02x}").unwrap(),
        }
    }
    shown + "\""
}

/// The value that a line of the text dialect shows.
fn decoded(line: &str) -> Vec<u8> {
    let Some(inner) = line.strip_prefix('"') else { return line.as_bytes().to_vec() };
    let inner = inner.strip_suffix('"').expect("a quote is closed");
    let (mut value, mut rest) = (Vec::new(), inner.bytes());
    while let Some(byte) = rest.next() {
        assert_ne!(byte, b'"', "a quote in a quoted value is escaped: {line}");
        value.push(if byte != b'\\' {
            byte
        } else {
            match rest.next().expect("an escape says what it means") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                itself @ (b'"' | b'\\') => itself,
                other => panic!("{:?} is no escape in {line}", other as char),
            }
        });
    }
    value
}
